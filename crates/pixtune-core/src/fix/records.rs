//! Records of other formats: LLaVA and ShareGPT, Alpaca, prompt and completion, images listed beside the messages.

use super::{Repairer, tree, turns};
use crate::columns::{ImagePosition, PLACEHOLDER};
use crate::diagnostic::Finding;
use crate::foreign::{images_key, is_conversation, is_image_placeholder};
use crate::json::Value;
use crate::rules::{IMAGE_PLACEHOLDERS, MISSING_FIELD, UNKNOWN_KEY, WRONG_TYPE};
use crate::text::counted;

pub(super) fn repair(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if row.get("messages").is_none() && repairer.may(&MISSING_FIELD) {
        conversation(row, repairer);
    }
    if row.get("messages").and_then(Value::as_array).is_some() {
        if repairer.may(&UNKNOWN_KEY) {
            system_beside(row, repairer);
        }
        images_beside(row, repairer);
    }
}

/// Moves images that are still listed beside the messages into the first question if there are no placeholders; rejects
/// placeholders whose number differs from the number of images.
pub(super) fn place_rest(row: &mut Value<'_>, position: ImagePosition) -> Result<(), Finding> {
    let Some(key) = images_key(row) else { return Ok(()) };
    let pointer = format!("/{key}");
    let Some(images) = row.get(key).and_then(references) else {
        return Err(Finding::new(&WRONG_TYPE, pointer, "images must be paths, URLs or data URIs"));
    };
    let messages = row.get("messages").and_then(Value::as_array).unwrap_or_default();
    let places: usize = messages.iter().map(|message| places_in(message.get("content"))).sum();
    if places > 0 {
        let message = format!(
            "the messages have {} for {} in `{key}`",
            counted(places as u64, "placeholder"),
            counted(images.len() as u64, "image")
        );
        return Err(Finding::new(&IMAGE_PLACEHOLDERS, pointer, message)
            .hint(format!("each `{PLACEHOLDER}` in a user message stands for one image, in order")));
    }
    let first = tree::messages_mut(row).iter_mut().find(|message| is_user(message));
    let Some(content) = first.and_then(|message| tree::get_mut(message, "content")) else { return Ok(()) };
    let mut parts = match std::mem::replace(content, Value::Null) {
        Value::Array(parts) => parts,
        Value::String(text) if text.is_empty() => Vec::new(),
        text => vec![tree::object([("type", tree::string("text")), ("text", text)])],
    };
    let at = if position == ImagePosition::First { 0 } else { parts.len() };
    parts.splice(at..at, images.into_iter().map(image));
    *content = Value::Array(parts);
    tree::take(row, key);
    Ok(())
}

/// Converts other representations of a conversation to `messages`.
fn conversation(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if row.get("interactions").and_then(Value::as_array).is_some() {
        tree::rename(row, "interactions", "messages");
        return repairer.did(&MISSING_FIELD, "/interactions", "renamed `interactions` to `messages`");
    }
    for key in ["conversations", "conversation"] {
        if row.get(key).is_some_and(is_conversation) {
            tree::rename(row, key, "messages");
            for turn in tree::messages_mut(row) {
                rename_where_missing(turn, "from", "role");
                rename_where_missing(turn, "value", "content");
            }
            let message = format!(
                "renamed `{key}` to `messages`, and `from` and `value` in them to `role` and `content`"
            );
            return repairer.did(&MISSING_FIELD, format!("/{key}"), message);
        }
    }
    let made = instruction(row).or_else(|| prompt(row));
    if let Some((messages, used)) = made {
        for key in &used {
            tree::take(row, key);
        }
        tree::set(row, "messages", Value::Array(messages));
        let keys: Vec<String> = used.iter().map(|key| format!("`{key}`")).collect();
        repairer.did(&MISSING_FIELD, "", format!("rewrote {} as `messages`", keys.join(", ")));
    }
}

fn rename_where_missing(value: &mut Value<'_>, key: &str, new: &'static str) {
    if value.get(new).is_none() {
        tree::rename(value, key, new);
    }
}

type Made<'a> = Option<(Vec<Value<'a>>, Vec<&'static str>)>;

/// Converts an Alpaca record: `instruction`, `output`, and perhaps `input` and earlier rounds in `history`. The input is
/// appended to the instruction on a new line, as in LLaMA-Factory.
fn instruction<'a>(row: &Value<'a>) -> Made<'a> {
    let instruction = row.text("instruction")?;
    let output = row.text("output")?.to_owned();
    let mut used = vec!["instruction", "output"];
    let mut question = instruction.to_owned();
    match row.get("input") {
        Some(Value::String(input)) => {
            used.push("input");
            if !input.is_empty() {
                question =
                    if question.is_empty() { input.to_string() } else { format!("{question}\n{input}") };
            }
        }
        Some(Value::Null) => used.push("input"),
        Some(_) => return None,
        None => {}
    }
    let mut messages = Vec::new();
    match row.get("history") {
        Some(Value::Array(rounds)) => {
            used.push("history");
            for round in rounds {
                let [Value::String(asked), Value::String(answered)] = round.as_array()? else { return None };
                messages.push(tree::message("user", tree::string(asked.clone())));
                messages.push(tree::message("assistant", tree::string(answered.clone())));
            }
        }
        Some(Value::Null) => used.push("history"),
        Some(_) => return None,
        None => {}
    }
    messages.push(tree::message("user", tree::string(question)));
    messages.push(tree::message("assistant", tree::string(output)));
    Some((messages, used))
}

/// Converts `prompt` and `completion`, texts or lists of messages (TRL), and `query` and `response` (ms-swift).
fn prompt<'a>(row: &Value<'a>) -> Made<'a> {
    [("prompt", "completion"), ("query", "response")].into_iter().find_map(|(asked, answered)| {
        let messages = match (row.get(asked)?, row.get(answered)?) {
            (Value::String(question), Value::String(answer)) => vec![
                tree::message("user", tree::string(question.clone())),
                tree::message("assistant", tree::string(answer.clone())),
            ],
            (question, answer) if is_conversation(question) && is_conversation(answer) => {
                [question.as_array()?, answer.as_array()?].concat()
            }
            _ => return None,
        };
        Some((messages, vec![asked, answered]))
    })
}

/// Moves a system prompt beside the messages into a first message.
fn system_beside(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    for key in ["system", "system_prompt"] {
        if let Some(Value::String(_)) = row.get(key)
            && let Some(Value::String(text)) = tree::take(row, key)
        {
            if text.trim().is_empty() {
                repairer.did(&UNKNOWN_KEY, format!("/{key}"), format!("removed `{key}`: it is empty"));
                continue;
            }
            if let Some(messages) = tree::list_mut(row, "messages") {
                messages.insert(0, tree::message("system", Value::String(text)));
            }
            repairer.did(&UNKNOWN_KEY, format!("/{key}"), format!("rewrote `{key}` as a system message"));
        }
    }
}

/// Moves images listed beside the messages to their placeholders: `<image>` in a text, or a part of type `image` without
/// content.
fn images_beside(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    let Some(key) = images_key(row) else { return };
    let Some(images) = row.get(key).and_then(references) else { return };
    let places: usize = row.get("messages").and_then(Value::as_array).map_or(0, |messages| {
        messages
            .iter()
            .filter(|message| is_user(message))
            .map(|message| places_in(message.get("content")))
            .sum()
    });
    let elsewhere = row.get("messages").and_then(Value::as_array).is_some_and(|messages| {
        messages.iter().any(|message| !is_user(message) && places_in(message.get("content")) > 0)
    });
    let count = images.len();
    let mut images = images.into_iter();
    if places == count && !elsewhere && repairer.may(&UNKNOWN_KEY) {
        for message in tree::messages_mut(row).iter_mut().filter(|message| is_user(message)) {
            if let Some(content) = tree::get_mut(message, "content") {
                place(content, &mut images);
            }
        }
        tree::take(row, key);
        let message = match count {
            0 => format!("removed `{key}`: it is empty"),
            _ => format!("moved the images of `{key}` into the messages, to their placeholders"),
        };
        repairer.did(&UNKNOWN_KEY, format!("/{key}"), message);
    } else if places == 0 && !elsewhere && repairer.may_guess(&IMAGE_PLACEHOLDERS) {
        let first = tree::messages_mut(row).iter_mut().find(|message| is_user(message));
        let Some(content) = first.and_then(|message| tree::get_mut(message, "content")) else { return };
        let mut parts: Vec<Value<'_>> = images.map(image).collect();
        match std::mem::replace(content, Value::Null) {
            Value::Array(known) => parts.extend(known),
            Value::String(text) => parts.push(text_part(&text)),
            other => {
                *content = other;
                return;
            }
        }
        *content = Value::Array(parts);
        tree::take(row, key);
        let message = format!(
            "moved the images of `{key}` before the first question, because there are no placeholders"
        );
        repairer.guessed(&IMAGE_PLACEHOLDERS, format!("/{key}"), message);
    }
}

fn is_user(message: &Value<'_>) -> bool {
    let role = tree::role(message);
    turns::meant(role).unwrap_or(role) == "user"
}

/// The references of images: a string, or a list of strings or of objects with one.
fn references(value: &Value<'_>) -> Option<Vec<String>> {
    let one = |value: &Value<'_>| match value {
        Value::String(text) => Some(text.to_string()),
        object => ["path", "url", "image_url"].iter().find_map(|key| object.text(key)).map(str::to_owned),
    };
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(values) => values.iter().map(one).collect(),
        other => one(other).map(|reference| vec![reference]),
    }
}

fn places_in(content: Option<&Value<'_>>) -> usize {
    match content {
        Some(Value::String(text)) => text.matches(PLACEHOLDER).count(),
        Some(Value::Array(parts)) => {
            let in_part = |part: &Value<'_>| match part.text("text") {
                Some(text) => text.matches(PLACEHOLDER).count(),
                None => usize::from(is_image_placeholder(part)),
            };
            parts.iter().map(in_part).sum()
        }
        _ => 0,
    }
}

/// Replaces the placeholders in one message with the next images.
fn place(content: &mut Value<'_>, images: &mut impl Iterator<Item = String>) {
    if places_in(Some(content)) == 0 {
        return;
    }
    let mut placed = Vec::new();
    match std::mem::replace(content, Value::Null) {
        Value::String(text) => split(&text, images, &mut placed),
        Value::Array(parts) => {
            for part in parts {
                match part.text("text") {
                    Some(text) if text.contains(PLACEHOLDER) => split(text, images, &mut placed),
                    None if is_image_placeholder(&part) => placed.extend(images.next().map(image)),
                    _ => placed.push(part),
                }
            }
        }
        _ => {}
    }
    *content = Value::Array(placed);
}

fn split<'a>(text: &str, images: &mut impl Iterator<Item = String>, placed: &mut Vec<Value<'a>>) {
    for (index, run) in text.split(PLACEHOLDER).enumerate() {
        if index > 0 {
            placed.extend(images.next().map(image));
        }
        if !run.is_empty() {
            placed.push(text_part(run));
        }
    }
}

fn text_part<'a>(text: &str) -> Value<'a> {
    tree::object([("type", tree::string("text")), ("text", tree::string(text.to_owned()))])
}

fn image<'a>(reference: String) -> Value<'a> {
    tree::object([("type", tree::string("image_url")), ("image_url", tree::string(reference))])
}
