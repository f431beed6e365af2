//! Validation: which conversations the references accept for training.
//!
//! The rules and their order are those of mistral-common 1.13.1 `validator.py` for tokenizer v3 in fine-tuning mode;
//! mistral-finetune runs the same validator after checks of its own (`tokenize.py`).

use super::Layout;
use super::content::is_empty;
use crate::diagnostic::{Finding, Rule};
use crate::json::Value;
use crate::rules::{
    ANSWER_AND_CALLS, ANSWER_PREFIX, EMPTY_ANSWER, FINETUNE_FORM, IMAGE_ROLE, LAST_NOT_ASSISTANT,
    NO_MESSAGES, ROLE_ORDER, TOOL_CALL, TOOL_ID, TOOL_NAME, TOOL_RESULTS, TOOL_SCHEMA,
};
use crate::sample::{Arguments, Assistant, Content, Message, Part, Tool, ToolCall, ToolResult};
use crate::tokens::schema::check_schema;

/// A message and its index in the conversation.
pub(super) struct Turn<'s, T> {
    pub(super) index: usize,
    pub(super) message: &'s Message<T>,
}

impl<'s, T> Turn<'s, T> {
    pub(super) fn all(messages: &'s [Message<T>]) -> Vec<Turn<'s, T>> {
        messages.iter().enumerate().map(|(index, message)| Turn { index, message }).collect()
    }

    pub(super) fn pointer(&self, key: &str) -> String {
        format!("/messages/{}/{key}", self.index)
    }

    fn finding(&self, rule: &'static Rule, message: impl Into<String>) -> Finding {
        Finding::new(rule, format!("/messages/{}", self.index), message)
    }

    fn role(&self) -> &'static str {
        match self.message {
            Message::System(_) => "system",
            Message::User(_) => "user",
            Message::Assistant(_) => "assistant",
            Message::Tool(_) => "tool",
        }
    }
}

/// Rejects what the reference rejects before it encodes.
pub(super) fn validate<T: AsRef<str>>(
    turns: &[Turn<'_, T>],
    tools: &[Tool],
    layout: Layout,
) -> Result<(), Finding> {
    refusals(turns, tools, layout).into_iter().next().map_or(Ok(()), Err)
}

/// Everything that the reference rejects before it encodes, in its order.
pub(super) fn refusals<T: AsRef<str>>(turns: &[Turn<'_, T>], tools: &[Tool], layout: Layout) -> Vec<Finding> {
    let mut found = structure(turns, layout);
    for (index, turn) in turns.iter().enumerate() {
        let is_last = index + 1 == turns.len();
        match turn.message {
            Message::System(content) => found.extend(only_text(content, turn)),
            Message::User(_) => {}
            Message::Assistant(assistant) => answer(assistant, is_last, turn, layout, &mut found),
            Message::Tool(result) => tool_result(result, turn, &mut found),
        }
    }
    for (index, tool) in tools.iter().enumerate() {
        found.extend(check_tool(tool, index).err());
    }
    found
}

/// What is rejected about the roles and their order.
pub(super) fn structure<T>(turns: &[Turn<'_, T>], layout: Layout) -> Vec<Finding> {
    let Some(last) = turns.last() else {
        return vec![Finding::new(&NO_MESSAGES, "/messages", "the conversation has no messages")];
    };
    let mut found = Vec::new();
    match last.message {
        Message::Assistant(_) if turns.len() == 1 => {
            found.push(last.finding(&ROLE_ORDER, "the conversation is one response without a question"));
        }
        // mistral-finetune does not read the key.
        Message::Assistant(answer) if answer.prefix && layout == Layout::MistralCommon => {
            found.push(last.finding(&ANSWER_PREFIX, "the response is marked as a prefix to be continued"));
        }
        Message::Assistant(_) => {}
        _ => found.push(last.finding(
            &LAST_NOT_ASSISTANT,
            format!("the last message is the {}'s, not the assistant's", last.role()),
        )),
    }
    for pair in turns.windows(2) {
        let (role, next) = (pair[0].role(), pair[1].role());
        let fits = match role {
            "system" | "user" => next != "tool",
            _ => next != "system",
        };
        if !fits {
            let message = format!("a {next} message follows {} {role} message", article(role));
            found.push(pair[1].finding(&ROLE_ORDER, message));
        }
    }
    results_match_calls(turns, &mut found);
    found
}

fn article(role: &str) -> &'static str {
    match role {
        "assistant" => "an",
        _ => "a",
    }
}

/// Every call needs a result before the next answer; the reference ignores the first message.
fn results_match_calls<T>(turns: &[Turn<'_, T>], found: &mut Vec<Finding>) {
    let mut open: i64 = 0;
    for turn in turns.iter().skip(1) {
        match turn.message {
            Message::Tool(_) => open -= 1,
            Message::Assistant(assistant) => {
                if open != 0 {
                    let problem = if open > 0 { "fewer" } else { "more" };
                    let message = format!("there are {problem} tool results than calls before this response");
                    found.push(turn.finding(&TOOL_RESULTS, message));
                }
                open = assistant.tool_calls.len() as i64;
            }
            _ => {}
        }
    }
}

fn only_text<T>(content: &Content<T>, turn: &Turn<'_, T>) -> Option<Finding> {
    let Content::Parts(parts) = content else { return None };
    let has_image = parts.iter().any(|part| matches!(part, Part::Image(_)));
    let message = || format!("an image in {} {} message", article(turn.role()), turn.role());
    has_image.then(|| turn.finding(&IMAGE_ROLE, message()))
}

fn answer<T: AsRef<str>>(
    assistant: &Assistant<T>,
    is_last: bool,
    turn: &Turn<'_, T>,
    layout: Layout,
    found: &mut Vec<Finding>,
) {
    found.extend(assistant.content.as_ref().and_then(|content| only_text(content, turn)));
    let has_content = assistant.content.as_ref().is_some_and(|content| !is_empty(content));
    match (has_content, !assistant.tool_calls.is_empty()) {
        (false, false) => {
            found.push(turn.finding(&EMPTY_ANSWER, "the response has neither text nor tool calls"));
        }
        (true, true) => {
            let message = "the response has both text and tool calls; the format accepts only one of them";
            found.push(turn.finding(&ANSWER_AND_CALLS, message));
        }
        _ => {}
    }
    for (index, call) in assistant.tool_calls.iter().enumerate() {
        let pointer = turn.pointer(&format!("tool_calls/{index}"));
        tool_call(call, is_last, &pointer, layout, found);
    }
    if layout == Layout::MistralFinetune && matches!(assistant.content, Some(Content::Parts(_))) {
        let message = "the response is a list of parts; mistral-finetune requires a string";
        found.push(turn.finding(&FINETUNE_FORM, message));
    }
    // In the last message it is rejected by `structure`.
    if assistant.prefix && layout == Layout::MistralCommon && !is_last {
        let message = "the response is marked as a prefix but is not the last message";
        found.push(turn.finding(&ANSWER_PREFIX, message));
    }
}

fn tool_call(call: &ToolCall, is_last: bool, pointer: &str, layout: Layout, found: &mut Vec<Finding>) {
    let mut refuse = |rule, key: &str, message: String| {
        found.push(Finding::new(rule, format!("{pointer}{key}"), message));
    };
    if call.id == "null" {
        if !is_last {
            let message = "the tool call has no id; only calls in the last message may omit it";
            refuse(&TOOL_ID, "", message.into());
        }
    } else if !is_call_id(&call.id) {
        let message = format!("the tool call id `{}` does not have nine letters or digits", call.id);
        refuse(&TOOL_ID, "/id", message);
    }
    if !is_name(&call.name) {
        refuse(&TOOL_NAME, "/function/name", bad_name(&call.name));
    }
    let message = match &call.arguments {
        Arguments::Text(_) => return,
        Arguments::Json(_) if layout == Layout::MistralFinetune => {
            let message = "the arguments are an object; mistral-finetune requires a string of JSON";
            return refuse(&FINETUNE_FORM, "/function/arguments", message.into());
        }
        Arguments::Json(Value::Object(_) | Value::Null) => return,
        Arguments::Json(other) => {
            format!("the arguments are {}, not an object or a string", other.kind())
        }
    };
    refuse(&TOOL_CALL, "/function/arguments", message);
}

fn tool_result<T>(result: &ToolResult<T>, turn: &Turn<'_, T>, found: &mut Vec<Finding>) {
    found.extend(only_text(&result.content, turn));
    if let Some(name) = result.name.as_deref().filter(|name| !is_name(name)) {
        found.push(Finding::new(&TOOL_NAME, turn.pointer("name"), bad_name(name)));
    }
    match result.tool_call_id.as_deref() {
        None => {
            found.push(turn.finding(&TOOL_ID, "the tool result does not name its call"));
        }
        Some(id) if !is_call_id(id) => {
            let message = format!("the tool call id `{id}` does not have nine letters or digits");
            found.push(Finding::new(&TOOL_ID, turn.pointer("tool_call_id"), message));
        }
        Some(_) => {}
    }
}

/// mistral-finetune also requires a `description`; a missing one counts as empty in both layouts.
fn check_tool(tool: &Tool, index: usize) -> Result<(), Finding> {
    let pointer = format!("/tools/{index}/function");
    let parameters = format!("{pointer}/parameters");
    if !matches!(tool.parameters, Value::Object(_)) {
        let message = format!("the parameters are {}, not an object", tool.parameters.kind());
        return Err(Finding::new(&TOOL_SCHEMA, parameters, message));
    }
    check_schema(&tool.parameters, &parameters)?;
    if is_name(&tool.name) {
        Ok(())
    } else {
        Err(Finding::new(&TOOL_NAME, format!("{pointer}/name"), bad_name(&tool.name)))
    }
}

/// mistral-finetune accepts at most one system message, and only as a string.
pub(super) fn only_system_prompt<'s, T: AsRef<str>>(system: &[Turn<'s, T>]) -> Result<&'s str, Finding> {
    if let [_, second, ..] = system {
        return Err(second.finding(&FINETUNE_FORM, "a second system message; mistral-finetune accepts one"));
    }
    match system.first().map(|turn| (turn, turn.message)) {
        Some((_, Message::System(Content::Text(text)))) => Ok(text.as_ref()),
        Some((turn, _)) => {
            let message = "the system message is a list of parts; mistral-finetune requires a string";
            Err(turn.finding(&FINETUNE_FORM, message))
        }
        None => Ok(""),
    }
}

/// `^[a-zA-Z0-9]{9}$`, where Python's `$` also matches before a final line end.
pub(crate) fn is_call_id(id: &str) -> bool {
    let id = id.strip_suffix('\n').unwrap_or(id);
    id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `^[a-zA-Z0-9_-]{1,64}$`, the same.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('\n').unwrap_or(name);
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn bad_name(name: &str) -> String {
    format!("the function name `{name}` does not consist of 1 to 64 letters, digits, underscores and dashes")
}
