//! Role orders that the reference accepts and other trainers do not.

use crate::diagnostic::Finding;
use crate::rules::{ASSISTANT_FIRST, CONSECUTIVE_ROLES, SYSTEM_PLACE};
use crate::sample::{Message, Sample};

pub(super) fn assistant_first<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    let first = sample.messages.iter().position(|message| !matches!(message, Message::System(_)));
    if let Some(index) = first.filter(|index| matches!(sample.messages[*index], Message::Assistant(_))) {
        let message = "the assistant message comes before any user message";
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
        let message = format!("two consecutive {role} messages");
        findings.push(
            Finding::new(&CONSECUTIVE_ROLES, format!("/messages/{}", index + 1), message)
                .hint("join them, or add the missing message between them"),
        );
    }
}

pub(super) fn system_place<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    for (index, message) in sample.messages.iter().enumerate().skip(1) {
        if matches!(message, Message::System(_)) {
            let follows_system = matches!(sample.messages[index - 1], Message::System(_));
            let message = if follows_system {
                "a second system message"
            } else {
                "a system message after the start of the conversation"
            };
            findings.push(
                Finding::new(&SYSTEM_PLACE, format!("/messages/{index}"), message)
                    .hint("put all instructions into one system message at the start"),
            );
        }
    }
}
