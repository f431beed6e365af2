//! Messages that are of the right form and still hold nothing.

use super::{EMPTY_PROMPT, Row};
use crate::diagnostic::Finding;
use crate::json::Value;

pub(super) fn empty_prompts(row: &Row<'_>, findings: &mut Vec<Finding>) {
    let messages = row.value.get("messages").and_then(Value::as_array).unwrap_or_default();
    for (index, message) in messages.iter().enumerate() {
        let is_user = message.get("role").and_then(Value::as_str) == Some("user");
        if is_user && message.get("content").is_some_and(is_empty) {
            findings.push(Finding::new(
                &EMPTY_PROMPT,
                format!("/messages/{index}/content"),
                "the user's message has neither text nor picture",
            ));
        }
    }
}

fn is_empty(content: &Value<'_>) -> bool {
    let empty_text = |part: &Value<'_>| {
        part.get("type").and_then(Value::as_str) == Some("text")
            && part.get("text").and_then(Value::as_str) == Some("")
    };
    match content {
        Value::String(text) => text.is_empty(),
        Value::Array(parts) => parts.iter().all(empty_text),
        _ => false,
    }
}
