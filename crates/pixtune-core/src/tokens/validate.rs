//! Which conversations the references take for training.
//!
//! The rules and their order are those of mistral-common 1.13.1 `validator.py` for tokenizer v3 in fine-tuning mode;
//! mistral-finetune runs the same validator after checks of its own (`tokenize.py`).

use super::chat::{Layout, is_empty};
use super::schema;
use crate::diagnostic::Finding;
use crate::json::Value;
use crate::rules::{
    ANSWER_PREFIX, EMPTY_ANSWER, FINETUNE_FORM, IMAGE_ROLE, LAST_NOT_ASSISTANT, NO_MESSAGES, ROLE_ORDER,
    Rule, TOOL_CALL, TOOL_ID, TOOL_NAME, TOOL_RESULTS, TOOL_SCHEMA,
};
use crate::sample::{Arguments, Assistant, Content, Message, Part, Tool, ToolCall, ToolResult};

/// A message and its place in the conversation.
pub(super) struct Turn<'s> {
    pub(super) index: usize,
    pub(super) message: &'s Message,
}

impl<'s> Turn<'s> {
    pub(super) fn all(messages: &'s [Message]) -> Vec<Turn<'s>> {
        messages.iter().enumerate().map(|(index, message)| Turn { index, message }).collect()
    }

    pub(super) fn pointer(&self, key: &str) -> String {
        format!("/messages/{}/{key}", self.index)
    }

    fn refuse(&self, rule: &'static Rule, message: impl Into<String>) -> Result<(), Finding> {
        Err(Finding::new(rule, format!("/messages/{}", self.index), message))
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

/// Refuses what the reference refuses before it encodes.
pub(super) fn validate(turns: &[Turn<'_>], tools: &[Tool], layout: Layout) -> Result<(), Finding> {
    structure(turns, layout)?;
    for (index, turn) in turns.iter().enumerate() {
        let is_last = index + 1 == turns.len();
        match turn.message {
            Message::System(content) => only_text(content, turn)?,
            Message::User(_) => {}
            Message::Assistant(assistant) => answer(assistant, is_last, turn, layout)?,
            Message::Tool(result) => tool_result(result, turn)?,
        }
    }
    tools.iter().enumerate().try_for_each(|(index, tool)| check_tool(tool, index))
}

fn structure(turns: &[Turn<'_>], layout: Layout) -> Result<(), Finding> {
    let Some(last) = turns.last() else {
        return Err(Finding::new(&NO_MESSAGES, "/messages", "the conversation has no messages"));
    };
    let Message::Assistant(answer) = last.message else {
        return last.refuse(
            &LAST_NOT_ASSISTANT,
            format!("the last message is the {}'s, not the assistant's", last.role()),
        );
    };
    if turns.len() == 1 {
        return last.refuse(&ROLE_ORDER, "the answer stands alone; nothing is asked");
    }
    // mistral-finetune does not read the key.
    if answer.prefix && layout == Layout::MistralCommon {
        return last.refuse(&ANSWER_PREFIX, "the answer is marked as a prefix to be continued");
    }
    for pair in turns.windows(2) {
        let (role, next) = (pair[0].role(), pair[1].role());
        let fits = match role {
            "system" | "user" => next != "tool",
            _ => next != "system",
        };
        if !fits {
            return pair[1]
                .refuse(&ROLE_ORDER, format!("a {next} message follows {} {role} message", article(role)));
        }
    }
    results_match_calls(turns)
}

fn article(role: &str) -> &'static str {
    match role {
        "assistant" => "an",
        _ => "a",
    }
}

/// Every call needs its result before the next answer; the reference does not look at the first message.
fn results_match_calls(turns: &[Turn<'_>]) -> Result<(), Finding> {
    let mut open: i64 = 0;
    for turn in turns.iter().skip(1) {
        match turn.message {
            Message::Tool(_) => open -= 1,
            Message::Assistant(assistant) => {
                if open != 0 {
                    let problem = if open > 0 { "fewer" } else { "more" };
                    return turn.refuse(
                        &TOOL_RESULTS,
                        format!("there are {problem} tool results than calls before this answer"),
                    );
                }
                open = assistant.tool_calls.len() as i64;
            }
            _ => {}
        }
    }
    Ok(())
}

fn only_text(content: &Content, turn: &Turn<'_>) -> Result<(), Finding> {
    match content {
        Content::Parts(parts) if parts.iter().any(|part| matches!(part, Part::Image(_))) => {
            turn.refuse(&IMAGE_ROLE, format!("a picture in {} {} message", article(turn.role()), turn.role()))
        }
        _ => Ok(()),
    }
}

fn answer(assistant: &Assistant, is_last: bool, turn: &Turn<'_>, layout: Layout) -> Result<(), Finding> {
    if let Some(content) = &assistant.content {
        only_text(content, turn)?;
    }
    let has_content = assistant.content.as_ref().is_some_and(|content| !is_empty(content));
    match (has_content, !assistant.tool_calls.is_empty()) {
        (false, false) => turn.refuse(&EMPTY_ANSWER, "the answer has neither text nor tool calls")?,
        (true, true) => {
            turn.refuse(&TOOL_CALL, "the answer has both text and tool calls; the format takes one of them")?;
        }
        _ => {}
    }
    assistant.tool_calls.iter().try_for_each(|call| tool_call(call, is_last, turn, layout))?;
    if layout == Layout::MistralFinetune && matches!(assistant.content, Some(Content::Parts(_))) {
        return turn.refuse(&FINETUNE_FORM, "the answer is a list of parts; mistral-finetune takes a string");
    }
    // In the last message `structure` has refused it.
    if assistant.prefix && layout == Layout::MistralCommon {
        return turn.refuse(&ANSWER_PREFIX, "the answer is marked as a prefix but is not the last message");
    }
    Ok(())
}

fn tool_call(call: &ToolCall, is_last: bool, turn: &Turn<'_>, layout: Layout) -> Result<(), Finding> {
    if call.id == "null" {
        if !is_last {
            return turn.refuse(&TOOL_ID, "a tool call has no id, which only the last message may leave out");
        }
    } else if !is_call_id(&call.id) {
        return turn
            .refuse(&TOOL_ID, format!("the tool call id `{}` is not nine letters or digits", call.id));
    }
    if !is_name(&call.name) {
        return turn.refuse(&TOOL_NAME, bad_name(&call.name));
    }
    match &call.arguments {
        Arguments::Text(_) => Ok(()),
        Arguments::Json(_) if layout == Layout::MistralFinetune => turn
            .refuse(&FINETUNE_FORM, "the arguments are an object; mistral-finetune takes a string of JSON"),
        Arguments::Json(Value::Object(_) | Value::Null) => Ok(()),
        Arguments::Json(other) => {
            turn.refuse(&TOOL_CALL, format!("the arguments are {}, not an object or a string", other.kind()))
        }
    }
}

fn tool_result(result: &ToolResult, turn: &Turn<'_>) -> Result<(), Finding> {
    only_text(&result.content, turn)?;
    if let Some(name) = result.name.as_deref().filter(|name| !is_name(name)) {
        return turn.refuse(&TOOL_NAME, bad_name(name));
    }
    match result.tool_call_id.as_deref() {
        None => turn.refuse(&TOOL_ID, "the tool result does not say which call it answers"),
        Some(id) if !is_call_id(id) => {
            turn.refuse(&TOOL_ID, format!("the tool call id `{id}` is not nine letters or digits"))
        }
        Some(_) => Ok(()),
    }
}

/// mistral-finetune also asks for a `description` key; a missing one is taken for an empty one in both layouts.
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

/// Whether the value is a JSON Schema as the reference understands it.
pub(crate) fn check_schema(value: &Value<'_>, pointer: &str) -> Result<(), Finding> {
    schema::check(value, pointer).map_err(|fault| Finding::new(&TOOL_SCHEMA, fault.pointer, fault.message))
}

/// mistral-finetune takes one system message at most, and only as a string.
pub(super) fn only_system_prompt<'s>(system: &[Turn<'s>]) -> Result<&'s str, Finding> {
    if let [_, second, ..] = system {
        second.refuse(&FINETUNE_FORM, "a second system message; mistral-finetune takes one")?;
    }
    match system.first().map(|turn| (turn, turn.message)) {
        Some((_, Message::System(Content::Text(text)))) => Ok(text),
        Some((turn, _)) => turn
            .refuse(&FINETUNE_FORM, "the system message is a list of parts; mistral-finetune takes a string")
            .map(|()| ""),
        None => Ok(""),
    }
}

/// `^[a-zA-Z0-9]{9}$`, where Python's `$` also stands before a line end at the end.
fn is_call_id(id: &str) -> bool {
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
    format!("the function name `{name}` is not 1 to 64 letters, digits, underscores and dashes")
}
