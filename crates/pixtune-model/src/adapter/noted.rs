//! What is noted beside the weights of an adapter: its configuration, its dialect, its scaling.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use pixtune_core::json::{self, Value};

use super::config::{AdapterConfig, MAX_BYTES};
use super::config_keys::DIALECT_KEY;
use super::dialect::Dialect;
use super::error::AdapterError;
use super::files::Files;
use crate::weights::Substitute;

/// A file of texts, of at most 8 MB.
pub(super) fn read_text(path: &Path) -> Result<String, AdapterError> {
    let io = |source| AdapterError::Io { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(io)?.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io(io::Error::new(io::ErrorKind::InvalidData, "it has more than 8 MB")));
    }
    Ok(text)
}

/// The configuration of peft.
pub(super) fn read_config(path: &Path) -> Result<AdapterConfig, AdapterError> {
    let text = read_text(path)?;
    let found = Substitute::of_bytes(text.as_bytes(), text.len() as u64);
    if let Some(found @ (Substitute::LfsPointer { .. } | Substitute::WebPage)) = found {
        return Err(AdapterError::Other { path: path.to_owned(), found });
    }
    AdapterConfig::parse(&text)
        .map_err(|source| AdapterError::Config { path: path.to_owned(), source: Box::new(source) })
}

/// The dialect that a configuration notes.
pub(super) fn noted_dialect(config: &AdapterConfig, found: &Files) -> Result<Option<Dialect>, AdapterError> {
    let Some(noted) = &config.noted_dialect else { return Ok(None) };
    let dialect = Dialect::parse(noted).filter(|dialect| dialect.is_peft());
    let unknown = || AdapterError::NotedDialect {
        path: found.directory.clone(),
        key: DIALECT_KEY,
        found: noted.clone(),
    };
    dialect.map(Some).ok_or_else(unknown)
}

/// The scaling in params.json beside lora.safetensors.
pub(super) fn noted_scaling(directory: &Path) -> Result<Option<f64>, AdapterError> {
    let path = directory.join("params.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text = read_text(&path)?;
    let wrong = |reason: String| AdapterError::Params { path: path.clone(), reason };
    let parsed = json::parse(&text).map_err(|error| wrong(format!("it is not JSON: {error}")))?.value;
    match parsed.get("lora").and_then(|lora| lora.get("scaling")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(text)) => match text.parse() {
            Ok(scaling) if f64::is_finite(scaling) && scaling > 0.0 => Ok(Some(scaling)),
            _ => Err(wrong(format!("`lora.scaling` is {text}; a scaling is above 0"))),
        },
        Some(other) => Err(wrong(format!("`lora.scaling` is {}, not a number", other.kind()))),
    }
}
