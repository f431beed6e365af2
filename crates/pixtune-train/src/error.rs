//! Why a training run ends without a result.

use std::io;
use std::path::PathBuf;

use pixtune_core::json::Difference;
use pixtune_core::text::counted;
use pixtune_files::LockError;
use pixtune_model::network::{BatchError, NetworkError};

use crate::data::DataError;
use crate::guard::Divergence;

/// Why a run could not start or not continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network could not be built, or could not compute a batch.
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
    /// The data was prepared for another model.
    #[error("`{}` was written for {prepared}, but the model here has {here}", path.display())]
    OtherModel {
        /// The manifest.
        path: PathBuf,
        /// The model it was written for.
        prepared: String,
        /// What the model of the run has instead.
        here: String,
    },
    /// Some samples cannot be trained on, and they are not to be skipped.
    #[error("{} cannot be trained on", invalid_of(*invalid, *samples))]
    InvalidSamples {
        /// Samples that cannot be trained on.
        invalid: u64,
        /// All samples.
        samples: u64,
    },
    /// A sample that was indexed cannot be trained on after all.
    #[error("invalid sample found during the run: {finding}")]
    InvalidDuringRun {
        /// The finding, with its location.
        finding: String,
    },
    /// The metric cannot be applied to a validation sample.
    #[error("a response cannot be scored: {finding}")]
    NoScore {
        /// The finding, with its location.
        finding: String,
    },
    /// No validation sample has a response that could be scored.
    #[error("no validation sample can be scored: none has a prompt before its response")]
    NoScores,
    /// There is nothing to train or evaluate on.
    #[error("no sample in {files} can be trained on")]
    NoSamples {
        /// The files.
        files: String,
    },
    /// The output exists.
    #[error("`{}` already exists", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The output exists and was not written by a training run.
    #[error("`{}` is not the output of `pixtune train`, so it is not replaced", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// There is no run to continue.
    #[error("`{}` has no run to resume", path.display())]
    NothingToResume {
        /// The directory.
        path: PathBuf,
    },
    /// The output is a file.
    #[error("`{}` is a file, and the output of a run is a directory", path.display())]
    NotADirectory {
        /// The file.
        path: PathBuf,
    },
    /// Another run is writing the same output.
    #[error("another run is writing to `{}`", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The run to resume was started with other options or inputs.
    #[error("`{}` was started with other options: {}", path.display(), joined(differences))]
    OtherPlan {
        /// The directory.
        path: PathBuf,
        /// Every option and input that differs.
        differences: Vec<Difference>,
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
    /// A loss or a gradient is not finite.
    #[error("step {step} failed: the {what} is {value} (learning rate {learning_rate:e}); {kept}")]
    NotFinite {
        /// The step.
        step: u64,
        /// Loss or gradient norm.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The learning rate of the step.
        learning_rate: f64,
        /// The adapter in the output.
        kept: Kept,
    },
    /// Several steps show that nothing is learned any more.
    #[error("training was stopped: {divergence} (learning rate {learning_rate:e}); {kept}")]
    Diverged {
        /// What they show.
        divergence: Divergence,
        /// The learning rate of the last step.
        learning_rate: f64,
        /// The adapter in the output.
        kept: Kept,
    },
    /// The run was stopped from outside.
    #[error("stopped after step {step} of {total}")]
    Stopped {
        /// Optimizer steps so far.
        step: u64,
        /// Steps of the whole run.
        total: u64,
    },
}

fn invalid_of(invalid: u64, samples: u64) -> String {
    format!("{invalid} of {}", counted(samples, "sample"))
}

fn joined(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

impl From<LockError> for TrainError {
    fn from(error: LockError) -> TrainError {
        match error {
            LockError::Held { path } => TrainError::Locked { path },
            LockError::Io { path, source } => TrainError::Write { path, source },
        }
    }
}

/// The adapter in the output of a run that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// That of a step at which the run was sound.
    Step(u64),
    /// None: nothing was saved while the run was sound.
    Nothing,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kept::Step(step) => write!(f, "the adapter of step {step} is kept"),
            Kept::Nothing => write!(f, "no adapter is kept, because none was saved before"),
        }
    }
}
