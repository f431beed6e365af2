//! Roles, system messages, neighbors of one role, and what stands behind the last answer.

use super::{Repairer, tree};
use crate::json::Value;
use crate::rules::{
    ANSWER_LIST, ANSWER_PREFIX, CONSECUTIVE_ROLES, LAST_NOT_ASSISTANT, SYSTEM_PLACE, UNKNOWN_ROLE,
};

/// What other formats call the four roles: ShareGPT, LLaVA, OpenAI, Gemini, Llama.
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

pub(super) fn roles(row: &mut Value<'_>, mender: &mut Repairer<'_>) {
    if !mender.may(&UNKNOWN_ROLE) {
        return;
    }
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        let Some(role) = message.text("role") else { continue };
        if let Some(meant) = meant(role) {
            let text = format!("the role `{role}` written as `{meant}`");
            tree::set(message, "role", tree::string(meant));
            mender.did(&UNKNOWN_ROLE, format!("/messages/{index}/role"), text);
        }
    }
}

/// The role that another spelling means; `None` where it is one of the four already, or unknown.
pub(super) fn meant(role: &str) -> Option<&'static str> {
    const KNOWN: [&str; 4] = ["system", "user", "assistant", "tool"];
    if role.len() > 32 || KNOWN.contains(&role) {
        return None;
    }
    let lower = role.trim().to_ascii_lowercase();
    let other = ROLES.iter().find(|(name, _)| *name == lower).map(|(_, meant)| *meant);
    other.or_else(|| KNOWN.into_iter().find(|known| *known == lower))
}

pub(super) fn prefixes(row: &mut Value<'_>, mender: &mut Repairer<'_>) {
    if !mender.may(&ANSWER_PREFIX) {
        return;
    }
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        let is_answer = tree::role(message) == "assistant";
        if is_answer && message.get("prefix").and_then(crate::strict::lax_bool) == Some(true) {
            tree::take(message, "prefix");
            let text = "`prefix` removed: the answer is trained as it stands";
            mender.did(&ANSWER_PREFIX, format!("/messages/{index}/prefix"), text);
        }
    }
}

/// Answers that are lists of texts become strings, joined as the reference joins them.
pub(super) fn answer_lists(row: &mut Value<'_>, mender: &mut Repairer<'_>) {
    if !mender.may(&ANSWER_LIST) {
        return;
    }
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        if tree::role(message) != "assistant" {
            continue;
        }
        let Some(content @ Value::Array(_)) = tree::get_mut(message, "content") else { continue };
        if let Some(text) =
            joined(content).filter(|_| content.as_array().is_some_and(|parts| !parts.is_empty()))
        {
            *content = tree::string(text);
            let pointer = format!("/messages/{index}/content");
            mender.did(&ANSWER_LIST, pointer, "the parts of the answer joined into one string");
        }
    }
}

/// The text of a content without images; parts are set apart by an empty line, empty ones left out, as the reference
/// has it (mistral-common 1.13.1 `normalize.py`).
fn joined(content: &Value<'_>) -> Option<String> {
    match content {
        Value::String(text) => Some(text.to_string()),
        Value::Array(parts) => {
            let text = |part: &Value<'_>| match part.text("type") {
                Some("text") => part.text("text").map(str::to_owned),
                _ => None,
            };
            let texts: Option<Vec<String>> = parts.iter().map(text).collect();
            Some(join(texts?))
        }
        _ => None,
    }
}

fn join(texts: Vec<String>) -> String {
    let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    texts.join("\n\n")
}

/// Several system messages, or one behind the beginning, become one at the beginning: the reference puts them together
/// wherever they stand. One that keeps two questions apart is moved on request only, for without it they are one turn.
pub(super) fn systems(row: &mut Value<'_>, mender: &mut Repairer<'_>) {
    let Some(messages) = row.get("messages").and_then(Value::as_array) else { return };
    let is_system = |message: &&Value<'_>| tree::role(message) == "system";
    let count = messages.iter().filter(is_system).count();
    let misplaced = messages.iter().skip(1).any(|message| is_system(&message));
    if !misplaced || !mender.may(&SYSTEM_PLACE) {
        return;
    }
    let separates = separates(messages);
    if separates && !mender.may_guess(&SYSTEM_PLACE) {
        return;
    }
    let texts: Option<Vec<String>> =
        messages.iter().filter(is_system).map(|message| joined(message.get("content")?)).collect();
    let Some(texts) = texts else { return };
    let first = messages.iter().skip(1).position(|message| is_system(&message)).map_or(1, |at| at + 1);
    let Some(messages) = tree::list_mut(row, "messages") else { return };
    messages.retain(|message| tree::role(message) != "system");
    let text = join(texts);
    if !text.is_empty() {
        messages.insert(0, tree::message("system", tree::string(text)));
    }
    let done = match count {
        1 => "the system message moved to the beginning".to_owned(),
        _ => format!("{count} system messages joined into one at the beginning"),
    };
    let pointer = format!("/messages/{first}");
    if separates {
        mender.guessed(&SYSTEM_PLACE, pointer, done);
    } else {
        mender.did(&SYSTEM_PLACE, pointer, done);
    }
}

/// Whether a system message stands between two messages of one role.
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

/// Two questions, or two answers of one weight, that follow each other become one, as the reference joins them.
pub(super) fn neighbors(row: &mut Value<'_>, mender: &mut Repairer<'_>) {
    if !mender.may(&CONSECUTIVE_ROLES) {
        return;
    }
    let Some(messages) = tree::list_mut(row, "messages") else { return };
    let count = messages.len();
    let mut kept: Vec<Value<'_>> = Vec::with_capacity(count);
    for (index, message) in std::mem::take(messages).into_iter().enumerate() {
        // A message that stood alone afterwards would be refused for it.
        let stays_a_pair = kept.len() > 1 || index + 1 < count;
        match kept.last_mut() {
            Some(before) if stays_a_pair && can_join(before, &message) => {
                let role = tree::role(before).to_owned();
                add(before, message);
                let text = format!("joined with the {role} message before it");
                mender.did(&CONSECUTIVE_ROLES, format!("/messages/{index}"), text);
            }
            _ => kept.push(message),
        }
    }
    *messages = kept;
}

fn can_join(before: &Value<'_>, next: &Value<'_>) -> bool {
    let role = tree::role(before);
    let plain = |message: &Value<'_>, known: &[&str]| {
        let members = message.as_object().unwrap_or_default();
        members.iter().all(|(key, _)| known.contains(&&**key)) && has_joinable_content(message)
    };
    if role != tree::role(next) {
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

/// Appends what a message says to the one before it.
fn add<'a>(before: &mut Value<'a>, mut next: Value<'a>) {
    let Some(more) = tree::take(&mut next, "content") else { return };
    let Some(content) = tree::get_mut(before, "content") else { return };
    *content = match (std::mem::replace(content, Value::Null), more) {
        (Value::String(one), Value::String(other)) => {
            tree::string(join(vec![one.into_owned(), other.into_owned()]))
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

/// Turns behind the last answer are not trained; the reference refuses them.
pub(super) fn behind_the_last_answer(row: &mut Value<'_>, mender: &mut Repairer<'_>) {
    if !mender.may(&LAST_NOT_ASSISTANT) {
        return;
    }
    let Some(messages) = tree::list_mut(row, "messages") else { return };
    let Some(last) = messages.iter().rposition(|message| tree::role(message) == "assistant") else { return };
    let surplus = messages.len() - last - 1;
    if last == 0 || surplus == 0 {
        return;
    }
    messages.truncate(last + 1);
    let text = match surplus {
        1 => "the turn behind the last answer removed".to_owned(),
        _ => format!("{surplus} turns behind the last answer removed"),
    };
    mender.did(&LAST_NOT_ASSISTANT, format!("/messages/{}", last + 1), text);
}
