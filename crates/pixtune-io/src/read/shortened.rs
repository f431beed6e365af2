//! Rows as JSON for people to read: in `rejected.jsonl`, with images and very long texts shortened.

use std::borrow::Cow;

use pixtune_core::content::is_base64_image;
use pixtune_core::json::Value;

use super::row_image::shown;

/// Texts beyond this are shortened in `rejected.jsonl`.
const SHOWN_CHARACTERS: usize = 20_000;

/// Enough to detect the format of the image.
const SHOWN_BASE64: usize = 16;

pub(super) fn shorten(text: &str) -> Cow<'_, str> {
    if let Some(reference) = shown(text) {
        return Cow::Owned(reference);
    }
    if let Some((header, payload)) =
        text.split_once(";base64,").filter(|(header, _)| header.starts_with("data:"))
    {
        return Cow::Owned(format!("{header};base64,… ({} characters)", payload.len()));
    }
    if is_base64_image(text.trim()) {
        let start: String = text.trim().chars().take(SHOWN_BASE64).collect();
        return Cow::Owned(format!("{start}… ({} characters)", text.len()));
    }
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((at, _)) => Cow::Owned(format!("{}… ({} bytes)", &text[..at], text.len())),
        None => Cow::Borrowed(text),
    }
}

pub(super) fn shorten_values(value: Value<'_>) -> Value<'_> {
    match value {
        Value::String(text) => Value::String(match shorten(&text) {
            Cow::Owned(short) => Cow::Owned(short),
            Cow::Borrowed(_) => text,
        }),
        Value::Array(values) => Value::Array(values.into_iter().map(shorten_values).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, shorten_values(value))).collect())
        }
        other => other,
    }
}
