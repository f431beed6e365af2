//! The rows in a list inside of an object.

use std::io;

use super::super::array::{ArrayFraming, Element};
use super::super::framing::{Approach, Framing};
use super::invalid;

/// The rows in a list under a key of the outermost object. What is behind the list is not looked at.
#[derive(Debug)]
pub(in super::super) struct ListFraming {
    key: &'static str,
    walk: Walk,
    array: ArrayFraming,
}

/// Where in the outermost object a reader is.
#[derive(Debug)]
enum Walk {
    Start,
    BeforeKey,
    InKey(Key),
    BeforeColon { is_meant: bool },
    BeforeValue { is_meant: bool },
    Skipping(Element),
    InList,
    Behind,
}

/// A key as far as it is read.
#[derive(Debug, Default)]
struct Key {
    /// No more than it takes to see that it is another one.
    read: Vec<u8>,
    is_escaped: bool,
}

impl ListFraming {
    pub(in super::super) fn new(key: &'static str) -> ListFraming {
        ListFraming { key, walk: Walk::Start, array: ArrayFraming::inside() }
    }

    /// Goes on by one byte outside of values; false where the byte belongs to what comes next.
    fn step(&mut self, byte: u8) -> io::Result<bool> {
        self.walk = match &mut self.walk {
            Walk::InKey(key) => match key.add(byte, self.key.len()) {
                true => return Ok(true),
                false => Walk::BeforeColon { is_meant: key.read == self.key.as_bytes() },
            },
            _ if byte.is_ascii_whitespace() => return Ok(true),
            Walk::Start if byte == b'{' => Walk::BeforeKey,
            Walk::BeforeKey if byte == b'"' => Walk::InKey(Key::default()),
            Walk::BeforeColon { is_meant } if byte == b':' => Walk::BeforeValue { is_meant: *is_meant },
            Walk::BeforeValue { is_meant: true } if byte == b'[' => {
                self.walk = Walk::InList;
                return Ok(false);
            }
            Walk::BeforeValue { .. } => {
                self.walk = Walk::Skipping(Element::default());
                return Ok(false);
            }
            _ => return Err(invalid("the JSON object is not valid here")),
        };
        Ok(true)
    }
}

impl Key {
    /// Reads one more byte; false at the closing quote. A key with an escape is never the one that is looked for.
    fn add(&mut self, byte: u8, longest: usize) -> bool {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'"' => return false,
            b'\\' => {
                self.is_escaped = true;
                self.read.push(0);
            }
            _ if self.read.len() <= longest => self.read.push(byte),
            _ => {}
        }
        true
    }
}

impl Framing for ListFraming {
    fn approach(&mut self, unread: &[u8]) -> io::Result<(usize, Approach)> {
        let mut at = 0;
        while at < unread.len() {
            match &mut self.walk {
                Walk::Behind => return Ok((unread.len(), Approach::More)),
                Walk::InList if self.array.is_behind() => self.walk = Walk::Behind,
                Walk::InList => {
                    let (skipped, next) = self.array.approach(&unread[at..])?;
                    at += skipped;
                    if next == Approach::Row || !self.array.is_behind() {
                        return Ok((at, next));
                    }
                }
                Walk::Skipping(element) => match element.end_at(&unread[at..], b'}') {
                    None => return Ok((unread.len(), Approach::More)),
                    Some(length) if unread[at + length - 1] == b',' => {
                        at += length;
                        self.walk = Walk::BeforeKey;
                    }
                    Some(_) => return Err(invalid("the list of rows is not in the JSON object any more")),
                },
                _ => at += usize::from(self.step(unread[at])?),
            }
        }
        Ok((at, Approach::More))
    }

    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        self.array.end(bytes)
    }

    fn end_of_input(&self) -> io::Result<()> {
        match self.walk {
            Walk::Behind => Ok(()),
            Walk::InList => self.array.end_of_input(),
            _ => Err(invalid("the JSON object is never closed; is the file truncated?")),
        }
    }

    fn count(&self, taken: &[u8], is_end: bool) -> u64 {
        self.array.count(taken, is_end)
    }

    fn trim(&self, row: &mut Vec<u8>) {
        self.array.trim(row);
    }

    fn skips_blank(&self) -> bool {
        false
    }

    fn names_places(&self) -> bool {
        true
    }
}
