//! Forms of answers that the reference takes, and others do not.

use super::{ANSWER_LIST, Row};
use crate::diagnostic::Finding;
use crate::json::Value;

pub(super) fn lists(row: &Row<'_>, findings: &mut Vec<Finding>) {
    let messages = row.value.get("messages").and_then(Value::as_array).unwrap_or_default();
    for (index, message) in messages.iter().enumerate() {
        let is_answer = message.get("role").and_then(Value::as_str) == Some("assistant");
        let parts = message.get("content").and_then(Value::as_array).unwrap_or_default();
        if is_answer && !parts.is_empty() {
            findings.push(
                Finding::new(
                    &ANSWER_LIST,
                    format!("/messages/{index}/content"),
                    "the answer is a list of parts, not a string",
                )
                .hint("write the text of the answer as one string"),
            );
        }
    }
}
