//! Why no GGUF file was written or read.

use std::io;
use std::path::PathBuf;

use crate::adapter::AdapterError;
use crate::weights::WeightsError;
use crate::weights::convert::ConvertError;

/// Why no GGUF file was written or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant and fields")]
pub enum GgufError {
    #[error(transparent)]
    Convert(#[from] ConvertError),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error("pixtune does not write GGUF files of this model: {what}")]
    Unsupported { what: String },
    #[error("there is no tokenizer in `{}`, and a GGUF file contains it", directory.display())]
    NoTokenizer { directory: PathBuf },
    #[error("the tokenizer `{}` cannot be written to a GGUF file: {why}", path.display())]
    Tokenizer { path: PathBuf, why: String },
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` is not a readable GGUF file: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
}

impl From<WeightsError> for GgufError {
    fn from(error: WeightsError) -> GgufError {
        GgufError::Convert(error.into())
    }
}
