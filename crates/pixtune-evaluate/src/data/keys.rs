//! How a prediction or a reference names its sample: by id, by line, or by its position.

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::Value;
use pixtune_core::rules;

/// What names a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// A hash of its id.
    Id(u128),
    /// Its line in the only file.
    Line(u64),
    /// Its index among the rows.
    Position(u64),
}

impl Key {
    /// The key of an id.
    pub(crate) fn of_id(id: &str) -> Key {
        Key::Id(hash(id.as_bytes()))
    }
}

/// 128 bits of BLAKE3: enough that two different texts never share them.
pub(crate) fn hash(bytes: &[u8]) -> u128 {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    u128::from_le_bytes(short)
}

/// The id of a row, a string or a number.
pub(crate) fn id_of(row: &Value<'_>) -> Result<Option<String>, Finding> {
    match row.get("id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text) | Value::Number(text)) => Ok(Some(text.to_string())),
        Some(other) => {
            let message = format!("`id` is {}, not a string or a number", other.kind());
            Err(Finding::new(&rules::WRONG_TYPE, "/id", message))
        }
    }
}

/// The sample of a row of predictions or references; `None` if only its position identifies it.
pub(crate) fn key_of(row: &Value<'_>) -> Result<Option<Key>, Finding> {
    if let Some(id) = id_of(row)? {
        return Ok(Some(Key::of_id(&id)));
    }
    match row.get("line") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(text)) if text.parse::<u64>().is_ok() => Ok(text.parse().ok().map(Key::Line)),
        Some(other) => {
            let message = format!("`line` is {}, not a line number", other.kind());
            Err(Finding::new(&rules::WRONG_TYPE, "/line", message))
        }
    }
}
