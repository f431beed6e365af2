//! What ends an evaluation.

use std::io;
use std::path::PathBuf;

use pixtune_core::score::NoVariant;
use pixtune_core::text::counted;
use pixtune_files::LockError;
use pixtune_infer::{AnswerError, ModelError};
use pixtune_io::post::PostError;
use pixtune_io::read::ReadError;
use pixtune_io::survey::SurveyError;
use pixtune_model::adapter::AdapterError;

/// What ends an evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// A file of lines cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The data cannot be found.
    #[error(transparent)]
    Data(#[from] SurveyError),
    /// The directory has nothing to evaluate on.
    #[error("`{}` has no validation.jsonl", path.display())]
    NoValidation {
        /// The directory.
        path: PathBuf,
    },
    /// The data has no sample that can be evaluated.
    #[error("`{name}` has no sample that can be evaluated")]
    NoSamples {
        /// The data.
        name: String,
    },
    /// A file is not one of the benchmark.
    #[error("`{name}` does not have the columns of {benchmark}: {why}; its columns are {columns}")]
    Layout {
        /// The file.
        name: String,
        /// The benchmark.
        benchmark: &'static str,
        /// What is missing.
        why: String,
        /// The columns that are there.
        columns: String,
    },
    /// Predictions without ids go by their order, and there are more or fewer than samples.
    #[error(
        "`{}` has {} without `id` or `line` for {}",
        path.display(),
        counted(*predictions, "prediction"),
        counted(*samples, "sample")
    )]
    Unaligned {
        /// The file of predictions.
        path: PathBuf,
        /// Its predictions.
        predictions: u64,
        /// The samples.
        samples: u64,
    },
    /// A file of predictions has more phrasings than anyone would compare.
    #[error("`{}` has more than {most} phrasings", path.display())]
    TooManyPhrasings {
        /// The file of predictions.
        path: PathBuf,
        /// The limit.
        most: usize,
    },
    /// The model directory cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The adapter cannot be used.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The endpoint's URL cannot be used.
    #[error(transparent)]
    Endpoint(#[from] PostError),
    /// The local model failed.
    #[error(transparent)]
    Answer(AnswerError),
    /// Nobody answered.
    #[error("`{contestant}` gave no answer to {}: {reason}", counted(*samples, "sample"))]
    NothingAnswered {
        /// Who was asked.
        contestant: String,
        /// How many samples.
        samples: u64,
        /// Whether the answers come from a file.
        is_file: bool,
        /// What happened first.
        reason: String,
    },
    /// The metric has no such variant.
    #[error(transparent)]
    Variant(#[from] NoVariant),
    /// A threshold names no score of this run.
    #[error("`{name}` is not a score of this run; it has {}", known.join(", "))]
    UnknownScore {
        /// What was asked for.
        name: String,
        /// The scores there are.
        known: Vec<String>,
    },
    /// The output exists already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The output directory.
        path: PathBuf,
    },
    /// The output directory holds something else.
    #[error("`{}` is not an output of `pixtune evaluate`", path.display())]
    Foreign {
        /// The output directory.
        path: PathBuf,
    },
    /// An earlier run did not end.
    #[error("an earlier run did not finish `{}`", path.display())]
    Unfinished {
        /// The output directory.
        path: PathBuf,
    },
    /// Another run is at it.
    #[error(transparent)]
    Locked(LockError),
    /// An output cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl From<LockError> for EvaluateError {
    fn from(error: LockError) -> EvaluateError {
        match error {
            LockError::Io { path, source } => EvaluateError::Write { path, source },
            held @ LockError::Held { .. } => EvaluateError::Locked(held),
        }
    }
}
