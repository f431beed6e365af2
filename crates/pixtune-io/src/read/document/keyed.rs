//! An object with a row per key.

use std::io;

use pixtune_core::json::Value;

use super::super::array::Element;
use super::super::framing::{Approach, Framing};
use super::invalid;

/// The members of one object, each a row: `"key": value`.
#[derive(Debug, Default)]
pub(in super::super) struct KeyedFraming {
    position: Members,
    element: Element,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Members {
    #[default]
    Before,
    /// Before the first member, which may be missing.
    First,
    Inside,
    Behind,
}

impl Framing for KeyedFraming {
    fn approach(&mut self, unread: &[u8]) -> io::Result<(usize, Approach)> {
        for (at, byte) in unread.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
            match self.position {
                Members::Before if *byte == b'{' => self.position = Members::First,
                Members::Before => return Err(invalid("a JSON object should start here")),
                Members::First if *byte == b'}' => self.position = Members::Behind,
                Members::First | Members::Inside => return Ok((at, Approach::Row)),
                Members::Behind => return Err(invalid("there is text after the end of the JSON object")),
            }
        }
        Ok((unread.len(), Approach::More))
    }

    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = self.element.end_at(bytes, b'}')?;
        self.position = if bytes[end - 1] == b'}' { Members::Behind } else { Members::Inside };
        self.element = Element::default();
        Some(end)
    }

    fn end_of_input(&self) -> io::Result<()> {
        match self.position {
            Members::Behind => Ok(()),
            _ => Err(invalid("the JSON object is never closed; is the file truncated?")),
        }
    }

    fn count(&self, _taken: &[u8], is_end: bool) -> u64 {
        u64::from(is_end)
    }

    fn trim(&self, row: &mut Vec<u8>) {
        if matches!(row.last(), Some(b',' | b'}')) {
            row.pop();
        }
        row.truncate(row.trim_ascii_end().len());
    }

    fn skips_blank(&self) -> bool {
        false
    }

    fn names_places(&self) -> bool {
        true
    }
}

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
