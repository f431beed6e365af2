//! JSON with its places: a parser that keeps what general ones throw away.

use std::borrow::Cow;

/// A JSON value that borrows from its text where it can.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written (big integers and `1E400` stay what they are; also `NaN`, `Infinity`, `-Infinity`, which Python writes).
    Number(Cow<'a, str>),
    /// A string, unescaped; a lone surrogate escape is U+FFFD here.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object: members in the order written, duplicate keys kept.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}
