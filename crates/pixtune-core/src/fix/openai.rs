//! Older spellings: OpenAI's functions, mistral-finetune's own keys.

use super::{Repairer, tree};
use crate::json::{self, Value};
use crate::rules::{MISSING_FIELD, UNKNOWN_KEY};

pub(super) fn repair(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if row.get("messages").and_then(Value::as_array).is_none() {
        return;
    }
    if repairer.may(&UNKNOWN_KEY) {
        tools_by_other_names(row, repairer);
        for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
            function_call(index, message, repairer);
        }
        only_last(row, repairer);
    }
    if repairer.may(&MISSING_FIELD) {
        for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
            if message.get("content").is_none() && message.text("text").is_some() {
                tree::rename(message, "text", "content");
                repairer.did(
                    &MISSING_FIELD,
                    format!("/messages/{index}/text"),
                    "renamed `text` to `content`",
                );
            }
        }
    }
}

fn tools_by_other_names(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    for key in ["functions", "available_tools"] {
        if row.get("tools").is_none_or(|tools| *tools == Value::Null)
            && row.get(key).and_then(Value::as_array).is_some()
            && let Some(list) = tree::take(row, key)
        {
            tree::set(row, "tools", list);
            repairer.did(&UNKNOWN_KEY, format!("/{key}"), format!("rewrote `{key}` as `tools`"));
        }
    }
}

/// Rewrites `function_call`, and ShareGPT's messages with the role `function_call`, as `tool_calls`.
fn function_call(index: usize, message: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if tree::role(message) == "function_call" {
        let Some(call) = message.text("content").and_then(called) else { return };
        tree::take(message, "content");
        tree::set(message, "role", tree::string("assistant"));
        tree::set(message, "tool_calls", Value::Array(vec![call]));
        let text = "rewrote the role `function_call` as `tool_calls` of the assistant";
        return repairer.did(&UNKNOWN_KEY, format!("/messages/{index}/role"), text);
    }
    let has_calls =
        message.get("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty());
    let functions: Vec<Value<'_>> = match message.get("function_call") {
        Some(function @ Value::Object(_)) => vec![function.clone()],
        Some(Value::Array(functions)) if functions.iter().all(is_call) => functions.clone(),
        _ => return,
    };
    if has_calls || functions.is_empty() {
        return;
    }
    tree::take(message, "function_call");
    if message.get("content").is_some_and(|content| *content == Value::Null || content.as_str() == Some("")) {
        tree::take(message, "content");
    }
    let call = |function| tree::object([("type", tree::string("function")), ("function", function)]);
    tree::take(message, "tool_calls");
    tree::set(message, "tool_calls", Value::Array(functions.into_iter().map(call).collect()));
    repairer.did(
        &UNKNOWN_KEY,
        format!("/messages/{index}/function_call"),
        "rewrote `function_call` as `tool_calls`",
    );
}

fn is_call(function: &Value<'_>) -> bool {
    function.text("name").is_some() && function.get("arguments").is_some()
}

/// Reads a call that is written as JSON text with `name` and `arguments`.
fn called<'a>(text: &str) -> Option<Value<'a>> {
    let call = json::parse(text).ok()?.value.into_owned();
    let name = call.text("name")?.to_owned();
    let arguments = match call.get("arguments").or_else(|| call.get("parameters"))? {
        Value::String(text) => text.to_string(),
        object @ Value::Object(_) => object.to_string(),
        _ => return None,
    };
    let function = tree::object([("name", tree::string(name)), ("arguments", tree::string(arguments))]);
    Some(tree::object([("type", tree::string("function")), ("function", function)]))
}

/// Rewrites mistral-finetune's `only_last`, which trains only the last answer, as weights.
fn only_last(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if row.get("only_last") != Some(&Value::Bool(true)) {
        return;
    }
    let is_answer = |message: &Value<'_>| tree::role(message) == "assistant";
    let messages = tree::messages_mut(row);
    let Some(last) = messages.iter().rposition(is_answer) else { return };
    for message in messages[..last].iter_mut().filter(|message| is_answer(message)) {
        tree::set(message, "weight", Value::Number("0".into()));
    }
    tree::take(row, "only_last");
    repairer.did(&UNKNOWN_KEY, "/only_last", "rewrote `only_last` as weight 0 on the earlier responses");
}
