//! Images of a benchmark as files beside its samples, each once.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::Value;
use pixtune_core::rules;
use pixtune_io::base64;
use pixtune_io::image::{Limits, load_file};
use pixtune_io::read::Row;

use crate::error::EvaluateError;

/// Writes images.
pub(super) struct Images {
    directory: PathBuf,
    written: HashSet<String>,
}

impl Images {
    pub(super) fn new(directory: &Path) -> Images {
        Images { directory: directory.to_owned(), written: HashSet::new() }
    }

    /// Writes the image of a column, unless it was written before; its URL, which is relative to the samples.
    pub(super) fn write(
        &mut self,
        row: &Row,
        value: &Value<'_>,
        (column, beside): (&str, &Path),
    ) -> Result<Result<String, Finding>, EvaluateError> {
        let bytes = match bytes(row, value, beside) {
            Ok(bytes) => bytes,
            Err(message) => {
                let finding = Finding::new(&rules::IMAGE_UNREADABLE, format!("/{column}"), message);
                return Ok(Err(finding));
            }
        };
        let name = blake3::hash(&bytes).to_hex()[..32].to_owned();
        if self.written.insert(name.clone()) {
            let path = self.directory.join(&name);
            fs::write(&path, &bytes).map_err(|source| EvaluateError::Write { path, source })?;
        }
        // A file URL without a slash has a path in the directory of the samples.
        Ok(Ok(format!("file://{name}")))
    }
}

/// The file of an image: bytes of the row, base64, or a path beside the table.
fn bytes(row: &Row, value: &Value<'_>, beside: &Path) -> Result<Vec<u8>, String> {
    let text = match value {
        Value::String(text) => text.as_ref(),
        Value::Object(_) => match value.get("bytes").or_else(|| value.get("path")) {
            Some(Value::String(text)) => text.as_ref(),
            _ => return Err("the column has neither the bytes nor the path of an image".to_owned()),
        },
        other => return Err(format!("the column has {} where an image is expected", other.kind())),
    };
    if let Some(image) = row.images.iter().find(|image| image.name == text) {
        return Ok(image.bytes.to_vec());
    }
    let payload =
        text.split_once("base64,").filter(|_| text.starts_with("data:")).map_or(text, |(_, data)| data);
    // No path is as long as the shortest image.
    if payload.len() >= 64
        && let Some(bytes) = base64::decode(payload)
    {
        return Ok(bytes);
    }
    if text.contains("://") {
        return Err("the column has a URL, and nothing is downloaded".to_owned());
    }
    let loaded = load_file(&beside.join(text), &Limits::default());
    loaded.map(|image| image.bytes).map_err(|error| error.finding(&format!("`{text}`"), "").message)
}
