//! Messages with the right types and no content.

use super::Written;
use crate::diagnostic::Finding;
use crate::json::Value;
use crate::rules::EMPTY_PROMPT;

pub(super) fn empty_prompts(messages: &[Written<'_>], findings: &mut Vec<Finding>) {
    for message in messages {
        if message.role == Some("user") && message.content.is_some_and(is_empty) {
            findings.push(Finding::new(
                &EMPTY_PROMPT,
                format!("/messages/{}/content", message.index),
                "the user message has neither text nor image",
            ));
        }
    }
}

fn is_empty(content: &Value<'_>) -> bool {
    let is_empty_text = |part: &Value<'_>| part.text("type") == Some("text") && part.text("text") == Some("");
    match content {
        Value::String(text) => text.is_empty(),
        Value::Array(parts) => parts.iter().all(is_empty_text),
        _ => false,
    }
}
