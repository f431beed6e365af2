//! Conversations in the shapes of other tools and datasets, converted to `messages`.

use std::borrow::Cow;

use super::{Repairer, tree};
use crate::content::{is_conversation, is_empty, looks_like_image};
use crate::foreign::{REFUSED, Rounds, image_reference, is_label_studio, rounds_of};
use crate::json::Value;
use crate::rules::{MISSING_FIELD, UNKNOWN_KEY};

/// Converts other representations of a conversation to `messages`.
pub(super) fn conversation(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if row.get("interactions").and_then(Value::as_array).is_some() {
        tree::rename(row, "interactions", "messages");
        return repairer.did(&MISSING_FIELD, "/interactions", "renamed `interactions` to `messages`");
    }
    for key in ["conversations", "conversation"] {
        if row.get(key).is_some_and(is_conversation) {
            tree::rename(row, key, "messages");
            for message in tree::messages_mut(row) {
                rename_speaker(message);
            }
            let message = format!(
                "renamed `{key}` to `messages`, and `from` and `value` in them to `role` and `content`"
            );
            return repairer.did(&MISSING_FIELD, format!("/{key}"), message);
        }
    }
    let shapes: [fn(&Value<'_>) -> Option<Made>; 7] =
        [alpaca, pairs, preferred, rounds, gemini, preferred_output, label_studio];
    if let Some(Made { messages, used }) = shapes.iter().find_map(|shape| shape(row)) {
        for key in &used {
            tree::take(row, key);
        }
        tree::set(row, "messages", Value::Array(messages));
        let keys: Vec<String> = used.iter().map(|key| format!("`{key}`")).collect();
        repairer.did(&MISSING_FIELD, "", format!("rewrote {} as `messages`", keys.join(", ")));
    }
}

/// Completes a conversation whose last response is kept beside it (LLaMA-Factory's sets for preference training), and
/// removes the responses that are not wanted.
pub(super) fn preference(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    let ends_with_prompt = row
        .get("messages")
        .and_then(Value::as_array)
        .and_then(<[_]>::last)
        .is_some_and(|message| super::turns::standard(tree::role(message)) == "user");
    if ends_with_prompt && let Some(response) = row.get("chosen").and_then(response_message) {
        tree::take(row, "chosen");
        if let Some(messages) = tree::list_mut(row, "messages") {
            messages.push(response);
        }
        repairer.did(&UNKNOWN_KEY, "/chosen", "appended the response in `chosen` to the messages");
    }
    if row.get("chosen").is_some() {
        return;
    }
    for key in REFUSED {
        if tree::take(row, key).is_some() {
            let message = format!("removed `{key}`: the response that is not wanted");
            repairer.did(&UNKNOWN_KEY, format!("/{key}"), message);
        }
    }
}

/// Messages, and the keys that they were made of.
struct Made {
    messages: Vec<Value<'static>>,
    used: Vec<&'static str>,
}

fn rename_speaker(message: &mut Value<'_>) {
    for (key, new) in [("from", "role"), ("value", "content")] {
        if message.get(new).is_none() {
            tree::rename(message, key, new);
        }
    }
}

fn user(text: impl Into<Cow<'static, str>>) -> Value<'static> {
    tree::message("user", tree::string(text))
}

fn assistant(text: impl Into<Cow<'static, str>>) -> Value<'static> {
    tree::message("assistant", tree::string(text))
}

/// Earlier rounds of a conversation under `history`, as pairs of texts; none if there is no such key.
fn history(row: &Value<'_>, used: &mut Vec<&'static str>) -> Option<Vec<Value<'static>>> {
    let mut messages = Vec::new();
    match row.get("history") {
        None => return Some(messages),
        Some(empty) if is_empty(empty) => {}
        Some(Value::Array(rounds)) => {
            for round in rounds {
                let [Value::String(asked), Value::String(answered)] = round.as_array()? else { return None };
                messages.push(user(asked.clone().into_owned()));
                messages.push(assistant(answered.clone().into_owned()));
            }
        }
        Some(_) => return None,
    }
    used.push("history");
    Some(messages)
}

/// Converts an Alpaca record: `instruction`, `output`, and perhaps `input` and `history`. The input is appended to the
/// instruction on a new line, as in LLaMA-Factory.
fn alpaca(row: &Value<'_>) -> Option<Made> {
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
    let mut messages = history(row, &mut used)?;
    messages.extend([user(question), assistant(output)]);
    Some(Made { messages, used })
}

/// Converts a prompt and a response, texts or lists of messages (TRL), with `history` (ms-swift).
fn pairs(row: &Value<'_>) -> Option<Made> {
    PAIRS.into_iter().find_map(|(asked, answered)| {
        let mut used = vec![asked, answered];
        let mut messages = history(row, &mut used)?;
        match (row.get(asked)?, row.get(answered)?) {
            (Value::String(question), Value::String(answer)) => {
                messages.push(user(question.clone().into_owned()));
                messages.push(assistant(answer.clone().into_owned()));
            }
            (question, answer) if is_conversation(question) => {
                messages.extend(messages_of(question)?);
                messages.extend(completion_messages(answer)?);
            }
            _ => return None,
        }
        Some(Made { messages, used })
    })
}

/// The names of a prompt and its response: OpenAI and TRL, ms-swift, datasets of questions.
pub(crate) const PAIRS: [(&str, &str); 5] = [
    ("prompt", "completion"),
    ("query", "response"),
    ("prompt", "response"),
    ("question", "answer"),
    ("prompt", "chosen"),
];

/// The messages of a list, as far as it is one.
fn messages_of(list: &Value<'_>) -> Option<Vec<Value<'static>>> {
    let mut messages = list.clone().into_owned();
    let Value::Array(messages) = &mut messages else { return None };
    messages.iter_mut().for_each(rename_speaker);
    Some(std::mem::take(messages))
}

fn completion_messages(completion: &Value<'_>) -> Option<Vec<Value<'static>>> {
    if is_conversation(completion) {
        return messages_of(completion);
    }
    Some(vec![response_message(completion)?])
}

/// One response: a text, a message, or a list with one message.
fn response_message(value: &Value<'_>) -> Option<Value<'static>> {
    match value {
        Value::String(text) => Some(assistant(text.clone().into_owned())),
        Value::Array(messages) if is_conversation(value) => match messages.as_slice() {
            [message] => response_message(message),
            _ => None,
        },
        Value::Object(_) => {
            let mut message = value.clone().into_owned();
            rename_speaker(&mut message);
            let is_message = message.text("role").is_some() && message.get("content").is_some();
            is_message.then_some(message)
        }
        _ => None,
    }
}

/// Converts TRL's preference sets without a prompt of their own: `chosen` is the whole conversation.
fn preferred(row: &Value<'_>) -> Option<Made> {
    let chosen = row.get("chosen").filter(|chosen| is_conversation(chosen))?;
    let messages = messages_of(chosen)?;
    // One message is a response, to a prompt that is not here.
    (messages.len() > 1).then_some(Made { messages, used: vec!["chosen"] })
}

/// Converts OpenAI's preference sets: `input` with messages, `preferred_output`, `non_preferred_output`.
fn preferred_output(row: &Value<'_>) -> Option<Made> {
    let input = row.get("input")?;
    let mut messages = messages_of(input.get("messages")?)?;
    messages.extend(messages_of(row.get("preferred_output")?)?);
    let is_plain = input.as_object()?.iter().all(|(key, value)| key == "messages" || is_empty(value));
    is_plain.then_some(Made { messages, used: vec!["input", "preferred_output"] })
}

/// Converts rounds with both sides in one object: the Cauldron's `texts`, and `conversation` of ms-swift.
fn rounds(row: &Value<'_>) -> Option<Made> {
    let Rounds { key, asked, answered, rounds } = rounds_of(row)?;
    let mut messages = Vec::new();
    for round in rounds {
        messages.push(user(round.text(asked)?.to_owned()));
        messages.push(assistant(round.text(answered)?.to_owned()));
    }
    Some(Made { messages, used: vec![key] })
}

/// Converts Gemini's `contents` with `parts`, and its `systemInstruction`.
fn gemini(row: &Value<'_>) -> Option<Made> {
    let contents = row.get("contents")?.as_array()?;
    let mut used = vec!["contents"];
    let mut messages = Vec::new();
    for key in ["systemInstruction", "system_instruction"] {
        if let Some(instruction) = row.get(key).filter(|value| !is_empty(value)) {
            messages.push(tree::message("system", gemini_parts(instruction)?));
            used.push(key);
        }
    }
    for content in contents {
        let role = match content.text("role") {
            Some("model") => "assistant",
            Some("user") | None => "user",
            Some(_) => return None,
        };
        messages.push(tree::message(role, gemini_parts(content)?));
    }
    Some(Made { messages, used })
}

/// The parts of one of Gemini's messages: a string where there is one text, else content parts. `None` where a part is
/// neither a text nor an image.
fn gemini_parts(content: &Value<'_>) -> Option<Value<'static>> {
    let parts = content.get("parts")?.as_array()?;
    if let [part] = parts
        && let Some(text) = part.text("text")
    {
        return Some(tree::string(text.to_owned()));
    }
    let read = |part: &Value<'_>| {
        if let Some(text) = part.text("text") {
            let text = tree::string(text.to_owned());
            return Some(tree::object([("type", tree::string("text")), ("text", text)]));
        }
        let reference = image_reference(part)?;
        Some(tree::object([("type", tree::string("image_url")), ("image_url", tree::string(reference))]))
    };
    parts.iter().map(read).collect::<Option<Vec<_>>>().map(Value::Array)
}

/// Converts a task that Label Studio exports: its image and question, and what the only annotation has as a text or a choice.
/// `None` where there are several annotations, or regions.
fn label_studio(row: &Value<'_>) -> Option<Made> {
    if !is_label_studio(row) {
        return None;
    }
    let data = row.get("data")?;
    let key = if row.get("annotations").is_some() { "annotations" } else { "completions" };
    let is_true = |value: &Value<'_>, key: &str| matches!(value.get(key), Some(Value::Bool(true)));
    let kept: Vec<&Value<'_>> =
        row.get(key)?.as_array()?.iter().filter(|annotation| !is_true(annotation, "was_cancelled")).collect();
    let [annotation] = kept.as_slice() else { return None };
    let [result] = annotation.get("result")?.as_array()? else { return None };
    let value = result.get("value")?;
    let texts = match result.text("type")? {
        "textarea" => value.get("text")?,
        "choices" => value.get("choices")?,
        _ => return None,
    };
    let texts: Vec<&str> = match texts {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    let image = |(_, value): &(Cow<'_, str>, Value<'_>)| {
        looks_like_image(value).then(|| image_reference(value)).flatten()
    };
    let images = data.as_object()?.iter().filter_map(image);
    let mut parts: Vec<Value<'static>> = images
        .map(|reference| {
            tree::object([("type", tree::string("image_url")), ("image_url", tree::string(reference))])
        })
        .collect();
    let question = ["question", "prompt", "instruction", "text"].into_iter().find_map(|key| data.text(key));
    if let Some(question) = question {
        parts.push(tree::object([
            ("type", tree::string("text")),
            ("text", tree::string(question.to_owned())),
        ]));
    }
    let messages = vec![tree::message("user", Value::Array(parts)), assistant(texts.join(", "))];
    Some(Made { messages, used: vec!["data", key] })
}
