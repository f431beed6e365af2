//! Recognizes records of other tools: LLaVA and ShareGPT, Alpaca, images listed beside the messages.

use crate::json::Value;

/// Whether a row is a sample of another tool: a conversation under another key, Alpaca's keys, or images listed beside
/// messages that contain none. An instruction with its output alone is a row of columns.
pub fn is_record(row: &Value<'_>) -> bool {
    if let Some(messages) = row.get("messages") {
        return images_key(row).is_some()
            && !messages.as_array().unwrap_or_default().iter().any(contains_image);
    }
    ["conversations", "conversation"].iter().any(|key| row.get(key).is_some_and(is_conversation))
        || (["instruction", "output"].iter().all(|key| row.text(key).is_some())
            && ["input", "history"].iter().any(|key| row.get(key).is_some()))
}

/// The key under which a row lists its images.
pub(crate) fn images_key(row: &Value<'_>) -> Option<&'static str> {
    ["images", "image"].into_iter().find(|key| row.get(key).is_some())
}

/// Whether a value is a list of messages, each with a speaker and a content.
pub(crate) fn is_conversation(value: &Value<'_>) -> bool {
    let is_message = |message: &Value<'_>| {
        (message.text("from").is_some() && message.get("value").is_some())
            || (message.text("role").is_some() && message.get("content").is_some())
    };
    value.as_array().is_some_and(|messages| !messages.is_empty() && messages.iter().all(is_message))
}

/// Whether a content part marks the position of an image without naming it.
pub(crate) fn is_image_placeholder(part: &Value<'_>) -> bool {
    part.text("type") == Some("image")
        && ["image", "image_url", "url", "path", "base64"].iter().all(|key| part.get(key).is_none())
}

fn contains_image(message: &Value<'_>) -> bool {
    let parts = message.get("content").and_then(Value::as_array).unwrap_or_default();
    parts
        .iter()
        .any(|part| matches!(part.text("type"), Some("image" | "image_url")) && !is_image_placeholder(part))
}
