//! Validation: which conversations the references accept for training.
//!
//! The rules and their order are those of mistral-common 1.13.1 `validator.py` for the tokenizer's version in fine-tuning
//! mode, and those that it applies when it encodes thinking and settings; mistral-finetune runs the same validator after checks of its own (`tokenize.py`).

use std::collections::HashSet;

use super::content::is_empty;
use super::format::{CallIds, Thinking};
use super::{Layout, Terms};
use crate::diagnostic::{Finding, Rule};
use crate::json::Value;
use crate::rules::{
    ANSWER_AND_CALLS, ANSWER_PREFIX, EMPTY_ANSWER, FINETUNE_FORM, IMAGE_ROLE, LAST_NOT_ASSISTANT,
    MODEL_SETTING, NO_MESSAGES, PART_KIND, ROLE_ORDER, TOOL_CALL, TOOL_ID, TOOL_NAME, TOOL_RESULTS,
    TOOL_SCHEMA,
};
use crate::sample::{
    Arguments, Assistant, Content, Message, ModelSettings, Part, Sample, Tool, ToolCall, ToolResult,
};
use crate::tokens::TokenizerVersion;
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
pub(super) fn validate<I, T: AsRef<str>>(
    turns: &[Turn<'_, T>],
    sample: &Sample<I, T>,
    terms: Terms<'_>,
) -> Result<(), Finding> {
    refusals(turns, sample, terms).into_iter().next().map_or(Ok(()), Err)
}

/// Everything that the reference rejects before it encodes, in its order.
pub(super) fn refusals<I, T: AsRef<str>>(
    turns: &[Turn<'_, T>],
    sample: &Sample<I, T>,
    terms: Terms<'_>,
) -> Vec<Finding> {
    let mut found = structure(turns, terms);
    for (index, turn) in turns.iter().enumerate() {
        let is_last = index + 1 == turns.len();
        match turn.message {
            Message::System(content) => parts(content, turn, terms, &mut found),
            Message::User(content) => parts(content, turn, terms, &mut found),
            Message::Assistant(assistant) => answer(assistant, is_last, turn, terms, &mut found),
            Message::Tool(result) => tool_result(result, turn, terms, &mut found),
        }
    }
    for (index, tool) in sample.tools.iter().enumerate() {
        found.extend(check_tool(tool, index).err());
    }
    found.extend(settings(&sample.settings, terms).err());
    if terms.layout == Layout::MistralFinetune && terms.version() != TokenizerVersion::V3 {
        let message = format!(
            "mistral-finetune lays out conversations for tokenizer v3; this one is {}",
            terms.version()
        );
        found.push(Finding::new(&FINETUNE_FORM, "", message));
    }
    found
}

/// The JSON of the settings, if the version has any.
pub(super) fn settings(settings: &ModelSettings, terms: Terms<'_>) -> Result<Option<String>, Finding> {
    if !terms.format().settings {
        return match &settings.reasoning_effort {
            None => Ok(None),
            Some(_) => {
                let message =
                    format!("models with tokenizer {} do not read `reasoning_effort`", terms.version());
                Err(Finding::new(&MODEL_SETTING, "/reasoning_effort", message))
            }
        };
    }
    match terms.tokenizer.settings() {
        Some(builder) => builder.json(settings),
        None => {
            let message = "the tokenizer file has no `model_settings_builder`, which its version needs";
            Err(Finding::new(&MODEL_SETTING, "", message))
        }
    }
}

/// What is rejected about the roles and their order.
pub(super) fn structure<T>(turns: &[Turn<'_, T>], terms: Terms<'_>) -> Vec<Finding> {
    let Some(last) = turns.last() else {
        return vec![Finding::new(&NO_MESSAGES, "/messages", "the conversation has no messages")];
    };
    let mut found = Vec::new();
    match last.message {
        Message::Assistant(_) if turns.len() == 1 => {
            found.push(last.finding(&ROLE_ORDER, "the conversation is one response without a question"));
        }
        // mistral-finetune does not read the key.
        Message::Assistant(answer) if answer.prefix && terms.layout == Layout::MistralCommon => {
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
    if terms.format().matched_ids {
        results_belong_to_calls(turns, &mut found);
    } else {
        results_match_calls(turns, &mut found);
    }
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

/// Every result names an open call, and every call has a result before the next response; the first message is ignored.
fn results_belong_to_calls<T>(turns: &[Turn<'_, T>], found: &mut Vec<Finding>) {
    let mut calls: HashSet<&str> = HashSet::new();
    let mut answered: HashSet<&str> = HashSet::new();
    for turn in turns.iter().skip(1) {
        match turn.message {
            Message::Tool(result) => {
                // A result that names no call is reported for that.
                let Some(id) = result.tool_call_id.as_deref() else { continue };
                let problem = if answered.contains(id) {
                    format!("there are two results of the call `{id}`")
                } else if calls.contains(id) {
                    answered.insert(id);
                    continue;
                } else {
                    format!("no call of the response before it has the id `{id}`")
                };
                found.push(Finding::new(&TOOL_RESULTS, turn.pointer("tool_call_id"), problem));
            }
            Message::Assistant(assistant) => {
                if calls.len() != answered.len() {
                    let message = "there are fewer tool results than calls before this response";
                    found.push(turn.finding(&TOOL_RESULTS, message));
                }
                calls.clear();
                answered.clear();
                for (index, call) in assistant.tool_calls.iter().enumerate() {
                    if !calls.insert(&call.id) {
                        let pointer = turn.pointer(&format!("tool_calls/{index}/id"));
                        let message = match call.id.as_str() {
                            "null" => "two calls of the response have no id".to_owned(),
                            id => format!("two calls of the response have the id `{id}`"),
                        };
                        found.push(Finding::new(&TOOL_ID, pointer, message));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Rejects parts that the role cannot have: the first of each kind.
fn parts<T>(content: &Content<T>, turn: &Turn<'_, T>, terms: Terms<'_>, found: &mut Vec<Finding>) {
    let Content::Parts(parts) = content else { return };
    let format = terms.format();
    let role = turn.role();
    let may_have_images = role == "user" || (role == "tool" && format.result_images);
    let image = parts.iter().position(|part| matches!(part, Part::Image(_)));
    if let Some(index) = image.filter(|_| !may_have_images) {
        let message = "an image outside a user message";
        found.push(Finding::new(&IMAGE_ROLE, turn.pointer(&format!("content/{index}")), message));
    }
    let may_think = match format.thinking {
        Thinking::Nobody => false,
        Thinking::SystemAndAssistant => matches!(role, "system" | "assistant"),
        Thinking::Assistant => role == "assistant",
    };
    let is_thinking = |part: &Part<T>| matches!(part, Part::Thinking { .. });
    let Some(index) = parts.iter().position(is_thinking) else { return };
    let message = if format.thinking == Thinking::Nobody {
        format!("models with tokenizer {} do not read content of the type `thinking`", terms.version())
    } else if !may_think {
        format!("thinking in {} {role} message", article(role))
    } else if terms.tokenizer.marks().newer.think.is_none() {
        "the tokenizer has no `[THINK]` and `[/THINK]`, so that the model does not read thinking".to_owned()
    } else {
        return;
    };
    found.push(Finding::new(&PART_KIND, turn.pointer(&format!("content/{index}")), message));
}

fn answer<T: AsRef<str>>(
    assistant: &Assistant<T>,
    is_last: bool,
    turn: &Turn<'_, T>,
    terms: Terms<'_>,
    found: &mut Vec<Finding>,
) {
    let (layout, format) = (terms.layout, terms.format());
    if let Some(content) = &assistant.content {
        parts(content, turn, terms, found);
    }
    let has_content = assistant.content.as_ref().is_some_and(|content| !is_empty(content));
    match (has_content, !assistant.tool_calls.is_empty()) {
        (false, false) if !format.text_with_calls => {
            found.push(turn.finding(&EMPTY_ANSWER, "the response has neither text nor tool calls"));
        }
        (true, true) if !format.text_with_calls => {
            let message = "the response has both text and tool calls; the format accepts only one of them";
            found.push(turn.finding(&ANSWER_AND_CALLS, message));
        }
        _ => {}
    }
    for (index, call) in assistant.tool_calls.iter().enumerate() {
        let pointer = turn.pointer(&format!("tool_calls/{index}"));
        tool_call(call, is_last, &pointer, terms, found);
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

fn tool_call(call: &ToolCall, is_last: bool, pointer: &str, terms: Terms<'_>, found: &mut Vec<Finding>) {
    let ids = terms.format().call_ids;
    let mut refuse = |rule, key: &str, message: String| {
        found.push(Finding::new(rule, format!("{pointer}{key}"), message));
    };
    if call.id == "null" {
        if ids == CallIds::NotEmpty {
            refuse(
                &TOOL_ID,
                "",
                format!("the tool call has no id; tokenizer {} requires one", terms.version()),
            );
        } else if !is_last {
            let message = "the tool call has no id; only calls in the last message may omit it";
            refuse(&TOOL_ID, "", message.into());
        }
    } else if !ids.accept(&call.id) {
        refuse(&TOOL_ID, "/id", bad_id(&call.id, ids));
    }
    if !is_name(&call.name) {
        refuse(&TOOL_NAME, "/function/name", bad_name(&call.name));
    }
    let message = match &call.arguments {
        Arguments::Text(_) => return,
        Arguments::Json(_) if terms.layout == Layout::MistralFinetune => {
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

fn tool_result<T>(result: &ToolResult<T>, turn: &Turn<'_, T>, terms: Terms<'_>, found: &mut Vec<Finding>) {
    parts(&result.content, turn, terms, found);
    let ids = terms.format().call_ids;
    if let Some(name) = result.name.as_deref().filter(|name| !is_name(name)) {
        found.push(Finding::new(&TOOL_NAME, turn.pointer("name"), bad_name(name)));
    }
    match result.tool_call_id.as_deref() {
        None => {
            found.push(turn.finding(&TOOL_ID, "the tool result does not name its call"));
        }
        Some(id) if !ids.accept(id) => {
            found.push(Finding::new(&TOOL_ID, turn.pointer("tool_call_id"), bad_id(id, ids)));
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

fn bad_id(id: &str, ids: CallIds) -> String {
    match ids {
        CallIds::NineCharacters => format!("the tool call id `{id}` does not have nine letters or digits"),
        CallIds::NotEmpty if id.is_empty() => "the tool call id is empty".to_owned(),
        CallIds::NotEmpty => format!("the tool call id `{id}` stands for a missing id"),
    }
}

/// `^[a-zA-Z0-9_-]{1,64}$`, where Python's `$` also matches before a final line end.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('\n').unwrap_or(name);
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

fn bad_name(name: &str) -> String {
    format!("the function name `{name}` does not consist of 1 to 64 letters, digits, underscores and dashes")
}
