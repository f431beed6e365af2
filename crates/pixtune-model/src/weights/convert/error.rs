//! Why a conversion was not done.

use std::io;
use std::path::PathBuf;

use pixtune_core::text::counted;
use pixtune_files::LockError;

use crate::weights::config::ConfigError;
use crate::weights::error::{Problems, WeightsError};
use crate::weights::safetensors::SafetensorsError;
use crate::weights::substitute::Substitute;

/// Why a checkpoint could not be written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant and fields")]
pub enum ConvertError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` is also the source", path.display())]
    SamePlace { path: PathBuf },
    #[error("`{}` contains the source `{}`", path.display(), source_path.display())]
    Contains { path: PathBuf, source_path: PathBuf },
    #[error("`{}` exists and is not empty", path.display())]
    Exists { path: PathBuf },
    #[error("`{}` was not written by pixtune (it has no conversion_report.json) and is not replaced", path.display())]
    Foreign { path: PathBuf },
    #[error("`{}` is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("another run is writing `{}`", path.display())]
    Locked { path: PathBuf },
    #[error("`{}` is of another model than the source:{problems}", path.display())]
    OtherBase { path: PathBuf, problems: Problems },
    #[error(
        "the vocabulary of `{}` has {}, the model {rows}: a model with resized embeddings cannot be served with it",
        path.display(), counted(*tokens as u64, "token")
    )]
    Vocabulary { path: PathBuf, tokens: usize, rows: usize },
    #[error(
        "the model has {rows} tokens, {} more than its tekken.json, and Mistral's format cannot carry them: all ids behind the \
         special tokens are pieces of words there, so mistral-common would never read an added token from a text",
        rows.saturating_sub(*before)
    )]
    GrownVocabulary { rows: usize, before: usize },
    #[error("`{}` is {found}, and is not copied", path.display())]
    Other { path: PathBuf, found: Substitute },
    #[error("the tokenizer `{}` cannot be used: {why}", path.display())]
    Tokenizer { path: PathBuf, why: String },
    #[error(
        "`{name}` differs from the embedding that the configuration ties it to: programs would disagree on which to use"
    )]
    TiedHeadDiffers { name: String },
    #[error("`{name}` has heads of {}, more than any supported model", counted(*bytes, "byte"))]
    HeadTooLarge { name: String, bytes: u64 },
    #[error("the tensors together are larger than any file")]
    TooLarge,
    #[error("`{name}` could not be changed: {source}")]
    Change { name: String, source: super::ChangeError },
    #[error("the run was interrupted; nothing was written")]
    Interrupted,
    #[error("the output does not equal the source when read back:{problems}")]
    Verify { problems: Problems },
}

impl From<ConfigError> for ConvertError {
    fn from(error: ConfigError) -> ConvertError {
        ConvertError::Weights(error.into())
    }
}

impl From<SafetensorsError> for ConvertError {
    fn from(error: SafetensorsError) -> ConvertError {
        ConvertError::Weights(error.into())
    }
}

impl From<LockError> for ConvertError {
    fn from(error: LockError) -> ConvertError {
        match error {
            LockError::Held { path } => ConvertError::Locked { path },
            LockError::Io { path, source } => ConvertError::Write { path, source },
        }
    }
}
