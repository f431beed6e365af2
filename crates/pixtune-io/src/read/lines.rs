//! JSON Lines: a row per line.

use super::framing::Framing;

/// Lines end at every line feed.
#[derive(Debug)]
pub(super) struct LineFraming;

impl Framing for LineFraming {
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        memchr::memchr(b'\n', bytes).map(|at| at + 1)
    }
}
