//! Changes of JSON values in place, for the repairs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::json::Value;

/// The member of an object with this key; of duplicates the last, as readers do.
pub(super) fn get_mut<'v, 'a>(value: &'v mut Value<'a>, key: &str) -> Option<&'v mut Value<'a>> {
    let Value::Object(members) = value else { return None };
    members.iter_mut().rev().find(|(name, _)| name == key).map(|(_, value)| value)
}

/// Removes a member of an object with all its duplicates, and returns the last of them.
pub(super) fn take<'a>(value: &mut Value<'a>, key: &str) -> Option<Value<'a>> {
    let Value::Object(members) = value else { return None };
    let mut taken = None;
    let mut index = 0;
    while index < members.len() {
        if members[index].0 == key {
            taken = Some(members.remove(index).1);
        } else {
            index += 1;
        }
    }
    taken
}

/// Sets a member: in place if it exists, else at the end.
pub(super) fn set<'a>(value: &mut Value<'a>, key: &'static str, new: Value<'a>) {
    match get_mut(value, key) {
        Some(known) => *known = new,
        None => {
            if let Value::Object(members) = value {
                members.push((key.into(), new));
            }
        }
    }
}

/// Renames a member in place.
pub(super) fn rename(value: &mut Value<'_>, key: &str, new: &'static str) {
    if let Value::Object(members) = value {
        for (name, _) in members.iter_mut().filter(|(name, _)| name == key) {
            *name = Cow::Borrowed(new);
        }
    }
}

/// The elements of the array under a key.
pub(super) fn list_mut<'v, 'a>(value: &'v mut Value<'a>, key: &str) -> Option<&'v mut Vec<Value<'a>>> {
    match get_mut(value, key)? {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// The messages of a row.
pub(super) fn messages_mut<'v, 'a>(row: &'v mut Value<'a>) -> &'v mut [Value<'a>] {
    list_mut(row, "messages").map_or(&mut [], Vec::as_mut_slice)
}

/// The role of a message.
pub(super) fn role<'v>(message: &'v Value<'_>) -> &'v str {
    message.text("role").unwrap_or_default()
}

/// Creates an object.
pub(super) fn object<'a>(members: impl IntoIterator<Item = (&'static str, Value<'a>)>) -> Value<'a> {
    Value::Object(members.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect())
}

/// Creates a string.
pub(super) fn string<'a>(text: impl Into<Cow<'a, str>>) -> Value<'a> {
    Value::String(text.into())
}

/// Creates a message.
pub(super) fn message<'a>(role: &'static str, content: Value<'a>) -> Value<'a> {
    object([("role", string(role)), ("content", content)])
}

/// The value at a JSON pointer.
pub(super) fn at<'v, 'a>(value: &'v Value<'a>, pointer: &str) -> Option<&'v Value<'a>> {
    steps(pointer).try_fold(value, |value, step| match value {
        Value::Array(values) => values.get(step.parse::<usize>().ok()?),
        other => other.get(&step),
    })
}

/// The mutable value at a JSON pointer.
pub(super) fn at_mut<'v, 'a>(value: &'v mut Value<'a>, pointer: &str) -> Option<&'v mut Value<'a>> {
    steps(pointer).try_fold(value, |value, step| match value {
        Value::Array(values) => values.get_mut(step.parse::<usize>().ok()?),
        other => get_mut(other, &step),
    })
}

/// Removes the members at the pointers, those nearest to the root first, so that a row of hostile width is narrow by the
/// time its inner objects are visited.
pub(super) fn remove_members(value: &mut Value<'_>, pointers: &BTreeSet<String>) {
    let mut of_parent: BTreeMap<&str, HashSet<String>> = BTreeMap::new();
    for pointer in pointers {
        if let Some((parent, key)) = pointer.rsplit_once('/') {
            of_parent.entry(parent).or_default().insert(unescape(key));
        }
    }
    for (parent, keys) in of_parent {
        if let Some(Value::Object(members)) = at_mut(value, parent) {
            members.retain(|(key, _)| !keys.contains(&**key));
        }
    }
}

/// The last step of a pointer.
pub(super) fn last_step(pointer: &str) -> String {
    pointer.rsplit_once('/').map_or_else(String::new, |(_, key)| unescape(key))
}

fn steps(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(unescape)
}

fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}
