//! Forms of answers that the reference takes, and others do not.

use super::{ANSWER_LIST, Written};
use crate::diagnostic::Finding;

pub(super) fn lists(messages: &[Written<'_>], findings: &mut Vec<Finding>) {
    for message in messages {
        if message.role == Some("assistant") && !message.parts().is_empty() {
            findings.push(
                Finding::new(
                    &ANSWER_LIST,
                    format!("/messages/{}/content", message.index),
                    "the answer is a list of parts, not a string",
                )
                .hint("write the text of the answer as one string"),
            );
        }
    }
}
