//! Tools: the form of definitions and calls, and the ids that connect calls with results.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use twox_hash::XxHash3_64;

use super::{Repairer, tree};
use crate::diagnostic::Rule;
use crate::json::{self, Value};
use crate::rules::{MISSING_FIELD, TOOL_ID, TOOL_ID_REPEATED, TOOL_ID_UNMATCHED, WRONG_TYPE};
use crate::tokens::CallIds;

/// Repairs tools given as a string of JSON, functions without their wrapper, and omitted parameters.
pub(super) fn definitions(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if let Some(Value::String(text)) = row.get("tools")
        && repairer.may(&WRONG_TYPE)
    {
        let parsed = json::parse(text).ok().map(|parsed| parsed.value.into_owned());
        match parsed {
            Some(list @ Value::Array(_)) => {
                tree::set(row, "tools", list);
                repairer.did(&WRONG_TYPE, "/tools", "rewrote `tools`, a string of JSON, as an array");
            }
            None if text.trim().is_empty() => {
                tree::take(row, "tools");
                repairer.did(&WRONG_TYPE, "/tools", "removed `tools`: it is empty");
            }
            _ => {}
        }
    }
    if !repairer.may(&MISSING_FIELD) {
        return;
    }
    for (index, tool) in tree::list_mut(row, "tools").into_iter().flatten().enumerate() {
        let pointer = format!("/tools/{index}");
        wrap(tool, &["name", "description", "parameters", "strict"], "name", &pointer, repairer);
        no_parameters(tool, &pointer, repairer);
    }
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        for (call, value) in tree::list_mut(message, "tool_calls").into_iter().flatten().enumerate() {
            let pointer = format!("/messages/{index}/tool_calls/{call}");
            wrap(value, &["name", "arguments"], "arguments", &pointer, repairer);
        }
    }
}

/// `{"name":…}` becomes `{"type":"function","function":{"name":…}}`.
fn wrap(
    value: &mut Value<'_>,
    inside: &[&'static str],
    needed: &str,
    pointer: &str,
    repairer: &mut Repairer<'_>,
) {
    let flat = value.get("function").is_none() && value.text("name").is_some() && value.get(needed).is_some();
    if !flat {
        return;
    }
    let members = inside.iter().filter_map(|key| Some((*key, tree::take(value, key)?)));
    let function = tree::object(members);
    tree::set(value, "type", tree::string("function"));
    tree::set(value, "function", function);
    repairer.did(&MISSING_FIELD, pointer, "wrapped the function in `function`");
}

/// A function without `parameters` has none, as in OpenAI's API.
fn no_parameters(tool: &mut Value<'_>, pointer: &str, repairer: &mut Repairer<'_>) {
    let Some(function) = tree::get_mut(tool, "function") else { return };
    let none = function.get("parameters").is_none_or(|parameters| *parameters == Value::Null);
    if none && function.text("name").is_some() {
        let empty = [("type", tree::string("object")), ("properties", Value::Object(Vec::new()))];
        tree::set(function, "parameters", tree::object(empty));
        let pointer = format!("{pointer}/function");
        repairer.did(&MISSING_FIELD, pointer, "added empty `parameters`, which the function omits");
    }
}

/// A call in one message: its position, its id, and the results that were found for it.
struct Call {
    message: usize,
    index: usize,
    result: Option<usize>,
}

/// Replaces ids that are invalid, repeated or unmatched; a call and its result get the same one.
pub(super) fn ids(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    let Some(messages) = tree::list_mut(row, "messages") else { return };
    let mut used: HashSet<String> = HashSet::new();
    let mut at = 0;
    while at < messages.len() {
        let calls = calls_of(&messages[at]);
        let results = messages[at + 1..].iter().take_while(|message| tree::role(message) == "tool").count();
        if calls > 0 {
            let turn: Vec<Call> = (0..calls).map(|index| Call { message: at, index, result: None }).collect();
            let is_last = at + 1 == messages.len();
            connect(messages, turn, results, is_last, &mut used, repairer);
        }
        at += 1 + results;
    }
}

fn calls_of(message: &Value<'_>) -> usize {
    match tree::role(message) {
        "assistant" => message.get("tool_calls").and_then(Value::as_array).map_or(0, <[_]>::len),
        _ => 0,
    }
}

fn id_of_call<'v>(messages: &'v [Value<'_>], call: &Call) -> Option<&'v str> {
    let made = messages[call.message].get("tool_calls")?.as_array()?.get(call.index)?;
    made.text("id").filter(|id| *id != "null")
}

fn name_of_call<'v>(messages: &'v [Value<'_>], call: &Call) -> Option<&'v str> {
    let made = messages[call.message].get("tool_calls")?.as_array()?.get(call.index)?;
    made.get("function")?.text("name")
}

/// Connects the calls of one message with the results after it, and gives both their ids.
fn connect(
    messages: &mut [Value<'_>],
    mut calls: Vec<Call>,
    results: usize,
    is_last: bool,
    used: &mut HashSet<String>,
    repairer: &mut Repairer<'_>,
) {
    let first = calls[0].message + 1;
    // If a result is missing, it is unknown which one; the sample is rejected for it.
    let is_complete = results == 0 || results == calls.len();
    if !is_complete || !match_results(messages, &mut calls, first..first + results, repairer) {
        used.extend(calls.iter().filter_map(|call| id_of_call(messages, call)).map(str::to_owned));
        return;
    }
    let ids = ids_of(repairer);
    for call in &calls {
        let known = id_of_call(messages, call).map(str::to_owned);
        if known.is_none() && is_last && ids == CallIds::NineCharacters {
            continue;
        }
        let rule: Option<&'static Rule> = match &known {
            None => Some(&TOOL_ID),
            Some(id) if !ids.accept(id) => Some(&TOOL_ID),
            Some(id) if used.contains(id) => Some(&TOOL_ID_REPEATED),
            Some(_) => None,
        };
        let id = match (rule, known) {
            (None, Some(id)) => {
                connect_result(messages, call, &id, repairer);
                id
            }
            (Some(rule), known) if repairer.may(rule) => {
                let id = new_id(known.as_deref().unwrap_or_default(), used);
                replace_id(messages, call, &id, rule, repairer);
                id
            }
            (_, known) => {
                used.extend(known);
                continue;
            }
        };
        used.insert(id);
    }
}

/// Gives a call and its result a new id.
fn replace_id(
    messages: &mut [Value<'_>],
    call: &Call,
    id: &str,
    rule: &'static Rule,
    repairer: &mut Repairer<'_>,
) {
    let calls = tree::list_mut(&mut messages[call.message], "tool_calls");
    if let Some(value) = calls.and_then(|calls| calls.get_mut(call.index)) {
        set_first(value, "id", id);
    }
    if let Some(result) = call.result {
        tree::set(&mut messages[result], "tool_call_id", tree::string(id.to_owned()));
    }
    let pointer = format!("/messages/{}/tool_calls/{}/id", call.message, call.index);
    repairer.did(rule, pointer, format!("changed the id to `{id}`, in the call and in its result"));
}

/// Gives the result of a call the call's id.
fn connect_result(messages: &mut [Value<'_>], call: &Call, id: &str, repairer: &mut Repairer<'_>) {
    let Some(result) = call.result else { return };
    let before = messages[result].text("tool_call_id");
    if before == Some(id) || !may_reconnect(before, repairer) {
        return;
    }
    let rule =
        if before.is_some_and(|id| ids_of(repairer).accept(id)) { &TOOL_ID_UNMATCHED } else { &TOOL_ID };
    tree::set(&mut messages[result], "tool_call_id", tree::string(id.to_owned()));
    let pointer = format!("/messages/{result}/tool_call_id");
    repairer.did(rule, pointer, format!("connected the result with its call `{id}`"));
}

/// What an id may be.
fn ids_of(repairer: &Repairer<'_>) -> CallIds {
    repairer.wanted.version.chat_format().call_ids
}

fn may_reconnect(before: Option<&str>, repairer: &Repairer<'_>) -> bool {
    match before {
        Some(id) if ids_of(repairer).accept(id) => repairer.may(&TOOL_ID_UNMATCHED),
        _ => repairer.may(&TOOL_ID),
    }
}

/// Finds the result of each call: by id, else by name. The rest are connected if there is only one, or in order if no
/// result names its call, as with OpenAI's older functions. Returns false if some stay unconnected.
fn match_results(
    messages: &[Value<'_>],
    calls: &mut [Call],
    results: std::ops::Range<usize>,
    repairer: &Repairer<'_>,
) -> bool {
    let mut free: BTreeSet<usize> = results.collect();
    if free.is_empty() {
        return true;
    }
    for (of_call, of_result) in [(id_of_call as Label, "tool_call_id"), (name_of_call as Label, "name")] {
        let mut known: HashMap<&str, VecDeque<usize>> = HashMap::new();
        for result in &free {
            if let Some(label) = messages[*result].text(of_result) {
                known.entry(label).or_default().push_back(*result);
            }
        }
        for call in calls.iter_mut().filter(|call| call.result.is_none()) {
            let label = of_call(messages, call);
            call.result = label.and_then(|label| known.get_mut(label)).and_then(VecDeque::pop_front);
            call.result.inspect(|result| {
                free.remove(result);
            });
        }
    }
    let silent = |result: &usize| messages[*result].text("tool_call_id").is_none();
    if free.len() > 1 && !free.iter().all(silent) && !repairer.may_guess(&TOOL_ID_UNMATCHED) {
        return false;
    }
    for call in calls.iter_mut().filter(|call| call.result.is_none()) {
        call.result = free.pop_first();
    }
    true
}

type Label = for<'v> fn(&'v [Value<'_>], &Call) -> Option<&'v str>;

fn set_first<'a>(call: &mut Value<'a>, key: &'static str, id: &str) {
    match tree::get_mut(call, key) {
        Some(known) => *known = tree::string(id.to_owned()),
        None => {
            if let Value::Object(members) = call {
                members.insert(0, (key.into(), tree::string(id.to_owned())));
            }
        }
    }
}

/// Nine letters and digits that depend only on the old id, unless they are already used.
fn new_id(old: &str, used: &HashSet<String>) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let spell = |mut hash: u64| -> String {
        let letter = |_| {
            let letter = char::from(LETTERS[(hash % 62) as usize]);
            hash /= 62;
            letter
        };
        (0..9).map(letter).collect()
    };
    let ids = (0..).map(|seed| spell(XxHash3_64::oneshot_with_seed(seed, old.as_bytes())));
    ids.into_iter().find(|id| !used.contains(id)).expect("there are more ids than calls in a row")
}
