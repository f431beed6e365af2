//! Conversations as they were read, in columns: roles, parts, calls of tools and their results.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use arrow_buffer::NullBuffer;
use arrow_schema::ArrowError;
use pixtune_core::json::{list, object, text};
use pixtune_core::sample::{Arguments, Content, Message, Part, Tool, ToolCall};

use super::ParquetRow;
use super::arrays::{image_bytes, lists, structs};

/// The columns `messages`, `images` and `tools`.
pub(super) fn arrays(rows: &[ParquetRow]) -> Result<Vec<ArrayRef>, ArrowError> {
    let messages: Vec<&Message> = rows.iter().flat_map(|row| &row.sample.sample.messages).collect();
    let tool = |message: &Message| match message {
        Message::Tool(result) => (result.tool_call_id.clone(), result.name.clone()),
        _ => (None, None),
    };
    let ids: StringArray = messages.iter().map(|message| tool(message).0).collect();
    let names: StringArray = messages.iter().map(|message| tool(message).1).collect();
    let weights: Int64Array = messages.iter().map(|message| weight(message)).collect();
    let roles = StringArray::from_iter_values(messages.iter().map(|message| role(message)));
    let columns = structs(vec![
        ("role", Arc::new(roles)),
        ("content", contents(&messages)?),
        ("tool_calls", calls(&messages)?),
        ("tool_call_id", Arc::new(ids)),
        ("name", Arc::new(names)),
        ("weight", Arc::new(weights)),
    ])?;
    let per_row = rows.iter().map(|row| row.sample.sample.messages.len());
    let tools: StringArray = rows.iter().map(|row| tools(&row.sample.sample.tools)).collect();
    Ok(vec![lists(per_row, Arc::new(columns), None)?, image_bytes(rows)?, Arc::new(tools)])
}

fn role(message: &Message) -> &'static str {
    match message {
        Message::System(_) => "system",
        Message::User(_) => "user",
        Message::Assistant(_) => "assistant",
        Message::Tool(_) => "tool",
    }
}

fn weight(message: &Message) -> Option<i64> {
    match message {
        Message::Assistant(assistant) => assistant.weight.map(i64::from),
        _ => None,
    }
}

/// Contents as lists of parts; a message of calls has none.
fn contents(messages: &[&Message]) -> Result<ArrayRef, ArrowError> {
    let content = |message: &Message| match message {
        Message::System(content) | Message::User(content) => Some(content.clone()),
        Message::Assistant(assistant) => assistant.content.clone(),
        Message::Tool(result) => Some(result.content.clone()),
    };
    let parts = messages.iter().map(|message| {
        content(message).map(|content| match content {
            Content::Text(text) => vec![Part::Text(text)],
            Content::Parts(parts) => parts,
        })
    });
    let parts: Vec<Option<Vec<Part>>> = parts.collect();
    let flat = || parts.iter().flatten().flatten();
    let kinds = flat().map(|part| if matches!(part, Part::Text(_)) { "text" } else { "image" });
    let texts: StringArray = flat()
        .map(|part| match part {
            Part::Text(text) => Some(text),
            // The check of the trainer rejects thinking.
            Part::Image(_) | Part::Thinking { .. } => None,
        })
        .collect();
    let kinds = StringArray::from_iter_values(kinds);
    let values = structs(vec![("type", Arc::new(kinds)), ("text", Arc::new(texts))])?;
    let valid = NullBuffer::from(parts.iter().map(Option::is_some).collect::<Vec<_>>());
    lists(parts.iter().map(|parts| parts.as_ref().map_or(0, Vec::len)), Arc::new(values), Some(valid))
}

fn calls(messages: &[&Message]) -> Result<ArrayRef, ArrowError> {
    let calls = |message: &&Message| match message {
        Message::Assistant(assistant) => assistant.tool_calls.clone(),
        _ => Vec::new(),
    };
    let calls: Vec<Vec<ToolCall>> = messages.iter().map(calls).collect();
    let flat = || calls.iter().flatten();
    let arguments = flat().map(|call| match &call.arguments {
        Arguments::Text(text) => text.clone(),
        Arguments::Json(value) => value.to_string(),
    });
    let arguments = StringArray::from_iter_values(arguments);
    let names = StringArray::from_iter_values(flat().map(|call| &call.name));
    let functions = structs(vec![("name", Arc::new(names)), ("arguments", Arc::new(arguments))])?;
    let ids = StringArray::from_iter_values(flat().map(|call| &call.id));
    let kinds = StringArray::from_iter_values(flat().map(|_| "function"));
    let values =
        structs(vec![("id", Arc::new(ids)), ("type", Arc::new(kinds)), ("function", Arc::new(functions))])?;
    let valid = NullBuffer::from(calls.iter().map(|calls| !calls.is_empty()).collect::<Vec<_>>());
    lists(calls.iter().map(Vec::len), Arc::new(values), Some(valid))
}

/// The tools as the JSON of a list; none without tools.
fn tools(tools: &[Tool]) -> Option<String> {
    let tool = |tool: &Tool| {
        let Tool { name, description, parameters, strict } = tool.clone();
        object(move |out| {
            out.field("type", "function").field(
                "function",
                object(move |function| {
                    function.field("name", &name).optional("description", description.as_deref());
                    function.field("parameters", &parameters).optional("strict", strict);
                }),
            );
        })
    };
    (!tools.is_empty()).then(|| text(list(tools.iter().map(tool))))
}
