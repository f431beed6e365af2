//! Forms of assistant messages that the reference accepts and other trainers do not.

use super::Written;
use crate::diagnostic::Finding;
use crate::rules::ANSWER_LIST;

pub(super) fn lists(messages: &[Written<'_>], findings: &mut Vec<Finding>) {
    for message in messages {
        if message.role == Some("assistant") && !message.parts().is_empty() {
            findings.push(
                Finding::new(
                    &ANSWER_LIST,
                    format!("/messages/{}/content", message.index),
                    "the response is a list of content parts, not a string",
                )
                .hint("write the response as one string"),
            );
        }
    }
}
