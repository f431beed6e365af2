//! Messages that are of the right form and still hold nothing.

use super::{EMPTY_PROMPT, Written};
use crate::diagnostic::Finding;
use crate::json::Value;

pub(super) fn empty_prompts(messages: &[Written<'_>], findings: &mut Vec<Finding>) {
    for message in messages {
        if message.role == Some("user") && message.content.is_some_and(is_empty) {
            findings.push(Finding::new(
                &EMPTY_PROMPT,
                format!("/messages/{}/content", message.index),
                "the user's message has neither text nor image",
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
