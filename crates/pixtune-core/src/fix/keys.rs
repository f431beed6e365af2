//! Keys that are duplicate, null or not part of the format.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Repairer, tree};
use crate::content;
use crate::diagnostic::{Finding, pointer_push};
use crate::json::Value;
use crate::rules::{JSON_DUPLICATE_KEY, MODEL_SETTING, NULL_KEY, UNKNOWN_KEY, WRONG_TYPE};
use crate::strict;
use crate::tokens::TokenizerVersion;

/// Keeps the last of several members with one key, as readers do.
pub(super) fn duplicates(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if repairer.may(&JSON_DUPLICATE_KEY) {
        unique(row, &mut String::new(), repairer);
    }
}

fn unique(value: &mut Value<'_>, pointer: &mut String, repairer: &mut Repairer<'_>) {
    let length = pointer.len();
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter_mut().enumerate().filter(|(_, value)| holds_more(value)) {
                *pointer = pointer_push(pointer, index);
                unique(value, pointer, repairer);
                pointer.truncate(length);
            }
        }
        Value::Object(members) => {
            keep_last(members, pointer, repairer);
            for (key, value) in members.iter_mut().filter(|(_, value)| holds_more(value)) {
                *pointer = pointer_push(pointer, &*key);
                unique(value, pointer, repairer);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}

fn holds_more(value: &Value<'_>) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

/// Drops all but the last member of each key. (Python keeps the last value at the position of the first key. The position
/// matters only inside a tool's schema, where it is preserved too.)
fn keep_last<'a>(members: &mut Vec<(Cow<'a, str>, Value<'a>)>, pointer: &str, repairer: &mut Repairer<'_>) {
    let mut seen = HashSet::with_capacity(members.len());
    if members.iter().all(|(key, _)| seen.insert(key.as_ref())) {
        return;
    }
    let mut places = HashMap::new();
    let mut kept: Vec<(Cow<'a, str>, Value<'a>)> = Vec::with_capacity(members.len());
    for (key, value) in std::mem::take(members) {
        match places.get(&key) {
            Some(place) => {
                let place: usize = *place;
                kept[place].1 = value;
                let message = "removed an earlier value of the same key; readers use the last";
                repairer.did(&JSON_DUPLICATE_KEY, pointer_push(pointer, &key), message);
            }
            None => {
                places.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
    }
    *members = kept;
}

/// Required keys: removing a null would only change the finding.
const NEEDED: [&str; 9] =
    ["role", "content", "text", "image_url", "image", "url", "messages", "function", "name"];

/// Request settings, which do not change the tokens.
const SETTINGS: [&str; 11] = [
    "model",
    "temperature",
    "top_p",
    "max_tokens",
    "random_seed",
    "parallel_tool_calls",
    "truncate_for_context_length",
    "continue_final_message",
    "reasoning_effort",
    "tool_choice",
    "response_format",
];

/// The settings that change the tokens, from v15 on.
const SETTINGS_WITH_EFFECT: [&str; 2] = ["reasoning_effort", "response_format"];

/// Removes keys that the reference rejects and training ignores. A row without messages keeps all keys: they may be its
/// content.
pub(super) fn not_of_the_format(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if row.get("messages").and_then(Value::as_array).is_none() {
        return;
    }
    let version = repairer.wanted.version;
    loop {
        // A removed key may have hidden others: each round reaches at least one level deeper, and there are few levels.
        let mut removed = BTreeSet::new();
        for finding in strict::read_all(row).findings {
            if repairer.may(finding.rule)
                && let Some((pointer, message)) = surplus(row, &finding, version)
                && removed.insert(pointer.clone())
            {
                repairer.did(finding.rule, pointer, message);
            }
        }
        if removed.is_empty() {
            return;
        }
        tree::remove_members(row, &removed);
    }
}

/// Removes settings that models before v15 do not read: the reference rejects them, and they have no effect.
pub(super) fn settings(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    let version = repairer.wanted.version;
    if version.chat_format().has_settings() || !repairer.may(&MODEL_SETTING) {
        return;
    }
    if row.get("messages").is_some() && row.text("reasoning_effort").is_some() {
        tree::take(row, "reasoning_effort");
        let message =
            format!("removed `reasoning_effort`, which models with tokenizer {version} do not read");
        repairer.did(&MODEL_SETTING, "/reasoning_effort", message);
    }
}

/// The member to remove, and the reason.
fn surplus(row: &Value<'_>, finding: &Finding, version: TokenizerVersion) -> Option<(String, String)> {
    let key = tree::last_step(&finding.pointer);
    let first = finding.pointer.split('/').nth(1).unwrap_or_default();
    let removed = |pointer: String, what: &str| Some((pointer, format!("removed `{}`: {what}", short(&key))));
    let has_effect = version.chat_format().has_settings() && SETTINGS_WITH_EFFECT.contains(&first);
    if SETTINGS.contains(&first) && !has_effect {
        let message = format!("removed `{first}`: a request setting, which training ignores");
        return Some((format!("/{first}"), message));
    }
    if finding.rule == &NULL_KEY {
        return removed(finding.pointer.clone(), "it is null");
    }
    if finding.rule == &UNKNOWN_KEY {
        return if holds_content(row, &finding.pointer, &key) {
            None
        } else {
            removed(finding.pointer.clone(), "not part of the format")
        };
    }
    let is_null = finding.rule == &WRONG_TYPE
        && !NEEDED.contains(&key.as_str())
        && tree::at(row, &finding.pointer) == Some(&Value::Null);
    if is_null { removed(finding.pointer.clone(), "it is null") } else { None }
}

/// Whether removing a key would lose information about the sample.
fn holds_content(row: &Value<'_>, pointer: &str, key: &str) -> bool {
    let is_of_row = pointer.matches('/').count() == 1;
    let is_label = || content::undesirable(row, |other| other != key).is_some();
    tree::at(row, pointer).is_some_and(|value| content::held(key, value).is_some()) || is_of_row && is_label()
}

fn short(key: &str) -> String {
    match key.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &key[..at]),
        None => key.to_owned(),
    }
}
