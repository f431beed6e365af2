//! Roles, system messages, consecutive messages of one role, and messages after the last answer.

use super::{Repairer, tree};
use crate::json::Value;
use crate::rules::{
    ANSWER_LIST, ANSWER_PREFIX, CONSECUTIVE_ROLES, LAST_NOT_ASSISTANT, SYSTEM_PLACE, UNKNOWN_KEY,
    UNKNOWN_ROLE,
};
use crate::text::counted;

/// The names of the four roles in other formats: ShareGPT, LLaVA, OpenAI, Gemini, Llama.
const ROLES: [(&str, &str); 14] = [
    ("human", "user"),
    ("gpt", "assistant"),
    ("chatgpt", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
    ("claude", "assistant"),
    ("model", "assistant"),
    ("bot", "assistant"),
    ("chatbot", "assistant"),
    ("developer", "system"),
    ("function", "tool"),
    ("function_response", "tool"),
    ("observation", "tool"),
    ("ipython", "tool"),
];

/// What the reference puts between the texts of messages that it joins.
const BETWEEN_MESSAGES: &str = "\n\n";

pub(super) fn roles(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if !repairer.may(&UNKNOWN_ROLE) {
        return;
    }
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        let Some(role) = message.text("role") else { continue };
        if let Some(meant) = meant(role) {
            let text = format!("rewrote the role `{role}` as `{meant}`");
            tree::set(message, "role", tree::string(meant));
            repairer.did(&UNKNOWN_ROLE, format!("/messages/{index}/role"), text);
        }
    }
}

/// The role that another name stands for; `None` if it is one of the four already, or unknown.
pub(super) fn meant(role: &str) -> Option<&'static str> {
    const KNOWN: [&str; 4] = ["system", "user", "assistant", "tool"];
    if role.len() > 32 || KNOWN.contains(&role) {
        return None;
    }
    let lower = role.trim().to_ascii_lowercase();
    let other = ROLES.iter().find(|(name, _)| *name == lower).map(|(_, meant)| *meant);
    other.or_else(|| KNOWN.into_iter().find(|known| *known == lower))
}

/// The name of a role as the format has it; an unknown one as it is.
pub(super) fn standard(role: &str) -> &str {
    meant(role).unwrap_or(role)
}

/// Rewrites the loss flags of ms-swift (`loss`) and Axolotl (`train`, `training`) on responses as weights.
pub(super) fn loss_flags(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if !repairer.may(&UNKNOWN_KEY) {
        return;
    }
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        let is_response = standard(tree::role(message)) == "assistant";
        for key in ["loss", "train", "training"] {
            let Some(Value::Bool(trained)) = message.get(key) else { continue };
            let trained = *trained;
            if !is_response && trained || message.get("weight").is_some() {
                // Prompts are never trained here, and two flags may contradict each other.
                continue;
            }
            tree::take(message, key);
            let pointer = format!("/messages/{index}/{key}");
            if is_response && !trained {
                tree::set(message, "weight", Value::Number("0".into()));
                repairer.did(&UNKNOWN_KEY, pointer, format!("rewrote `{key}: false` as weight 0"));
            } else {
                repairer.did(
                    &UNKNOWN_KEY,
                    pointer,
                    format!("removed `{key}`: responses are trained and prompts are not"),
                );
            }
        }
    }
}

pub(super) fn prefixes(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if !repairer.may(&ANSWER_PREFIX) {
        return;
    }
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        let is_answer = tree::role(message) == "assistant";
        if is_answer && message.get("prefix").and_then(crate::strict::lax_bool) == Some(true) {
            tree::take(message, "prefix");
            let text = "removed `prefix`: the response is trained as it is";
            repairer.did(&ANSWER_PREFIX, format!("/messages/{index}/prefix"), text);
        }
    }
}

/// Rewrites answers that are lists of texts as strings, joined as in the reference.
pub(super) fn answer_lists(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if !repairer.may(&ANSWER_LIST) {
        return;
    }
    let separator = repairer.wanted.version.chat_format().chunk_separator;
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        if tree::role(message) != "assistant" {
            continue;
        }
        let Some(content @ Value::Array(_)) = tree::get_mut(message, "content") else { continue };
        if let Some(text) =
            joined(content, separator).filter(|_| content.as_array().is_some_and(|parts| !parts.is_empty()))
        {
            *content = tree::string(text);
            let pointer = format!("/messages/{index}/content");
            repairer.did(&ANSWER_LIST, pointer, "joined the parts of the response into one string");
        }
    }
}

/// The text of a content without images: non-empty parts joined as in the reference (mistral-common 1.13.1 `normalize.py`),
/// by an empty line or, from v15 on, by nothing.
fn joined(content: &Value<'_>, separator: &str) -> Option<String> {
    match content {
        Value::String(text) => Some(text.to_string()),
        Value::Array(parts) => {
            let text = |part: &Value<'_>| match part.text("type") {
                Some("text") => part.text("text").map(str::to_owned),
                _ => None,
            };
            let texts: Option<Vec<String>> = parts.iter().map(text).collect();
            Some(join(texts?, separator))
        }
        _ => None,
    }
}

fn join(texts: Vec<String>, separator: &str) -> String {
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    texts.join(separator)
}

/// Joins system messages into one at the start, as the reference does wherever they are in v3. In newer versions they stay
/// where they are, and are moved only on request, like one between two messages of the same role, which become one message
/// without it.
pub(super) fn systems(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    let Some(messages) = row.get("messages").and_then(Value::as_array) else { return };
    let is_system = |message: &&Value<'_>| tree::role(message) == "system";
    let count = messages.iter().filter(is_system).count();
    let misplaced = messages.iter().skip(1).any(|message| is_system(&message));
    if !misplaced || !repairer.may(&SYSTEM_PLACE) {
        return;
    }
    let format = repairer.wanted.version.chat_format();
    let separates = separates(messages) || format.keeps_system_positions();
    if separates && !repairer.may_guess(&SYSTEM_PLACE) {
        return;
    }
    let texts: Option<Vec<String>> = messages
        .iter()
        .filter(is_system)
        .map(|message| joined(message.get("content")?, format.chunk_separator))
        .collect();
    let Some(texts) = texts else { return };
    let first = messages.iter().skip(1).position(|message| is_system(&message)).map_or(1, |at| at + 1);
    let Some(messages) = tree::list_mut(row, "messages") else { return };
    messages.retain(|message| tree::role(message) != "system");
    let text = join(texts, BETWEEN_MESSAGES);
    if !text.is_empty() {
        messages.insert(0, tree::message("system", tree::string(text)));
    }
    let done = match count {
        1 => "moved the system message to the start".to_owned(),
        _ => format!("joined {count} system messages into one at the start"),
    };
    let pointer = format!("/messages/{first}");
    if separates {
        repairer.guessed(&SYSTEM_PLACE, pointer, done);
    } else {
        repairer.did(&SYSTEM_PLACE, pointer, done);
    }
}

/// Whether a system message is between two messages of one role.
fn separates(messages: &[Value<'_>]) -> bool {
    let mut before = "";
    let mut between = false;
    for role in messages.iter().map(|message| tree::role(message)) {
        if role == "system" {
            between = true;
        } else {
            if between && role == before {
                return true;
            }
            (before, between) = (role, false);
        }
    }
    false
}

/// Joins consecutive questions, and consecutive answers of the same weight, as the reference does.
pub(super) fn neighbors(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if !repairer.may(&CONSECUTIVE_ROLES) {
        return;
    }
    // Where the parts of one message are joined by something else than messages, lists of parts cannot be joined.
    let lists = repairer.wanted.version.chat_format().chunk_separator == BETWEEN_MESSAGES;
    let Some(messages) = tree::list_mut(row, "messages") else { return };
    let count = messages.len();
    let mut kept: Vec<Value<'_>> = Vec::with_capacity(count);
    for (index, message) in std::mem::take(messages).into_iter().enumerate() {
        // A conversation of one message would be rejected.
        let stays_a_pair = kept.len() > 1 || index + 1 < count;
        match kept.last_mut() {
            Some(before) if stays_a_pair && can_join(before, &message, lists) => {
                let role = tree::role(before).to_owned();
                add(before, message);
                let text = format!("joined the {role} message with the one before it");
                repairer.did(&CONSECUTIVE_ROLES, format!("/messages/{index}"), text);
            }
            _ => kept.push(message),
        }
    }
    *messages = kept;
}

fn can_join(before: &Value<'_>, next: &Value<'_>, lists: bool) -> bool {
    let role = tree::role(before);
    let plain = |message: &Value<'_>, known: &[&str]| {
        let members = message.as_object().unwrap_or_default();
        members.iter().all(|(key, _)| known.contains(&&**key)) && has_joinable_content(message)
    };
    let is_list =
        |message: &Value<'_>| message.get("content").is_some_and(|content| content.as_array().is_some());
    if role != tree::role(next) || !lists && (is_list(before) || is_list(next)) {
        return false;
    }
    match role {
        "user" => plain(before, &["role", "content"]) && plain(next, &["role", "content"]),
        "assistant" => {
            let known = ["role", "content", "weight"];
            let says = |message: &Value<'_>| message.text("content").is_some_and(|text| !text.is_empty());
            plain(before, &known)
                && plain(next, &known)
                && says(before)
                && says(next)
                && before.get("weight") == next.get("weight")
        }
        _ => false,
    }
}

fn has_joinable_content(message: &Value<'_>) -> bool {
    match message.get("content") {
        Some(Value::String(_)) => true,
        Some(Value::Array(parts)) => {
            parts.iter().all(|part| matches!(part.text("type"), Some("text" | "image_url" | "image")))
        }
        _ => false,
    }
}

/// Appends the content of a message to the one before it.
fn add<'a>(before: &mut Value<'a>, mut next: Value<'a>) {
    let Some(more) = tree::take(&mut next, "content") else { return };
    let Some(content) = tree::get_mut(before, "content") else { return };
    *content = match (std::mem::replace(content, Value::Null), more) {
        (Value::String(one), Value::String(other)) => {
            tree::string(join(vec![one.into_owned(), other.into_owned()], BETWEEN_MESSAGES))
        }
        (one, other) => Value::Array([parts(one), parts(other)].concat()),
    };
}

fn parts(content: Value<'_>) -> Vec<Value<'_>> {
    match content {
        Value::Array(parts) => parts,
        Value::String(text) if text.is_empty() => Vec::new(),
        text => vec![tree::object([("type", tree::string("text")), ("text", text)])],
    }
}

/// Removes messages after the last answer: they are not trained, and the reference rejects them.
pub(super) fn after_the_last_answer(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if !repairer.may(&LAST_NOT_ASSISTANT) {
        return;
    }
    let Some(messages) = tree::list_mut(row, "messages") else { return };
    let Some(last) = messages.iter().rposition(|message| tree::role(message) == "assistant") else { return };
    let surplus = messages.len() - last - 1;
    if last == 0 || surplus == 0 {
        return;
    }
    messages.truncate(last + 1);
    let text = format!("removed {} after the last response", counted(surplus as u64, "message"));
    repairer.did(&LAST_NOT_ASSISTANT, format!("/messages/{}", last + 1), text);
}
