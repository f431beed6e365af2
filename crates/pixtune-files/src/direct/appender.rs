//! A file that grows line by line, past the page cache where the system can.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::aligned::{ALIGNMENT, direct};
use super::writer::Block;

/// Sizes of an [`Appender`].
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Short pieces are gathered up to this many bytes while the file is small.
    gathered: usize,
    /// From this length on a file is written past the page cache.
    direct_from: u64,
    /// Bytes of a block there; a multiple of [`ALIGNMENT`].
    block: usize,
}

const SIZES: Sizes = Sizes { gathered: 256 << 10, direct_from: 8 << 20, block: 4 << 20 };

/// A file that is appended to. Small files go through the page cache. Of a large one, whole blocks go past it: the pages of a file
/// of gigabytes would have to be found, filled and given back one by one.
#[derive(Debug)]
pub struct Appender {
    file: File,
    path: PathBuf,
    sizes: Sizes,
    /// The same file opened for direct writes; none before it is large, or where they do not work.
    direct: Option<File>,
    refuses_direct: bool,
    /// The end of the file, from `start` on.
    block: Block,
    start: u64,
    /// Bytes of the block that are in the file.
    flushed: usize,
}

impl Appender {
    /// Appends to a file of this length, which is open for reading and writing; what is behind it is cut off.
    pub fn new(path: &Path, file: File, length: u64) -> io::Result<Appender> {
        Appender::with_sizes(path, file, length, SIZES)
    }

    fn with_sizes(path: &Path, file: File, length: u64, sizes: Sizes) -> io::Result<Appender> {
        file.set_len(length)?;
        let block = Block::with_room(sizes.gathered);
        let path = path.to_owned();
        Ok(Appender {
            file,
            path,
            sizes,
            direct: None,
            refuses_direct: false,
            block,
            start: length,
            flushed: 0,
        })
    }

    /// Appends bytes, which are in the file after the next [`Appender::flush`] at the latest.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.direct.is_none() && !self.refuses_direct && self.end() >= self.sizes.direct_from {
            self.become_direct()?;
        }
        if self.direct.is_none() {
            return self.gather(bytes);
        }
        while !bytes.is_empty() {
            let room = self.block.free();
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.block.advance(now.len());
            bytes = later;
            if self.block.free().is_empty() {
                self.write_block()?;
            }
        }
        Ok(())
    }

    /// Bytes that are not in the file yet.
    pub fn waiting(&self) -> usize {
        self.block.bytes().len() - self.flushed
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.waiting() > 0 {
            self.file.seek(SeekFrom::Start(self.start + self.flushed as u64))?;
            self.file.write_all(&self.block.bytes()[self.flushed..])?;
            self.flushed = self.block.bytes().len();
        }
        // The block of a large file is kept: it goes past the page cache as a whole if little of it was written here.
        if self.direct.is_none() {
            self.start += self.flushed as u64;
            self.flushed = 0;
            self.block.clear();
        }
        Ok(())
    }

    /// The length of the file with what waits.
    fn end(&self) -> u64 {
        self.start + self.block.bytes().len() as u64
    }

    /// Appends to a small file: a long piece is not copied.
    fn gather(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.block.free().len() {
            self.flush()?;
        }
        if bytes.len() > self.block.room() / 4 {
            self.flush()?;
            self.file.seek(SeekFrom::Start(self.start))?;
            self.file.write_all(bytes)?;
            self.start += bytes.len() as u64;
        } else {
            self.block.free()[..bytes.len()].copy_from_slice(bytes);
            self.block.advance(bytes.len());
        }
        Ok(())
    }

    /// Opens the file for direct writes, from the last aligned byte on.
    fn become_direct(&mut self) -> io::Result<()> {
        self.flush()?;
        self.refuses_direct = true;
        let can = cfg!(target_os = "linux") && self.sizes.block.is_multiple_of(ALIGNMENT);
        let Some(opened) =
            can.then(|| direct(OpenOptions::new().write(true)).open(&self.path).ok()).flatten()
        else {
            return Ok(());
        };
        let mut block = Block::with_room(self.sizes.block);
        let behind = (self.start % ALIGNMENT as u64) as usize;
        self.file.seek(SeekFrom::Start(self.start - behind as u64))?;
        self.file.read_exact(&mut block.free()[..behind])?;
        block.advance(behind);
        (self.start, self.flushed) = (self.start - behind as u64, behind);
        (self.block, self.direct, self.refuses_direct) = (block, Some(opened), false);
        Ok(())
    }

    /// Writes a full block, past the page cache unless most of it went through it.
    fn write_block(&mut self) -> io::Result<()> {
        let few = self.flushed <= self.block.room() / 8;
        if let Some(file) = self.direct.as_mut().filter(|_| few) {
            let written =
                file.seek(SeekFrom::Start(self.start)).and_then(|_| file.write_all(self.block.bytes()));
            match written {
                Ok(()) => self.flushed = self.block.bytes().len(),
                // A file system that requires another alignment.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    (self.direct, self.refuses_direct) = (None, true);
                    return self.flush();
                }
                Err(error) => return Err(error),
            }
        }
        self.flush()?;
        if self.direct.is_some() {
            (self.start, self.flushed) = (self.end(), 0);
            self.block.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_pieces_of_any_length_with_any_flushes() {
        let sizes = Sizes { gathered: 64, direct_from: 10_000, block: 2 * ALIGNMENT };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut seed = 1_u64;
        let mut random = |most: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % most
        };
        for round in 0..30 {
            let mut expected: Vec<u8> = Vec::new();
            let open =
                || File::options().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            let mut file = Appender::with_sizes(&path, open(), 0, sizes).unwrap();
            for _ in 0..200 {
                let longest = if random(8) == 0 { 30_000 } else { 90 };
                let length = random(longest);
                let piece: Vec<u8> = (0..length).map(|at| (at * 7 + random(256)) as u8).collect();
                file.append(&piece).unwrap();
                expected.extend_from_slice(&piece);
                if random(10) == 0 {
                    file.flush().unwrap();
                    assert_eq!(file.waiting(), 0);
                    assert!(std::fs::read(&path).unwrap() == expected, "round {round}");
                }
                if random(40) == 0 {
                    file.flush().unwrap();
                    // Continues somewhere before the end, as a run that was killed does.
                    expected.truncate(expected.len() - random(expected.len() as u64 / 3 + 1) as usize);
                    file = Appender::with_sizes(&path, open(), expected.len() as u64, sizes).unwrap();
                }
            }
            file.flush().unwrap();
            assert!(std::fs::read(&path).unwrap() == expected, "round {round}");
        }
    }
}
