//! Errors of GGUF files and of `deploy`.

use pixtune_model::deploy::DeployError;
use pixtune_model::gguf::GgufError;

use super::Error;

pub(super) fn hint_for_gguf(error: &GgufError) -> Option<&'static str> {
    match error {
        GgufError::NoTokenizer { .. } => Some(
            "give the directory of the untuned model with `--base`; its tekken.json or tokenizer.json is used",
        ),
        GgufError::Tokenizer { .. } => {
            Some("put the model's own tekken.json beside the weights, or give `--base`")
        }
        _ => None,
    }
}

/// What helps where a model cannot be made ready for a server.
pub(super) fn hint_for_deploying(error: &DeployError) -> Option<String> {
    let hint = match error {
        DeployError::MissingFiles { .. } => {
            "give the directory of the original model with `--base`; its files are copied or converted"
        }
        DeployError::NotApplied { .. }
        | DeployError::BaseNotReady { .. }
        | DeployError::NoAdapters { .. } => {
            "`--adapter merge` merges it into the weights, which works with every server"
        }
        DeployError::Element { .. } => "use bf16, f16 or f32, or `--for llama.cpp`",
        DeployError::Write { source, .. } => {
            return super::hint_for_writing(source, "free some space, or choose an `--out` on another disk")
                .map(str::to_owned);
        }
        DeployError::Convert(_) | DeployError::Adapter(_) | DeployError::Gguf(_) => return None,
    };
    Some(hint.to_owned())
}

impl From<GgufError> for Error {
    fn from(error: GgufError) -> Error {
        match error {
            GgufError::Convert(error) => Error::Convert(error),
            GgufError::Adapter(error) => Error::Adapter(error),
            other => Error::Gguf(other),
        }
    }
}

impl From<DeployError> for Error {
    fn from(error: DeployError) -> Error {
        match error {
            DeployError::Convert(error) => Error::Convert(error),
            DeployError::Adapter(error) => error.into(),
            DeployError::Gguf(error) => error.into(),
            other => Error::Deploy(other),
        }
    }
}
