//! Hints for paths that do not exist.

use std::fs;
use std::io;
use std::path::Path;

use pixtune_core::spelling::nearest;
use pixtune_infer::ModelError;
use pixtune_io::image::near_path;
use pixtune_io::prepare::PrepareError;
use pixtune_io::read::ReadError;
use pixtune_io::remote::RemoteError;
use pixtune_io::survey::SurveyError;
use pixtune_io::tokens::TokenizerError;
use pixtune_model::adapter::AdapterError;
use pixtune_model::weights::WeightsError;
use pixtune_model::weights::config::ConfigError;
use pixtune_model::weights::convert::ConvertError;
use pixtune_model::weights::safetensors::SafetensorsError;
use pixtune_train::TrainError;
use pixtune_train::data::DataError;

use super::Error;
use crate::hub;

/// Directory entries that are compared; a directory may have millions.
const NAMES: usize = 10_000;

/// A hint for an error whose cause is a file or directory that does not exist.
pub fn hint(error: &Error) -> Option<String> {
    let (path, source) = read_failure(error)?;
    if source.kind() != io::ErrorKind::NotFound || path.exists() || RemoteError::of(source).is_some() {
        return None;
    }
    let is_of_model = !matches!(
        error,
        Error::Read(_) | Error::Prepare(_) | Error::Survey(_) | Error::Train(TrainError::Data(_))
    );
    dangling(path).or_else(|| hub::hint(path).filter(|_| is_of_model)).or_else(|| Some(suggest(path)))
}

/// A link whose target does not exist, as a cache that was moved or cleaned leaves it.
fn dangling(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    let remedy = match target.iter().any(|step| step == "blobs") {
        true => "download the model again with `hf download ORG/NAME --local-dir DIR`",
        false => "restore the target, or copy the file itself",
    };
    Some(format!("it is a link to `{}`, which does not exist: {remedy}", target.display()))
}

/// The path that could not be read, and the reason.
fn read_failure(error: &Error) -> Option<(&Path, &io::Error)> {
    let (path, source) = match error {
        Error::Read(ReadError::Io { path, source })
        | Error::Prepare(PrepareError::Read(ReadError::Io { path, source }))
        | Error::Train(TrainError::Data(DataError::Read { path, source }))
        | Error::Tokenizer(TokenizerError::Io { path, source })
        | Error::Model(ModelError::TokenizerFile(TokenizerError::Io { path, source }))
        | Error::Survey(SurveyError::Io { path, source })
        | Error::Adapter(AdapterError::Io { path, source })
        | Error::Adapter(AdapterError::Safetensors(SafetensorsError::Io { path, source }))
        | Error::Convert(ConvertError::Read { path, source }) => (path, source),
        Error::Weights(error)
        | Error::Convert(ConvertError::Weights(error))
        | Error::Adapter(AdapterError::Weights(error))
        | Error::Adapter(AdapterError::Convert(ConvertError::Weights(error)))
        | Error::Model(ModelError::Weights(error)) => match error {
            WeightsError::Io { path, source }
            | WeightsError::Safetensors(SafetensorsError::Io { path, source })
            | WeightsError::Config(ConfigError::Io { path, source }) => (path, source),
            _ => return None,
        },
        _ => return None,
    };
    Some((path, source))
}

/// The closest existing name, the missing parent directory, or the directory that a relative path starts from.
fn suggest(path: &Path) -> String {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    let Ok(entries) = fs::read_dir(parent) else {
        return match near_path(path) {
            Some(near) => format!("did you mean `{}`?", near.display()),
            None => format!("the directory `{}` does not exist", parent.display()),
        };
    };
    let names: Vec<String> =
        entries.take(NAMES).flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    match nearest(&wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{}`?", path.with_file_name(near).display()),
        None if path.is_absolute() => format!("the directory `{}` does not contain it", parent.display()),
        None => match std::env::current_dir() {
            Ok(directory) => {
                format!("the path is relative to the current directory `{}`", directory.display())
            }
            Err(_) => "the current directory was removed".to_owned(),
        },
    }
}
