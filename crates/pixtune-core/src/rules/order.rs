//! Orders of roles that the reference takes, and others do not.

use super::{ASSISTANT_FIRST, CONSECUTIVE_ROLES, SYSTEM_PLACE};
use crate::diagnostic::Finding;
use crate::sample::{Message, Sample};

pub(super) fn assistant_first<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    let first = sample.messages.iter().position(|message| !matches!(message, Message::System(_)));
    if let Some(index) = first.filter(|index| matches!(sample.messages[*index], Message::Assistant(_))) {
        let message = "the assistant speaks before any user does";
        findings.push(Finding::new(&ASSISTANT_FIRST, format!("/messages/{index}"), message));
    }
}

pub(super) fn consecutive_roles<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    for (index, pair) in sample.messages.windows(2).enumerate() {
        let role = match pair {
            [Message::User(_), Message::User(_)] => "user",
            [Message::Assistant(_), Message::Assistant(_)] => "assistant",
            _ => continue,
        };
        let message = format!("two {role} messages follow each other");
        findings.push(
            Finding::new(&CONSECUTIVE_ROLES, format!("/messages/{}", index + 1), message)
                .hint("join them, or say what came between"),
        );
    }
}

pub(super) fn system_place<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    for (index, message) in sample.messages.iter().enumerate().skip(1) {
        if matches!(message, Message::System(_)) {
            let beside = matches!(sample.messages[index - 1], Message::System(_));
            let message = if beside { "a second system message" } else { "a system message in the middle" };
            findings.push(
                Finding::new(&SYSTEM_PLACE, format!("/messages/{index}"), message)
                    .hint("put all instructions into one system message at the beginning"),
            );
        }
    }
}
