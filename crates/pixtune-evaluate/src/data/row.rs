//! A row as a sample to be answered: the conversation before the last answer, and what an answer is compared with.

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::Value;
use pixtune_core::rules;
use pixtune_core::sample::{Assistant, Content, Image, Message, ModelSettings, Part, Tool, ToolResult};
use pixtune_core::score::{Part as ScoredPart, final_answer, listed_options};
use pixtune_core::strict;

use super::keys::id_of;

/// What rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Conversations, whose last message is the reference unless they have others.
    Conversations,
    /// Predictions with their references.
    Predictions,
}

/// A sample to be answered.
#[derive(Debug)]
pub(crate) struct SampleRow<'v> {
    pub(crate) id: Option<String>,
    /// The conversation up to the answer; none of a prediction.
    pub(crate) messages: Vec<Message>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) images: Vec<Image<&'v str>>,
    pub(crate) settings: ModelSettings,
    /// The text of the last user message.
    pub(crate) prompt: String,
    pub(crate) references: Vec<String>,
    /// The options of a multiple-choice question.
    pub(crate) options: Vec<String>,
    /// What ratings are averaged by.
    pub(crate) category: String,
    /// Which part of an answer counts, where the row decides it; else the prompt does.
    pub(crate) part: Option<ScoredPart>,
    /// Why there are no references, where known.
    pub(crate) why_none: Option<Finding>,
    /// The row itself, of a prediction.
    pub(crate) row: Option<Value<'v>>,
}

/// The keys that rows have beside the conversation. The strict reader of conversations rejects them.
const OWN_KEYS: [&str; 7] = ["id", "references", "answers", "reference", "choices", "options", "category"];

/// Reads a row and does something with it.
pub(crate) fn with_row<T>(
    mut value: Value<'_>,
    kind: Kind,
    work: impl FnOnce(SampleRow<'_>) -> T,
) -> Result<T, Finding> {
    if value.as_object().is_none() {
        let message = format!("the line is {}, not an object", value.kind());
        return Err(Finding::new(&rules::JSON_NOT_OBJECT, "", message));
    }
    let id = id_of(&value)?;
    let references = references(&value)?;
    let options = options(&value)?;
    let category = value.text("category").unwrap_or_default().to_owned();
    if kind == Kind::Predictions {
        let prompt = value.text("prompt").unwrap_or_default().to_owned();
        let options = if options.is_empty() { owned(listed_options(&prompt)) } else { options };
        let (messages, tools, images, settings) = Default::default();
        let part = value.text("scored").and_then(ScoredPart::find);
        let why_none = None;
        return Ok(work(SampleRow {
            id,
            messages,
            tools,
            images,
            settings,
            prompt,
            references,
            options,
            category,
            part,
            why_none,
            row: Some(value),
        }));
    }
    if let Value::Object(members) = &mut value {
        members.retain(|(key, _)| !OWN_KEYS.contains(&key.as_ref()));
    }
    let sample = strict::read(&value).map_err(first)?;
    let mut messages: Vec<Message> = sample.messages.iter().map(own_message).collect();
    let answer = match messages.last() {
        Some(Message::Assistant(_)) => messages.pop(),
        _ => None,
    };
    let (mut references, mut part, mut why_none) = (references, None, None);
    if references.is_empty() {
        match answer.as_ref().and_then(answer_text) {
            Some(text) => {
                let (reference, of) = own_reference(text);
                references.push(reference);
                part = of;
            }
            None => why_none = Some(no_answer(answer.as_ref(), sample.messages.len())),
        }
    }
    if !matches!(messages.last(), Some(Message::User(_) | Message::Tool(_))) {
        let message = "nothing before the last answer asks for one";
        return Err(Finding::new(&rules::REFERENCE_MISSING, "/messages", message));
    }
    let prompt = messages.iter().rev().find_map(user_text).unwrap_or_default();
    let options = if options.is_empty() { owned(listed_options(&prompt)) } else { options };
    let (tools, images, settings) = (sample.tools, sample.images, sample.settings);
    let row = None;
    Ok(work(SampleRow {
        id,
        messages,
        tools,
        images,
        settings,
        prompt,
        references,
        options,
        category,
        part,
        why_none,
        row,
    }))
}

/// The reference that the assistant's own answer is: where it reasons and ends with `Answer: …`, only that counts.
fn own_reference(text: String) -> (String, Option<ScoredPart>) {
    match final_answer(&text).filter(|_| !text.trim_start().starts_with('{')) {
        Some(answer) => (answer, Some(ScoredPart::Final)),
        None => (text, None),
    }
}

fn first(findings: Vec<Finding>) -> Finding {
    let none = || Finding::new(&rules::JSON_NOT_OBJECT, "", "the row is not a conversation");
    findings.into_iter().next().unwrap_or_else(none)
}

fn no_answer(answer: Option<&Message>, messages: usize) -> Finding {
    let pointer = format!("/messages/{}", messages.saturating_sub(1));
    let message = match answer {
        None => "the last message is not from the assistant, so there is no reference",
        Some(_) => "the last message calls tools and has no text, so there is no reference",
    };
    Finding::new(&rules::REFERENCE_MISSING, pointer, message)
        .hint("end it with the assistant's answer, or give references with `--references`")
}

/// The references of a row: `references`, `answers` or `reference`, a string or a list of strings.
pub(crate) fn references(row: &Value<'_>) -> Result<Vec<String>, Finding> {
    for key in ["references", "answers", "reference"] {
        if let Some(value) = row.get(key).filter(|value| !matches!(value, Value::Null)) {
            return string_list(key, value);
        }
    }
    Ok(Vec::new())
}

fn options(row: &Value<'_>) -> Result<Vec<String>, Finding> {
    for key in ["choices", "options"] {
        if let Some(value) = row.get(key).filter(|value| !matches!(value, Value::Null)) {
            return string_list(key, value);
        }
    }
    Ok(Vec::new())
}

/// A string, or a list of strings. Numbers and truth values are read as they are written, and an object as its JSON.
pub(super) fn string_list(key: &str, value: &Value<'_>) -> Result<Vec<String>, Finding> {
    let Some(values) = value.as_array() else { return Ok(vec![read_text(key, value)?]) };
    values.iter().map(|value| read_text(key, value)).collect()
}

/// One text of a row.
pub(crate) fn read_text(key: &str, value: &Value<'_>) -> Result<String, Finding> {
    match value {
        Value::String(text) | Value::Number(text) => Ok(text.to_string()),
        Value::Bool(_) | Value::Object(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) => {
            let message = format!("`{key}` has {} where a text is expected", value.kind());
            Err(Finding::new(&rules::WRONG_TYPE, format!("/{key}"), message))
        }
    }
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

/// The text of an answer; none where it has no text.
fn answer_text(message: &Message) -> Option<String> {
    let Message::Assistant(Assistant { content: Some(content), .. }) = message else { return None };
    Some(content_text(content))
}

fn user_text(message: &Message) -> Option<String> {
    let Message::User(content) = message else { return None };
    Some(content_text(content))
}

/// The texts of a message, one below the other.
fn content_text(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Parts(parts) => {
            let texts = parts.iter().filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                Part::Image(_) | Part::Thinking { .. } => None,
            });
            texts.collect::<Vec<_>>().join("\n")
        }
    }
}

/// The instructions for a response: the system prompt and the last user message.
pub(crate) fn instructions(sample: &SampleRow<'_>) -> String {
    let system = sample.messages.iter().filter_map(|message| match message {
        Message::System(content) => Some(content_text(content)),
        _ => None,
    });
    system.chain([sample.prompt.clone()]).collect::<Vec<_>>().join("\n")
}

/// The text of a message.
pub(crate) fn message_text(message: &Message) -> String {
    match message {
        Message::System(content) | Message::User(content) => content_text(content),
        Message::Assistant(assistant) => assistant.content.as_ref().map(content_text).unwrap_or_default(),
        Message::Tool(result) => content_text(&result.content),
    }
}

/// The text of the last user message of a conversation.
pub(crate) fn last_prompt(messages: &[Message]) -> String {
    messages.iter().rev().find_map(user_text).unwrap_or_default()
}

fn own_message(message: &Message<&str>) -> Message {
    match message {
        Message::System(content) => Message::System(own_content(content)),
        Message::User(content) => Message::User(own_content(content)),
        Message::Assistant(assistant) => Message::Assistant(Assistant {
            content: assistant.content.as_ref().map(own_content),
            tool_calls: assistant.tool_calls.clone(),
            weight: assistant.weight,
            prefix: assistant.prefix,
        }),
        Message::Tool(result) => Message::Tool(ToolResult {
            content: own_content(&result.content),
            tool_call_id: result.tool_call_id.clone(),
            name: result.name.clone(),
        }),
    }
}

fn own_content(content: &Content<&str>) -> Content {
    match content {
        Content::Text(text) => Content::Text((*text).to_owned()),
        Content::Parts(parts) => {
            let own = |part: &Part<&str>| match part {
                Part::Text(text) => Part::Text((*text).to_owned()),
                Part::Image(index) => Part::Image(*index),
                Part::Thinking { text, closed } => {
                    Part::Thinking { text: (*text).to_owned(), closed: *closed }
                }
            };
            Content::Parts(parts.iter().map(own).collect())
        }
    }
}
