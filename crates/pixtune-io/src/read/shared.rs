//! Lines shared among threads. A stream is read by one thread at a time; of a file each thread reads ranges of its own, so
//! that copying from the system's cache, half of the work where lines hold images, is shared too.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Fingerprint;
use super::blocks::{Block, Blocks, SIZES, Sizes, Start, UsedBlocks};
use super::positioned::ReadFrom;

/// What lines are read from.
pub enum Source {
    /// Bytes in sequence.
    Stream(Box<dyn Read + Send>),
    /// Bytes in sequence whose fingerprint is wanted.
    Hashed(Box<dyn Read + Send>),
    /// A regular file, at its beginning, and its length.
    File(File, u64),
}

impl Source {
    /// Its bytes in sequence.
    pub(super) fn into_stream(self) -> Stream {
        let (source, hash): (Box<dyn Read + Send>, _) = match self {
            Source::Stream(stream) => (stream, None),
            Source::Hashed(stream) => (stream, Some(blake3::Hasher::new())),
            Source::File(file, _) => (Box::new(file), None),
        };
        Stream { source, hash, bytes: 0 }
    }
}

/// Lines that threads read together.
pub struct SharedLines {
    origin: Origin,
    max_line: usize,
    used: UsedBlocks,
    has_byte_order_mark: AtomicBool,
    /// The mean length of the lines in the last range read.
    line_length: AtomicU64,
}

enum Origin {
    // Boxed: it holds the state of a hash, 2 KB that a file has no use for.
    Stream(Box<Mutex<Blocks<Stream>>>),
    File { file: File, length: u64, next: AtomicU64, ranges: RangeSizes, blocks: Sizes },
}

/// How much of a file a thread takes at a time.
#[derive(Debug, Clone, Copy)]
pub struct RangeSizes {
    /// A few blocks: results of many short lines have to wait for those of the lines before them.
    pub short_lines: u64,
    /// Half a line per range is read twice, so ranges of long lines are longer.
    pub long_lines: u64,
    /// The length from which a line is long.
    pub long: u64,
}

const RANGE_SIZES: RangeSizes = RangeSizes { short_lines: 256 << 10, long_lines: 1 << 20, long: 32 << 10 };

/// Lines for one thread to read.
pub struct Share(Shared);

enum Shared {
    Block(Block),
    /// Those that begin here.
    Range(Range<u64>),
}

impl SharedLines {
    /// The lines of a source, for this many threads; at most `max_line` bytes of a line are kept, see [`Blocks::new`].
    pub fn new(source: Source, max_line: usize, threads: usize) -> SharedLines {
        let stream = match source {
            Source::File(file, length) if threads > 1 => {
                return SharedLines::with_sizes(file, length, max_line, RANGE_SIZES, SIZES);
            }
            source => source.into_stream(),
        };
        SharedLines::reading(Origin::Stream(Box::new(Mutex::new(Blocks::new(stream, max_line)))), max_line)
    }

    /// The lines of a file in ranges and blocks of other sizes, for tests with short texts; ranges are longer than a byte
    /// order mark.
    pub fn with_sizes(
        file: File,
        length: u64,
        max_line: usize,
        ranges: RangeSizes,
        blocks: Sizes,
    ) -> SharedLines {
        SharedLines::reading(Origin::File { file, length, next: AtomicU64::new(0), ranges, blocks }, max_line)
    }

    fn reading(origin: Origin, max_line: usize) -> SharedLines {
        let (used, has_byte_order_mark, line_length) = Default::default();
        SharedLines { origin, max_line, used, has_byte_order_mark, line_length }
    }

    /// Whether the source started with a byte order mark; known once its first lines were read.
    pub fn has_byte_order_mark(&self) -> bool {
        self.has_byte_order_mark.load(Ordering::Relaxed)
    }

    /// The fingerprint of what was read, for [`Source::Hashed`].
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let Origin::Stream(blocks) = &self.origin else { return None };
        let blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.source().fingerprint()
    }

    /// The next share, in the order of the source.
    pub fn next_share(&self) -> io::Result<Option<Share>> {
        match &self.origin {
            Origin::Stream(blocks) => {
                let mut blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
                let mut block = self.used.take();
                let has_lines = blocks.read_into(&mut block)?;
                self.has_byte_order_mark.fetch_or(blocks.has_byte_order_mark(), Ordering::Relaxed);
                Ok(has_lines.then_some(Share(Shared::Block(block))))
            }
            Origin::File { length, next, ranges, .. } => {
                let lines_are_long = self.line_length.load(Ordering::Relaxed) >= ranges.long;
                let size = if lines_are_long { ranges.long_lines } else { ranges.short_lines };
                let start = next.fetch_add(size, Ordering::Relaxed);
                let range = start..(start + size).min(*length);
                Ok((!range.is_empty()).then_some(Share(Shared::Range(range))))
            }
        }
    }

    /// Passes the blocks of a share to `work`, which returns how many lines each has.
    pub fn read(&self, share: Share, mut work: impl FnMut(&mut Block) -> usize) -> io::Result<()> {
        match (share.0, &self.origin) {
            (Shared::Block(mut block), _) => {
                work(&mut block);
                self.used.give(block);
                Ok(())
            }
            (Shared::Range(range), Origin::File { file, blocks, .. }) => {
                let (before, start) = before(&range);
                let source = Blocks::with_sizes(ReadFrom { file, at: before }, self.max_line, *blocks);
                let source = source.within(range.end - before, start).carrying(self.used.take());
                self.read_range(source, work)
            }
            (Shared::Range(_), Origin::Stream(_)) => Ok(()),
        }
    }

    fn read_range(
        &self,
        mut blocks: Blocks<ReadFrom<&File>>,
        mut work: impl FnMut(&mut Block) -> usize,
    ) -> io::Result<()> {
        let (mut lines, mut bytes) = (0, 0);
        let mut block = self.used.take();
        while blocks.read_into(&mut block)? {
            bytes += block.oversized().unwrap_or(block.lines().len() as u64);
            lines += work(&mut block) as u64;
        }
        self.used.give(block);
        self.has_byte_order_mark.fetch_or(blocks.has_byte_order_mark(), Ordering::Relaxed);
        self.used.give(blocks.into_carried());
        if let Some(mean) = bytes.checked_div(lines) {
            self.line_length.store(mean, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Where to read from: a line begins after a line end, so the byte before a range decides whether one begins at its
/// start.
fn before(range: &Range<u64>) -> (u64, Start) {
    match range.start {
        0 => (0, Start::OfStream),
        start => (start - 1, Start::InLine),
    }
}

/// A stream, and the hash of what was read of it where that is wanted.
pub(super) struct Stream {
    source: Box<dyn Read + Send>,
    hash: Option<blake3::Hasher>,
    bytes: u64,
}

impl Stream {
    /// The fingerprint of what was read, for [`Source::Hashed`].
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        let blake3 = self.hash.as_ref()?.finalize().to_hex().to_string();
        Some(Fingerprint { bytes: self.bytes, blake3, version: None })
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.bytes += read as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..read]);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::parallel;

    /// The lines as threads read them, in order: the length of each in the source, and what is kept of it.
    fn lines_of(lines: &SharedLines, threads: usize) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        let work = |share| {
            let mut read = Vec::new();
            let look = |block: &mut Block| {
                let before = read.len();
                match block.oversized() {
                    Some(length) => read.push((length, block.lines().to_vec())),
                    None => {
                        let lines = block.lines().split_inclusive(|byte| *byte == b'\n');
                        read.extend(lines.map(|line| (line.len() as u64, line.to_vec())));
                    }
                }
                read.len() - before
            };
            lines.read(share, look).map(|()| read)
        };
        parallel::ordered(
            threads,
            || lines.next_share(),
            work,
            |read| {
                all.extend(read?);
                Ok::<_, io::Error>(())
            },
        )
        .unwrap();
        all
    }

    /// Pieces of text with every kind of end.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => Just(b"\n".to_vec()),
            1 => Just(b"\r\n".to_vec()),
            1 => Just(b"\xef\xbb\xbf".to_vec()),
            3 => prop::collection::vec(any::<u8>(), 0..6),
            1 => (0usize..200).prop_map(|length| vec![b'x'; length]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn threads_read_every_line_once_and_in_order(
            pieces in prop::collection::vec(piece(), 0..40),
            threads in 1usize..5,
            (short_lines, long_lines, long) in (4u64..40, 4u64..200, 0u64..20),
            (piece, block, max_line) in (1usize..20, 1usize..20, 1usize..60),
        ) {
            let text = pieces.concat();
            let whole = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
            let kept = max_line.max(piece + block);
            let expected: Vec<_> = whole
                .split_inclusive(|byte| *byte == b'\n')
                .map(|line| (line.len() as u64, line[..line.len().min(kept)].to_vec()))
                .collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&text).unwrap();
            let ranges = RangeSizes { short_lines, long_lines, long };
            let lines =
                SharedLines::with_sizes(file, text.len() as u64, max_line, ranges, Sizes { piece, block });
            prop_assert_eq!(lines_of(&lines, threads), expected);
            prop_assert_eq!(lines.has_byte_order_mark(), whole.len() < text.len());
        }
    }

    #[test]
    fn reports_an_oversized_line_once_and_reads_on() {
        let text = format!("a\n{}\nb\nc", "x".repeat(3 << 20));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let lines = SharedLines::new(Source::File(file, text.len() as u64), 1 << 20, 2);
        let read = lines_of(&lines, 2);
        assert_eq!(read.iter().map(|(length, _)| *length).collect::<Vec<_>>(), [2, (3 << 20) + 1, 2, 1]);
        assert!(read[1].1.len() == 1 << 20 && read[1].1.iter().all(|byte| *byte == b'x'));
    }
}
