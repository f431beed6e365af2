//! What stands beside the messages in the records of other tools: system prompts, images, refused responses.

use super::{Repairer, shapes, tree, turns};
use crate::columns::{ImagePosition, PLACEHOLDER};
use crate::content::{is_empty, list_in};
use crate::diagnostic::Finding;
use crate::foreign::{image_reference, images_key, is_image_placeholder};
use crate::json::Value;
use crate::rules::{IMAGE_PLACEHOLDERS, MISSING_FIELD, UNKNOWN_KEY, WRONG_TYPE};
use crate::text::counted;

pub(super) fn repair(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if row.get("messages").is_none() && repairer.may(&MISSING_FIELD) {
        shapes::conversation(row, repairer);
    }
    if row.get("messages").and_then(Value::as_array).is_some() {
        if repairer.may(&UNKNOWN_KEY) {
            shapes::preference(row, repairer);
            system_beside(row, repairer);
        }
        images_beside(row, repairer);
    }
}

/// Moves images that are still listed beside the messages into the first question if there are no placeholders; rejects
/// placeholders whose number differs from the number of images.
pub(super) fn place_rest(row: &mut Value<'_>, position: ImagePosition) -> Result<(), Finding> {
    let Some(key) = images_key(row).map(str::to_owned) else { return Ok(()) };
    let key = key.as_str();
    let pointer = format!("/{key}");
    let Some(images) = row.get(key).and_then(references) else {
        return Err(Finding::new(&WRONG_TYPE, pointer, "images must be paths, URLs or data URIs"));
    };
    let messages = row.get("messages").and_then(Value::as_array).unwrap_or_default();
    if let Some(index) =
        messages.iter().position(|message| !is_user(message) && places_in(message.get("content")) > 0)
    {
        let role = turns::standard(tree::role(&messages[index])).to_owned();
        let message = format!(
            "the {role} message has `{PLACEHOLDER}`, which stands for an image only in a user message"
        );
        return Err(Finding::new(&IMAGE_PLACEHOLDERS, format!("/messages/{index}/content"), message));
    }
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
    let Some(key) = images_key(row).map(str::to_owned) else { return };
    let key = key.as_str();
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
    turns::standard(tree::role(message)) == "user"
}

/// The references of images in a value: one image or a list of images; empty ones are left out.
fn references(value: &Value<'_>) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.iter().filter(|value| !is_empty(value)).map(image_reference).collect(),
        empty if is_empty(empty) => Some(Vec::new()),
        Value::String(text) if text.trim_start().starts_with('[') => references(&list_in(text)?),
        other => image_reference(other).map(|reference| vec![reference]),
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
