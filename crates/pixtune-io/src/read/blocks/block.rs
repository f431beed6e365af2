//! A block of lines, and its memory, which is used again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::super::{Cut, Row};

/// Consecutive lines.
#[derive(Debug, Default)]
pub struct Block {
    buffer: Vec<u8>,
    pub(super) end: usize,
    pub(super) oversized: Option<u64>,
}

impl Block {
    /// The lines with their line ends; the last line of a stream may have none.
    pub fn lines(&self) -> &[u8] {
        &self.buffer[..self.end]
    }

    /// The length of the line, where it is too long and the block holds only the beginning of it.
    pub fn oversized(&self) -> Option<u64> {
        self.oversized
    }

    /// The lines one by one, blank ones included, each with its length in the stream. A large line that is alone is moved out of
    /// the block, which is empty then.
    pub fn rows(&mut self) -> impl Iterator<Item = (u64, Row)> {
        let alone = self.take_large();
        let too_large = self
            .oversized
            .map(|bytes| (bytes, Row { cut: Some(Cut::TooLarge { bytes }), ..Row::whole(self.lines()) }));
        let mut rest = if too_large.is_some() { &[] } else { self.lines() };
        // Lines with images are megabytes long: `split_inclusive` would look at each byte by itself.
        let rows = std::iter::from_fn(move || {
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(length);
            rest = after;
            let line_only = without_line_end(line);
            (length > 0).then(|| (length as u64, Row { cut: unreadable(line), ..Row::whole(line_only) }))
        });
        alone.into_iter().chain(too_large).chain(rows)
    }

    /// The line, if it is large and the only one: a second copy of it would be most of the memory of a run.
    fn take_large(&mut self) -> Option<(u64, Row)> {
        let lines = self.lines();
        let is_alone = memchr::memchr(b'\n', lines).is_none_or(|at| at + 1 == lines.len());
        if lines.len() < LARGE || self.oversized.is_some() || !is_alone {
            return None;
        }
        let (length, kept) = (lines.len() as u64, without_line_end(lines).len());
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.truncate(kept);
        self.clear();
        Some((length, Row::whole(bytes)))
    }

    /// Free space behind the lines.
    pub(super) fn room(&mut self, size: usize) -> &mut [u8] {
        let needed = self.end + size;
        if self.buffer.len() < needed {
            // By a share of it, so that a line of 200 MB is not moved thousands of times, and a small one where that is memory.
            let length = self.buffer.len();
            let grown = if length < LARGE { 2 * length } else { length + length / 8 };
            self.buffer.resize(needed.max(grown), 0);
        }
        &mut self.buffer[self.end..needed]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// Empties the block and keeps its memory.
    pub(super) fn clear(&mut self) {
        (self.end, self.oversized) = (0, None);
    }

    pub(super) fn drop_first(&mut self, length: usize) {
        self.buffer.copy_within(length..self.end, 0);
        self.end -= length;
    }
}

/// From this size on, a buffer that doubled would take most of the memory of a run.
const LARGE: usize = 32 << 20;

/// How a line begins that stands for a row which cannot be read. No line of JSON does.
const UNREADABLE: &[u8] = b"\0unreadable: ";

/// The line that stands for a row which cannot be read.
pub(in super::super) fn unreadable_line(why: &str) -> Vec<u8> {
    [UNREADABLE, why.as_bytes()].concat()
}

/// Why a line cannot be read, if it stands for such a row.
pub(crate) fn unreadable(line: &[u8]) -> Option<Cut> {
    let why = without_line_end(line).strip_prefix(UNREADABLE)?;
    Some(Cut::Unreadable { why: String::from_utf8_lossy(why).into_owned() })
}

/// A line without `\n` or `\r\n`.
pub(crate) fn without_line_end(line: &[u8]) -> &[u8] {
    match line {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => line,
        line => line,
    }
}

/// Blocks that are no longer needed, each kept for the thread that used it, whose CPU has the memory in its cache.
#[derive(Debug, Default)]
pub struct UsedBlocks(Mutex<Vec<(ThreadId, Block)>>);

impl UsedBlocks {
    /// A block to read into.
    pub fn take(&self) -> Block {
        let mut kept = self.kept();
        let me = thread::current().id();
        match kept.iter().position(|(thread, _)| *thread == me) {
            Some(at) => kept.swap_remove(at).1,
            None => kept.pop().map(|(_, block)| block).unwrap_or_default(),
        }
    }

    /// Takes a block back, unless it is so large that its memory should go back to the system.
    pub fn give(&self, block: Block) {
        if block.buffer.len() <= LARGEST_KEPT {
            self.kept().push((thread::current().id(), block));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(ThreadId, Block)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LARGEST_KEPT: usize = 8 << 20;
