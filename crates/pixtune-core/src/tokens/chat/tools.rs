//! Tools, calls and results: the JSON between control tokens, as the reference writes it.

use super::out::Out;
use super::validate::Turn;
use crate::diagnostic::Finding;
use crate::json::write_string;
use crate::rules::TOOL_JSON;
use crate::sample::{Arguments, Tool, ToolCall, ToolResult};
use crate::tokens::python_json::{Unprintable, dumps, has_lone_surrogate, loads};

/// The form of calls.
pub(super) struct Calls {
    pub(super) ids: bool,
    pub(super) empty_is_object: bool,
    pub(super) trained: bool,
}

/// All calls as one list; the caller ends the message.
pub(super) fn tool_calls<T>(
    calls: &[&ToolCall],
    form: &Calls,
    turn: &Turn<'_, T>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let text = calls_json(calls, form).map_err(|why| unprintable(why, turn.pointer("tool_calls")))?;
    let broken =
        |call: &&ToolCall| matches!(&call.arguments, Arguments::Text(text) if has_lone_surrogate(text));
    if out.tokenizer.rejects_surrogates() && calls.iter().any(broken) {
        return Err(unprintable(Unprintable(LONE_SURROGATE), turn.pointer("tool_calls")));
    }
    out.mark(out.tokenizer.marks().tool_calls, form.trained);
    out.text(&text, form.trained);
    Ok(())
}

/// The arguments of one call.
pub(super) fn arguments_json(call: &ToolCall, form: &Calls) -> Result<String, Unprintable> {
    let mut text = String::new();
    arguments(call, form, &mut text)?;
    Ok(text)
}

/// The calls of a message as one list.
pub(super) fn calls_json(calls: &[&ToolCall], form: &Calls) -> Result<String, Unprintable> {
    let mut text = String::from("[");
    for (index, call) in calls.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str("{\"name\": ");
        write_string(&call.name, &mut text);
        text.push_str(", \"arguments\": ");
        arguments(call, form, &mut text)?;
        if form.ids && call.id != "null" {
            text.push_str(", \"id\": ");
            write_string(&call.id, &mut text);
        }
        text.push('}');
    }
    text.push(']');
    Ok(text)
}

fn arguments(call: &ToolCall, form: &Calls, out: &mut String) -> Result<(), Unprintable> {
    match &call.arguments {
        Arguments::Text(text) if text.is_empty() && form.empty_is_object => {
            out.push_str("{}");
            Ok(())
        }
        Arguments::Text(text) => parsed_or_text(text, out),
        Arguments::Json(crate::json::Value::Null) => {
            out.push_str("{}");
            Ok(())
        }
        Arguments::Json(value) => dumps(value, out),
    }
}

fn parsed_or_text(text: &str, out: &mut String) -> Result<(), Unprintable> {
    match loads(text)? {
        Some(value) => dumps(&value, out),
        None => {
            write_string(text, out);
            Ok(())
        }
    }
}

pub(super) fn tool_result<T: AsRef<str>>(
    result: &ToolResult<T>,
    content: &str,
    turn: &Turn<'_, T>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let text = result_json(result, content).map_err(|why| unprintable(why, turn.pointer("content")))?;
    let marks = *out.tokenizer.marks();
    out.mark(marks.begin_result, false);
    out.text(&text, false);
    out.mark(marks.end_result, false);
    Ok(())
}

/// A result and the id of its call.
pub(super) fn result_json<T>(result: &ToolResult<T>, content: &str) -> Result<String, Unprintable> {
    let mut text = String::from("{\"content\": ");
    parsed_or_text(content, &mut text)?;
    text.push_str(", \"call_id\": ");
    write_string(result.tool_call_id.as_deref().unwrap_or_default(), &mut text);
    text.push('}');
    Ok(text)
}

pub(super) fn tools_json(tools: &[Tool]) -> Result<String, Unprintable> {
    let mut text = String::from("[");
    for (index, tool) in tools.iter().enumerate() {
        text.push_str(if index > 0 { ", " } else { "" });
        text.push_str("{\"type\": \"function\", \"function\": {\"name\": ");
        write_string(&tool.name, &mut text);
        text.push_str(", \"description\": ");
        write_string(tool.description.as_deref().unwrap_or_default(), &mut text);
        text.push_str(", \"parameters\": ");
        dumps(&tool.parameters, &mut text)?;
        text.push_str("}}");
    }
    text.push(']');
    Ok(text)
}

/// SentencePiece takes valid UTF-8 only.
const LONE_SURROGATE: &str = "it has half of a surrogate pair, which the tokenizer cannot encode";

pub(super) fn unprintable(why: Unprintable, pointer: impl Into<String>) -> Finding {
    Finding::new(&TOOL_JSON, pointer, format!("the reference cannot write this JSON: {}", why.0))
}
