//! An object with a row per key.

use pixtune_core::json::Value;

/// A member of a keyed document as a row: its own keys, and `key` (or `document_key`, where it
/// has a `key` of its own) for the one that it has in the document.
pub(in super::super) fn keyed_row(member: Value<'_>) -> Value<'_> {
    let Value::Object(mut members) = member else { return member };
    let Some((key, value)) = members.pop() else { return Value::Object(members) };
    let key = Value::String(key);
    match value {
        // Two members with one name would hide each other.
        Value::Object(own) if own.iter().any(|(name, _)| name == "key") => {
            Value::Object(std::iter::once(("document_key".into(), key)).chain(own).collect())
        }
        Value::Object(own) => Value::Object(std::iter::once(("key".into(), key)).chain(own).collect()),
        value => Value::Object(vec![("key".into(), key), ("value".into(), value)]),
    }
}
