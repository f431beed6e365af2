//! Whole lines of a stream, many at a time, each byte copied once: out of the system into a buffer that is used again
//! and small enough to stay in the processor's cache until its lines have been judged.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

/// Lines that follow each other.
#[derive(Debug, Default)]
pub struct Block {
    buffer: Vec<u8>,
    end: usize,
    oversized: Option<u64>,
}

impl Block {
    /// The lines with their line ends; the last of a stream may have none.
    pub fn lines(&self) -> &[u8] {
        &self.buffer[..self.end]
    }

    /// The length of the line, where it is too long and the block holds the beginning of it and nothing else.
    pub fn oversized(&self) -> Option<u64> {
        self.oversized
    }

    /// Free room behind the lines.
    fn room(&mut self, size: usize) -> &mut [u8] {
        let needed = self.end + size;
        if self.buffer.len() < needed {
            // Doubled, so that a line of 200 MB is not moved thousands of times.
            self.buffer.resize(needed.max(2 * self.buffer.len()), 0);
        }
        &mut self.buffer[self.end..needed]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.end += bytes.len();
    }
}

/// Blocks that are no longer needed.
#[derive(Debug, Default)]
pub struct UsedBlocks(Mutex<Vec<Block>>);

impl UsedBlocks {
    /// A block whose memory can be written over.
    pub fn take(&self) -> Block {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Takes a block back, unless it has grown so large that the system had better have its memory.
    pub fn give(&self, block: Block) {
        if block.buffer.len() <= LARGEST_KEPT {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(block);
        }
    }
}

const LARGEST_KEPT: usize = 8 << 20;

/// Reads blocks of lines.
#[derive(Debug)]
pub struct Blocks<R> {
    source: R,
    max_line: usize,
    sizes: Sizes,
    /// What was read behind the last line end.
    carried: Vec<u8>,
    has_started: bool,
    has_byte_order_mark: bool,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// What is asked of the system at a time: more falls out of the first cache while it is copied.
    pub piece: usize,
    /// A block ends at a line end when it has so many bytes.
    pub block: usize,
}

const SIZES: Sizes = Sizes { piece: 64 << 10, block: 192 << 10 };

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<R: Read> Blocks<R> {
    /// A reader of `source` that keeps at most `max_line` bytes of a line, its line end included; less than 256 KiB
    /// counts as that, so that no line behind the first of a block is longer.
    pub fn new(source: R, max_line: usize) -> Blocks<R> {
        Blocks::with_sizes(source, max_line.max(SIZES.piece + SIZES.block), SIZES)
    }

    /// The same with other sizes, so that a short text has every kind of end; `max_line` is at least their sum.
    pub fn with_sizes(source: R, max_line: usize, sizes: Sizes) -> Blocks<R> {
        let (carried, has_started, has_byte_order_mark) = (Vec::new(), false, false);
        Blocks { source, max_line, sizes, carried, has_started, has_byte_order_mark }
    }

    /// Whether the stream started with a byte order mark, which is not part of its first line; known once a block was
    /// asked for.
    pub fn has_byte_order_mark(&self) -> bool {
        self.has_byte_order_mark
    }

    /// The next lines, in the memory of a used block.
    pub fn next_block(&mut self, used: Block) -> io::Result<Option<Block>> {
        if !self.has_started {
            self.skip_byte_order_mark()?;
        }
        let mut block = Block { end: 0, oversized: None, ..used };
        block.push(&self.carried);
        self.carried.clear();
        let (mut searched, mut lines_end) = (0, 0);
        // A pipe gives what it has: its lines are passed on without waiting for more.
        let mut is_short = false;
        loop {
            if let Some(at) = memchr::memrchr(b'\n', &block.buffer[searched..block.end]) {
                lines_end = searched + at + 1;
            }
            searched = block.end;
            if block.end > self.max_line && self.cut_oversized(&mut block)? {
                return Ok(Some(block));
            }
            if lines_end > 0 && (is_short || block.end >= self.sizes.block) {
                self.carried.extend_from_slice(&block.buffer[lines_end..block.end]);
                block.end = lines_end;
                return Ok(Some(block));
            }
            let read = read(&mut self.source, block.room(self.sizes.piece))?;
            if read == 0 {
                return Ok((block.end > 0).then_some(block));
            }
            is_short = read < self.sizes.piece;
            block.end += read;
        }
    }

    /// Cuts the first line of the block to what may be kept, if it is longer, and finds its end.
    fn cut_oversized(&mut self, block: &mut Block) -> io::Result<bool> {
        let line_end = memchr::memchr(b'\n', block.lines());
        if line_end.is_some_and(|at| at < self.max_line) {
            return Ok(false);
        }
        let mut length = block.end as u64;
        if let Some(at) = line_end {
            length = at as u64 + 1;
            self.carried.extend_from_slice(&block.buffer[at + 1..block.end]);
        }
        while line_end.is_none() {
            self.carried.resize(self.sizes.piece, 0);
            let read = read(&mut self.source, &mut self.carried)?;
            self.carried.truncate(read);
            let line_end = memchr::memchr(b'\n', &self.carried);
            let passed = line_end.map_or(read, |at| at + 1);
            length += passed as u64;
            self.carried.drain(..passed);
            if read == 0 || line_end.is_some() {
                break;
            }
        }
        block.end = self.max_line;
        block.oversized = Some(length);
        Ok(true)
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        self.has_started = true;
        while self.carried.len() < BYTE_ORDER_MARK.len() {
            let start = self.carried.len();
            self.carried.resize(start + self.sizes.piece, 0);
            let read = read(&mut self.source, &mut self.carried[start..])?;
            self.carried.truncate(start + read);
            if read == 0 {
                break;
            }
        }
        if self.carried.starts_with(BYTE_ORDER_MARK) {
            self.has_byte_order_mark = true;
            self.carried.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(())
    }
}

fn read(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that gives a few bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(self.0.len()).min(buffer.len());
            let (now, rest) = self.0.split_at(size);
            buffer[..size].copy_from_slice(now);
            self.0 = rest;
            Ok(size)
        }
    }

    /// The lines that blocks hold, and the length of each in the stream.
    fn lines(source: impl Read, max_line: usize, sizes: Sizes) -> Vec<(String, u64)> {
        let mut blocks = Blocks::with_sizes(source, max_line, sizes);
        let mut used = Block::default();
        let mut lines = Vec::new();
        while let Some(block) = blocks.next_block(std::mem::take(&mut used)).unwrap() {
            match block.oversized() {
                Some(length) => lines.push((String::from_utf8_lossy(block.lines()).into_owned(), length)),
                None => lines.extend(
                    block
                        .lines()
                        .split_inclusive(|byte| *byte == b'\n')
                        .map(|line| (String::from_utf8_lossy(line).into_owned(), line.len() as u64)),
                ),
            }
            used = block;
        }
        lines
    }

    #[test]
    fn blocks_hold_every_line_however_the_bytes_arrive() {
        let long = "x".repeat(23);
        let texts = [
            "",
            "\n",
            "a",
            "a\n",
            "a\n\nb\r\nc",
            "\u{feff}a\nb\n",
            "\u{feff}",
            "ab\ncd\nef\ngh\nij",
            "12345678\n1234567\n\n",
        ];
        let more = [
            format!("a\n{long}\nb\n{long}{long}\n{long}"),
            format!("{long}\n{long}"),
            format!("\u{feff}{long}"),
        ];
        for text in texts.into_iter().chain(more.iter().map(String::as_str)) {
            let whole = text.trim_start_matches('\u{feff}');
            let expected: Vec<(String, u64)> = whole
                .split_inclusive('\n')
                .map(|line| (line[..line.len().min(8)].to_owned(), line.len() as u64))
                .collect();
            for step in [1, 2, 3, 7, 100] {
                for (piece, block) in [(1, 1), (2, 5), (5, 3), (7, 1)] {
                    let found = lines(Dribble(text.as_bytes(), step), 8, Sizes { piece, block });
                    assert_eq!(found, expected, "{text:?} by {step} in {piece} and {block}");
                }
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_told() {
        for (text, has_mark) in
            [("\u{feff}a\n", true), ("a\u{feff}\n", false), ("\u{feff}", true), ("", false)]
        {
            let mut blocks = Blocks::new(text.as_bytes(), 100);
            let _ = blocks.next_block(Block::default()).unwrap();
            assert_eq!(blocks.has_byte_order_mark(), has_mark, "{text:?}");
        }
    }
}
