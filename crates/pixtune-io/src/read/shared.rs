//! Lines shared among threads. A stream is read by one thread at a time; of a file each thread reads ranges of its own, so
//! that copying out of the system's cache, half of the work where lines hold pictures, is shared too.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::blocks::{Block, Blocks, Start, UsedBlocks};

/// What lines are read from.
pub enum Source {
    /// Bytes that come one after the other.
    Stream(Box<dyn Read + Send>),
    /// A regular file, at its beginning, and its length.
    File(File, u64),
}

/// Lines that threads read together.
pub struct SharedLines {
    origin: Origin,
    max_line: usize,
    used: UsedBlocks,
    has_byte_order_mark: AtomicBool,
    /// The mean length of lines where they were read last.
    line_length: AtomicU64,
}

enum Origin {
    Stream(Mutex<Blocks<Box<dyn Read + Send>>>),
    File { file: File, length: u64, next: AtomicU64, sizes: RangeSizes },
}

/// How much of a file a thread takes at a time.
#[derive(Debug, Clone, Copy)]
struct RangeSizes {
    /// A few blocks: what is known of many short lines has to wait until the lines before them are told.
    short_lines: u64,
    /// Half a line is read twice for each range, so that ranges of long lines are longer.
    long_lines: u64,
    /// Lines are long from here.
    long: u64,
}

const RANGE_SIZES: RangeSizes = RangeSizes { short_lines: 256 << 10, long_lines: 1 << 20, long: 32 << 10 };

/// Lines for one thread.
pub struct Share(Shared);

enum Shared {
    Block(Block),
    /// Those that begin here.
    Range(Range<u64>),
}

impl SharedLines {
    /// The lines of a source, for so many threads; at most `max_line` bytes of a line are kept, as [`Blocks::new`] has it.
    pub fn new(source: Source, max_line: usize, threads: usize) -> SharedLines {
        let stream: Box<dyn Read + Send> = match source {
            Source::Stream(stream) => stream,
            Source::File(file, _) if threads <= 1 => Box::new(file),
            Source::File(file, length) => return SharedLines::of_file(file, length, max_line, RANGE_SIZES),
        };
        SharedLines::reading(Origin::Stream(Mutex::new(Blocks::new(stream, max_line))), max_line)
    }

    fn of_file(file: File, length: u64, max_line: usize, sizes: RangeSizes) -> SharedLines {
        SharedLines::reading(Origin::File { file, length, next: AtomicU64::new(0), sizes }, max_line)
    }

    fn reading(origin: Origin, max_line: usize) -> SharedLines {
        let (used, has_byte_order_mark, line_length) = Default::default();
        SharedLines { origin, max_line, used, has_byte_order_mark, line_length }
    }

    /// Whether the source started with a byte order mark; known once its first lines were read.
    pub fn has_byte_order_mark(&self) -> bool {
        self.has_byte_order_mark.load(Ordering::Relaxed)
    }

    /// The share of the thread that asks; in the order of the source.
    pub fn next_share(&self) -> io::Result<Option<Share>> {
        match &self.origin {
            Origin::Stream(blocks) => {
                let mut blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
                let mut block = self.used.take();
                let has_lines = blocks.read_into(&mut block)?;
                self.has_byte_order_mark.fetch_or(blocks.has_byte_order_mark(), Ordering::Relaxed);
                Ok(has_lines.then_some(Share(Shared::Block(block))))
            }
            Origin::File { length, next, sizes, .. } => {
                let lines_are_long = self.line_length.load(Ordering::Relaxed) >= sizes.long;
                let size = if lines_are_long { sizes.long_lines } else { sizes.short_lines };
                let start = next.fetch_add(size, Ordering::Relaxed);
                let range = start..(start + size).min(*length);
                Ok((!range.is_empty()).then_some(Share(Shared::Range(range))))
            }
        }
    }

    /// Hands the blocks of a share to `look`, which says how many lines each has.
    pub fn read(&self, share: Share, mut look: impl FnMut(&Block) -> usize) -> io::Result<()> {
        match (share.0, &self.origin) {
            (Shared::Block(block), _) => {
                look(&block);
                self.used.give(block);
                Ok(())
            }
            (Shared::Range(range), Origin::File { file, .. }) => self.read_range(file, range, look),
            (Shared::Range(_), Origin::Stream(_)) => Ok(()),
        }
    }

    fn read_range(
        &self,
        file: &File,
        range: Range<u64>,
        mut look: impl FnMut(&Block) -> usize,
    ) -> io::Result<()> {
        // A line begins behind a line end, so the byte before the range tells whether one begins at its start.
        let (before, start) = match range.start {
            0 => (0, Start::OfStream),
            start => (start - 1, Start::InLine),
        };
        let source = ReadFrom { file, at: before };
        let mut blocks = Blocks::new(source, self.max_line).within(range.end - before, start);
        let (mut lines, mut bytes) = (0, 0);
        let mut block = self.used.take();
        while blocks.read_into(&mut block)? {
            lines += look(&block) as u64;
            bytes += block.oversized().unwrap_or(block.lines().len() as u64);
        }
        self.used.give(block);
        self.has_byte_order_mark.fetch_or(blocks.has_byte_order_mark(), Ordering::Relaxed);
        if let Some(mean) = bytes.checked_div(lines) {
            self.line_length.store(mean, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A file from a place on, whatever others read of it meanwhile.
struct ReadFrom<'f> {
    file: &'f File,
    at: u64,
}

impl Read for ReadFrom<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines_of(lines: &SharedLines) -> (Vec<u8>, Vec<u64>) {
        let (mut text, mut oversized) = (Vec::new(), Vec::new());
        while let Some(share) = lines.next_share().unwrap() {
            lines
                .read(share, |block| {
                    text.extend_from_slice(block.lines());
                    oversized.extend(block.oversized());
                    memchr::memchr_iter(b'\n', block.lines()).count()
                })
                .unwrap();
        }
        (text, oversized)
    }

    #[test]
    fn ranges_hold_every_line_once() {
        let long = format!("{}\n", "x".repeat(300));
        let texts = [
            "",
            "\n",
            "a",
            "ab\ncd\n\nef",
            "\u{feff}a\nbc\nd",
            "\u{feff}\n\n",
            "a\n\n\n\nb\n",
            &long,
            &long.repeat(3),
        ];
        for text in texts {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            // Longer than a byte order mark, as the real ones are.
            for size in 4..16 {
                let sizes = RangeSizes { short_lines: size, long_lines: 3 * size, long: 2 };
                let file = file.try_clone().unwrap();
                let lines = SharedLines::of_file(file, text.len() as u64, 1 << 20, sizes);
                let (read, oversized) = lines_of(&lines);
                assert_eq!(String::from_utf8(read).unwrap(), text.trim_start_matches('\u{feff}'), "{size}");
                assert_eq!(oversized, []);
                assert_eq!(lines.has_byte_order_mark(), text.starts_with('\u{feff}'));
            }
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_told_once_and_the_next_are_read() {
        let text = format!("a\n{}\nb\nc", "x".repeat(3 << 20));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let lines = SharedLines::new(Source::File(file, text.len() as u64), 1 << 20, 2);
        let (read, oversized) = lines_of(&lines);
        assert_eq!(oversized, [(3 << 20) + 1]);
        assert_eq!(read.len(), 2 + (1 << 20) + 3);
        assert!(read.starts_with(b"a\nxx") && read.ends_with(b"xxb\nc"));
    }
}
