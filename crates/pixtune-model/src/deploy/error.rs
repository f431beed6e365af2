//! Why nothing was made ready.

use std::io;
use std::path::PathBuf;

use pixtune_core::text::counted;

use super::Target;
use crate::adapter::AdapterError;
use crate::gguf::GgufError;
use crate::weights::WeightsError;
use crate::weights::convert::ConvertError;

/// Why nothing was made ready.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant and fields")]
pub enum DeployError {
    #[error(transparent)]
    Convert(#[from] ConvertError),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error("{} needs {}, and neither `{}` nor --base has {}", target.as_str(), files.join(", "), model.display(), if files.len() == 1 { "it" } else { "them" })]
    MissingFiles { target: Target, model: PathBuf, files: Vec<String> },
    #[error("{} would not compute the trained model: {} of {} would be applied ({reason})", target.as_str(), applied, counted(*modules as u64, "module"))]
    NotApplied { target: Target, applied: usize, modules: usize, reason: String },
    #[error("{} has no adapters beside GGUF files of ours", target.as_str())]
    NoAdapters { target: Target },
    #[error("`{}` cannot be served beside an adapter as it is: {why}", model.display())]
    BaseNotReady { model: PathBuf, why: String },
    #[error("q8_0 is a type of GGUF files, which {} does not read", target.as_str())]
    Element { target: Target },
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl From<WeightsError> for DeployError {
    fn from(error: WeightsError) -> DeployError {
        DeployError::Convert(error.into())
    }
}
