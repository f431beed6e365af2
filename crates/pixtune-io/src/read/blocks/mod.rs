//! Whole lines of a stream, many at a time. Each byte is copied once: from the system into a buffer that is reused and is
//! small enough to stay in the CPU's cache until its lines have been processed.

mod block;

use std::io::{self, Read};

pub(super) use block::unreadable_line;
pub use block::{Block, UsedBlocks};
pub(crate) use block::{unreadable, without_line_end};

/// Reads blocks of lines.
#[derive(Debug)]
pub struct Blocks<R> {
    source: R,
    max_line: usize,
    sizes: Sizes,
    /// Only lines that begin within this many bytes are wanted, counted from the next line.
    wanted: u64,
    /// What was read after the last line end: the beginning of the next block.
    carried: Block,
    start: Start,
    has_byte_order_mark: bool,
}

/// Where a reader stands before its first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At the beginning of the stream.
    OfStream,
    /// Somewhere in a line that another reader reads.
    InLine,
    /// Past either.
    Passed,
}

/// How many bytes are read at once.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Bytes per read while looking for the end of a block's last line; what follows it is copied once more.
    pub piece: usize,
    /// A block with this many bytes ends at the next line end; they are read at once.
    pub block: usize,
}

pub(super) const SIZES: Sizes = Sizes { piece: 64 << 10, block: 192 << 10 };

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<R: Read> Blocks<R> {
    /// A reader of `source` that keeps at most `max_line` bytes of a line, including its line end, and at least 256 KiB,
    /// so that only the first line of a block can be longer.
    pub fn new(source: R, max_line: usize) -> Blocks<R> {
        Blocks::with_sizes(source, max_line, SIZES)
    }

    /// The same with other sizes, for tests with short texts; at least their sum is kept of a line.
    pub fn with_sizes(source: R, max_line: usize, sizes: Sizes) -> Blocks<R> {
        let max_line = max_line.max(sizes.piece + sizes.block);
        let (start, wanted) = (Start::OfStream, u64::MAX);
        Blocks {
            source,
            max_line,
            sizes,
            wanted,
            carried: Block::default(),
            start,
            has_byte_order_mark: false,
        }
    }

    /// Only the lines that begin in the next `length` bytes, from where the stream stands.
    pub(super) fn within(self, length: u64, start: Start) -> Blocks<R> {
        Blocks { wanted: length, start, ..self }
    }

    /// The same reader, with used memory for the bytes that it carries over.
    pub(super) fn carrying(self, mut carried: Block) -> Blocks<R> {
        carried.clear();
        Blocks { carried, ..self }
    }

    /// The memory for the bytes that it carries over, once it is no longer needed.
    pub(super) fn into_carried(self) -> Block {
        self.carried
    }

    /// What it reads from.
    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// Whether the stream started with a byte order mark, which is not part of its first line; known once a block was
    /// read.
    pub fn has_byte_order_mark(&self) -> bool {
        self.has_byte_order_mark
    }

    /// Reads the next lines into a block, replacing what it held; false when there are none.
    pub fn read_into(&mut self, block: &mut Block) -> io::Result<bool> {
        block.clear();
        match std::mem::replace(&mut self.start, Start::Passed) {
            Start::OfStream => self.skip_byte_order_mark()?,
            Start::InLine => self.wanted -= self.pass_line(self.wanted)?.min(self.wanted),
            Start::Passed => {}
        }
        if self.wanted == 0 {
            return Ok(false);
        }
        std::mem::swap(block, &mut self.carried);
        let (mut searched, mut lines_end) = (0, 0);
        // A pipe returns what it has: its lines are passed on without waiting for more.
        let mut is_short = false;
        loop {
            if let Some(at) = memchr::memrchr(b'\n', &block.lines()[searched..]) {
                lines_end = searched + at + 1;
            }
            searched = block.end;
            if block.end > self.max_line && self.cut_oversized(block)? {
                self.wanted = self.wanted.saturating_sub(block.oversized.unwrap_or_default());
                return Ok(true);
            }
            let are_all = lines_end as u64 >= self.wanted;
            if lines_end > 0 && (is_short || are_all || block.end >= self.sizes.block) {
                if are_all {
                    lines_end = self.end_of_wanted(block);
                }
                self.carried.push(&block.lines()[lines_end..]);
                block.end = lines_end;
                self.wanted = self.wanted.saturating_sub(lines_end as u64);
                return Ok(true);
            }
            let piece = self.piece(block.end);
            let read = read(&mut self.source, block.room(piece))?;
            if read == 0 {
                self.wanted = 0;
                return Ok(block.end > 0);
            }
            is_short = read < piece;
            block.end += read;
        }
    }

    /// Cuts the first line of the block to the limit, if it is longer, and finds its end.
    fn cut_oversized(&mut self, block: &mut Block) -> io::Result<bool> {
        let line_end = memchr::memchr(b'\n', block.lines());
        if line_end.is_some_and(|at| at < self.max_line) {
            return Ok(false);
        }
        let length = match line_end {
            Some(at) => {
                self.carried.push(&block.lines()[at + 1..]);
                at as u64 + 1
            }
            None => block.end as u64 + self.pass_line(u64::MAX)?,
        };
        block.end = self.max_line;
        block.oversized = Some(length);
        Ok(true)
    }

    /// The end of the last wanted line, in a block that has all of them.
    fn end_of_wanted(&self, block: &Block) -> usize {
        let last = self.wanted as usize - 1;
        let end = memchr::memchr(b'\n', &block.lines()[last..]);
        end.map_or(block.end, |at| last + at + 1)
    }

    /// How much to read into a block that has this many bytes: little where only the end of a line is missing.
    fn piece(&self, behind: usize) -> usize {
        const LEAST: usize = 4 << 10;
        let piece = match self.wanted.checked_sub(behind as u64) {
            Some(missing @ 1..) => usize::try_from(missing).unwrap_or(usize::MAX),
            _ => (behind as u64 - self.wanted) as usize,
        };
        let usual = self.sizes.piece.max(self.sizes.block.saturating_sub(behind));
        piece.max(LEAST).min(usual)
    }

    /// Skips to the end of a line, or `most` bytes of it, and returns how many bytes that was; what follows is carried.
    fn pass_line(&mut self, most: u64) -> io::Result<u64> {
        let mut passed = 0;
        while passed < most {
            self.carried.clear();
            let read = read(&mut self.source, self.carried.room(self.sizes.piece))?;
            self.carried.end = read;
            let line_end = memchr::memchr(b'\n', self.carried.lines());
            let length = line_end.map_or(read, |at| at + 1);
            passed += length as u64;
            self.carried.drop_first(length);
            if read == 0 || line_end.is_some() {
                break;
            }
        }
        Ok(passed)
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        while self.carried.end < BYTE_ORDER_MARK.len() {
            let read = read(&mut self.source, self.carried.room(self.sizes.piece))?;
            self.carried.end += read;
            if read == 0 {
                break;
            }
        }
        if self.carried.lines().starts_with(BYTE_ORDER_MARK) {
            self.has_byte_order_mark = true;
            self.carried.drop_first(BYTE_ORDER_MARK.len());
            self.wanted = self.wanted.saturating_sub(BYTE_ORDER_MARK.len() as u64);
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

    /// A source that returns a few bytes at a time.
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
        let mut block = Block::default();
        let mut lines = Vec::new();
        while blocks.read_into(&mut block).unwrap() {
            match block.oversized() {
                Some(length) => lines.push((String::from_utf8_lossy(block.lines()).into_owned(), length)),
                None => lines.extend(
                    block
                        .lines()
                        .split_inclusive(|byte| *byte == b'\n')
                        .map(|line| (String::from_utf8_lossy(line).into_owned(), line.len() as u64)),
                ),
            }
        }
        lines
    }

    #[test]
    fn blocks_hold_every_line_for_any_sizes_of_reads() {
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
    fn recognizes_a_byte_order_mark() {
        for (text, has_mark) in
            [("\u{feff}a\n", true), ("a\u{feff}\n", false), ("\u{feff}", true), ("", false)]
        {
            let mut blocks = Blocks::new(text.as_bytes(), 100);
            let _ = blocks.read_into(&mut Block::default()).unwrap();
            assert_eq!(blocks.has_byte_order_mark(), has_mark, "{text:?}");
        }
    }
}
