//! A JSON parser that preserves what others discard (duplicate keys, numbers as written, lone surrogates, error offsets),
//! and the matching writer.
//!
//! It accepts what Python's `json.loads` accepts, with which the reference reads: `NaN` and the infinities as numbers, lone
//! surrogates in strings, but no control characters in strings.

mod differences;
mod locate;
mod parser;
mod python;
mod write;

use std::borrow::Cow;

pub use differences::{Difference, differences};
pub use locate::locate;
pub use parser::{MAX_DEPTH, MAX_VALUES, Parsed, SyntaxError, parse, parse_line};
pub use python::{parse_python, python_dict};
pub use write::{
    Object, Slot, ToJson, append, append_line, compact, document, fixed, inner, line, lines, list, members,
    nested_lines, numbers, object, quoted, raw, spaced, text, value, write_string,
};

/// A JSON value that borrows from its text where possible.
// With a word-sized tag a value is moved word by word; with a smaller one the compiler moves it in pieces that straddle
// words, which costs the parser a third of its time.
#[repr(usize)]
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it was written, so that big integers and `1E400` are preserved; also `NaN`, `Infinity` and `-Infinity`,
    /// which Python writes.
    Number(Cow<'a, str>),
    /// A string, unescaped; a lone surrogate escape is U+FFFD here and noted in [`Parsed::lone_surrogate`].
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object: members in the order written, duplicate keys kept.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// The member of an object with this key; of duplicates the last, as in Python.
    // Inlined, the comparison with a constant key is a few instructions.
    #[inline]
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.as_object()?.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The string under a key of an object.
    #[inline]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The text of a string.
    #[inline]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array.
    #[inline]
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The members of an object.
    #[inline]
    pub fn as_object(&self) -> Option<&[(Cow<'a, str>, Value<'a>)]> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The type in words, for messages: `a string`, `null`, ….
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    /// The same value, independent of its text.
    pub fn into_owned(self) -> Value<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(value),
            Value::Number(text) => Value::Number(own(text)),
            Value::String(text) => Value::String(own(text)),
            Value::Array(values) => Value::Array(values.into_iter().map(Value::into_owned).collect()),
            Value::Object(members) => Value::Object(
                members.into_iter().map(|(key, value)| (own(key), value.into_owned())).collect(),
            ),
        }
    }
}

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&text(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> String {
        parse(text).unwrap().value.to_string()
    }

    #[test]
    fn keeps_order_duplicates_and_numbers_as_written() {
        let text = r#"{"b":1E400,"a":[-0.0,123456789012345678901234567890,NaN,-Infinity],"b":null}"#;
        assert_eq!(round_trip(text), text);
        assert_eq!(parse(text).unwrap().value.get("b"), Some(&Value::Null));
    }
}
