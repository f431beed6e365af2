//! What a text format knows: where its rows begin and end.

use std::fmt::Debug;
use std::io;

/// Where the rows of a format begin and end.
pub(super) trait Framing: Debug + Send + Sync {
    /// Finds the beginning of the next row: how many of the unread bytes to skip, and what follows them.
    fn approach(&mut self, _unread: &[u8]) -> io::Result<(usize, Approach)> {
        Ok((0, Approach::Row))
    }

    /// The length of what is left of the row in `bytes`, including what ends it; `None` when more must be read.
    fn end(&mut self, bytes: &[u8]) -> Option<usize>;

    /// Whether the input may end here, when [`Framing::approach`] asked for more.
    fn end_of_input(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether a row that the end of the input ends is incomplete.
    fn is_open(&self) -> bool {
        false
    }

    /// By how much the number of the next row is higher, behind these bytes of a row.
    fn count(&self, taken: &[u8], _is_end: bool) -> u64 {
        memchr::memchr_iter(b'\n', taken).count() as u64
    }

    /// Takes what ends a row off it.
    fn trim(&self, row: &mut Vec<u8>) {
        if row.last() == Some(&b'\n') {
            row.pop();
            if row.last() == Some(&b'\r') {
                row.pop();
            }
        }
    }

    /// Whether blank rows are skipped.
    fn skips_blank(&self) -> bool {
        true
    }

    /// Whether lines are counted to name the place of what is wrong between rows: where rows are not lines.
    fn names_places(&self) -> bool {
        false
    }
}

/// What follows the bytes before a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Approach {
    /// A row, or the end of the input.
    Row,
    /// It takes more bytes to know.
    More,
}
