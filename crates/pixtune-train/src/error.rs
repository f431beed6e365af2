//! What ends a run of training.

use std::io;
use std::path::PathBuf;

use pixtune_files::LockError;
use pixtune_io::tokens::TokenizerError;
use pixtune_model::network::{BatchError, NetworkError};
use pixtune_model::weights::WeightsError;

use crate::data::DataError;

/// Why a run could not start, or not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network could not be made, or not read a batch.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A sample does not fit the network.
    #[error("a batch does not fit the network")]
    Batch(#[from] BatchError),
    /// A setting makes no sense.
    #[error("{reason}")]
    Setting {
        /// Why.
        reason: String,
    },
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The tokenizer file cannot be read.
    #[error(transparent)]
    TokenizerFile(#[from] TokenizerError),
    /// There is no tokenizer that fits the model.
    #[error("no tokenizer fits the model in `{}`: {reason}", directory.display())]
    Tokenizer {
        /// The model's directory.
        directory: PathBuf,
        /// Why.
        reason: String,
    },
    /// The data was prepared for another model.
    #[error("`{}` says the data was prepared for {prepared}; the model here has {here}", path.display())]
    OtherModel {
        /// The manifest.
        path: PathBuf,
        /// What it was made for.
        prepared: String,
        /// What the model is.
        here: String,
    },
    /// Samples that cannot be trained on, and the run is to have none.
    #[error("{unusable} of {samples} samples cannot be trained on")]
    Unusable {
        /// How many cannot.
        unusable: u64,
        /// Of how many.
        samples: u64,
    },
    /// A sample turned out to be unusable on the way.
    #[error("a sample cannot be trained on after all: {place}")]
    UnusableOnTheWay {
        /// Where it stands and what is wrong.
        place: String,
    },
    /// There is nothing to train on.
    #[error("{what} have no sample that can be trained on")]
    NoSamples {
        /// Which files.
        what: String,
    },
    /// There is already something.
    #[error("`{}` is already there", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// What is there was not made by a run of training.
    #[error("`{}` is not the output of `pixtune train`, so it is not replaced", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Another run works there.
    #[error("another run works in `{}`", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// There is nothing to go on with.
    #[error("`{}` has no checkpoint to go on from", path.display())]
    NoCheckpoint {
        /// The directory.
        path: PathBuf,
    },
    /// The run that is to go on was another.
    #[error("`{}` was made by another run: `{name}` was {before}, now it is {now}", path.display())]
    OtherPlan {
        /// The directory.
        path: PathBuf,
        /// What differs first.
        name: String,
        /// As it was.
        before: String,
        /// As it is.
        now: String,
    },
    /// A checkpoint or a plan cannot be read back.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Loss or gradients are no numbers any more.
    #[error(
        "step {step}: the {what} is {value}, so the step was not taken (learning rate {learning_rate:e})"
    )]
    NotFinite {
        /// The step.
        step: u64,
        /// Loss or gradient norm.
        what: &'static str,
        /// What it is.
        value: f64,
        /// The learning rate of the step.
        learning_rate: f64,
    },
    /// The run was asked to stop.
    #[error("stopped after step {step} of {total}")]
    Stopped {
        /// Steps that were taken.
        step: u64,
        /// Steps of the whole run.
        total: u64,
    },
}

impl From<LockError> for TrainError {
    fn from(error: LockError) -> TrainError {
        match error {
            LockError::Held { path } => TrainError::Locked { path },
            LockError::Io { path, source } => TrainError::Write { path, source },
        }
    }
}
