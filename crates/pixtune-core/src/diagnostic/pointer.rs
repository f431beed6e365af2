//! JSON pointers (RFC 6901).

use std::fmt::{self, Write as _};

/// A path into a row that is turned into text only when something is found there: most rows have no findings.
#[derive(Debug, Clone, Copy)]
pub enum Pointer<'p> {
    /// The row itself.
    Row,
    /// A member of the object at a pointer.
    Member(&'p Pointer<'p>, &'p str),
    /// An element of the array at a pointer.
    Element(&'p Pointer<'p>, usize),
}

impl<'p> Pointer<'p> {
    /// Points to the member with this key.
    pub fn member(&'p self, key: &'p str) -> Pointer<'p> {
        Pointer::Member(self, key)
    }

    /// Points to the element at this index.
    pub fn element(&'p self, index: usize) -> Pointer<'p> {
        Pointer::Element(self, index)
    }
}

impl From<Pointer<'_>> for String {
    fn from(pointer: Pointer<'_>) -> String {
        match pointer {
            Pointer::Row => String::new(),
            Pointer::Member(parent, key) => pointer_push(&String::from(*parent), key),
            Pointer::Element(parent, index) => pointer_push(&String::from(*parent), index),
        }
    }
}

/// Appends one step to a JSON pointer, escaped as RFC 6901 section 3 requires.
pub fn pointer_push(pointer: &str, step: impl fmt::Display) -> String {
    let mut out = String::with_capacity(pointer.len() + 12);
    out.push_str(pointer);
    out.push('/');
    let start = out.len();
    // Every finding builds a pointer, so a step without special characters costs one allocation.
    write!(out, "{step}").expect("a String takes any text");
    if out[start..].contains(['~', '/']) {
        let escaped = out[start..].replace('~', "~0").replace('/', "~1");
        out.truncate(start);
        out.push_str(&escaped);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_escaped() {
        assert_eq!(pointer_push("/a", "b/c~d"), "/a/b~1c~0d");
        assert_eq!(String::from(Pointer::Row.member("a").element(0).member("b/c~d")), "/a/0/b~1c~0d");
    }
}
