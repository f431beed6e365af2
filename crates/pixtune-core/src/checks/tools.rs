//! Tool calls compared with the declared tools and with the results.

use std::collections::HashSet;

use crate::diagnostic::Finding;
use crate::json;
use crate::rules::{TOOL_ARGUMENTS, TOOL_ID_REPEATED, TOOL_ID_UNMATCHED, TOOL_UNDECLARED};
use crate::sample::{Arguments, Message, Sample, ToolCall};
use crate::tokens::doubtful_patterns;

/// Every call, with the index of its message and its index in it.
fn calls<I, T>(sample: &Sample<I, T>) -> impl Iterator<Item = (usize, usize, &ToolCall)> {
    sample.messages.iter().enumerate().flat_map(|(message, turn)| {
        let calls = match turn {
            Message::Assistant(assistant) => assistant.tool_calls.as_slice(),
            _ => &[],
        };
        calls.iter().enumerate().map(move |(index, call)| (message, index, call))
    })
}

/// Whether there are calls or results to compare: most samples have none.
pub(super) fn are_used<I, T>(sample: &Sample<I, T>) -> bool {
    sample.messages.iter().any(|message| match message {
        Message::Assistant(assistant) => !assistant.tool_calls.is_empty(),
        Message::Tool(_) => true,
        _ => false,
    })
}

pub(super) fn patterns<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    for (index, tool) in sample.tools.iter().enumerate() {
        findings.extend(doubtful_patterns(&tool.parameters, &format!("/tools/{index}/function/parameters")));
    }
}

pub(super) fn undeclared<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    let declared: HashSet<&str> = sample.tools.iter().map(|tool| tool.name.as_str()).collect();
    for (message, index, call) in calls(sample) {
        if !declared.contains(call.name.as_str()) {
            let pointer = format!("/messages/{message}/tool_calls/{index}/function/name");
            let text = format!("the tool `{}` is called but not declared in `tools`", call.name);
            findings.push(Finding::new(&TOOL_UNDECLARED, pointer, text));
        }
    }
}

pub(super) fn repeated_ids<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    let mut seen = HashSet::new();
    for (message, index, call) in calls(sample).filter(|(.., call)| call.id != "null") {
        if !seen.insert(call.id.as_str()) {
            let pointer = format!("/messages/{message}/tool_calls/{index}/id");
            let text = format!("an earlier call already has the id `{}`", call.id);
            findings.push(Finding::new(&TOOL_ID_REPEATED, pointer, text));
        }
    }
}

pub(super) fn unmatched_ids<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    let mut called = HashSet::new();
    for (index, message) in sample.messages.iter().enumerate() {
        match message {
            Message::Assistant(assistant) => {
                called.extend(assistant.tool_calls.iter().map(|call| call.id.as_str()));
            }
            Message::Tool(result) => {
                if let Some(id) = result.tool_call_id.as_deref().filter(|id| !called.contains(id)) {
                    let text = format!("no call before the result has the id `{id}`");
                    let pointer = format!("/messages/{index}/tool_call_id");
                    findings.push(Finding::new(&TOOL_ID_UNMATCHED, pointer, text));
                }
            }
            _ => {}
        }
    }
}

pub(super) fn arguments<I, T>(sample: &Sample<I, T>, findings: &mut Vec<Finding>) {
    for (message, index, call) in calls(sample) {
        let Arguments::Text(text) = &call.arguments else { continue };
        let problem = match json::parse(text) {
            Ok(parsed) if parsed.value.as_object().is_some() => continue,
            Ok(parsed) => format!("the arguments are {}, not an object", parsed.value.kind()),
            Err(error) => {
                format!("the arguments are not JSON: {} (at their byte {})", error.what, error.offset + 1)
            }
        };
        let pointer = format!("/messages/{message}/tool_calls/{index}/function/arguments");
        findings.push(Finding::new(&TOOL_ARGUMENTS, pointer, problem));
    }
}
