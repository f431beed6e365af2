//! A file as a stream of blocks: one thread fills them, another writes them past the page cache where the system lets it.
//!
//! Without a second copy in the page cache the processor touches every byte once less, memory that others need stays
//! theirs, and what is slow is the disk itself, as the progress tells it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::weights::aligned::{ALIGNMENT, Aligned, past_the_cache};

/// Bytes of a block: as much as a disk takes at full speed in one request.
pub const BLOCK: usize = 8 << 20;

/// Smaller files go through the page cache.
const DIRECT_FROM: u64 = 4 * BLOCK as u64;

/// A part of a file.
#[derive(Debug)]
pub struct Block {
    buffer: Aligned,
    length: usize,
}

impl Block {
    /// An empty one.
    pub fn new() -> Block {
        Block { buffer: Aligned::new(BLOCK), length: 0 }
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[..self.length]
    }

    /// The part that is still free; [`Block::add`] says how much of it was filled.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes_mut()[self.length..]
    }

    /// The first bytes of the room now belong to it.
    pub fn add(&mut self, bytes: usize) {
        self.length = (self.length + bytes).min(BLOCK);
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.length = 0;
    }
}

/// A file that is written block by block, each but the last one full.
#[derive(Debug)]
pub struct BlockFile {
    path: PathBuf,
    file: File,
    direct: bool,
    at: u64,
}

impl BlockFile {
    /// Makes a file, which will have this length.
    pub fn create(path: &Path, length: u64) -> io::Result<BlockFile> {
        let new = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            options
        };
        let direct = if length < DIRECT_FROM { None } else { past_the_cache(&mut new()).open(path).ok() };
        let (file, direct) = match direct {
            Some(file) => (file, cfg!(target_os = "linux")),
            None => (new().open(path)?, false),
        };
        Ok(BlockFile { path: path.to_owned(), file, direct, at: 0 })
    }

    /// Writes the next bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.direct && !bytes.is_empty() {
            let whole = &bytes[..bytes.len() - bytes.len() % ALIGNMENT];
            let written = match whole.is_empty() {
                true => Err(io::ErrorKind::InvalidInput.into()),
                false => self.file.write(whole),
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.at += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The end of the file, or a file system that wants another alignment.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.go_through_the_cache()?,
                Err(error) => return Err(error),
            }
        }
        self.file.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Brings everything to the disk.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn go_through_the_cache(&mut self) -> io::Result<()> {
        self.file = OpenOptions::new().write(true).open(&self.path)?;
        self.file.seek(SeekFrom::Start(self.at))?;
        self.direct = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file of this length in full blocks and reads it back.
    fn check(length: usize) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let wanted: Vec<u8> = (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut file = BlockFile::create(&path, length as u64).unwrap();
        let mut block = Block::new();
        for part in wanted.chunks(BLOCK) {
            block.clear();
            block.room()[..part.len()].copy_from_slice(part);
            block.add(part.len());
            assert!(block.bytes().as_ptr().addr().is_multiple_of(ALIGNMENT));
            file.write(block.bytes()).unwrap();
        }
        file.finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == wanted, "{length} bytes");
    }

    #[test]
    fn files_of_any_length_are_whole() {
        for length in [0, 1, BLOCK, DIRECT_FROM as usize, DIRECT_FROM as usize + 5000, 5 * BLOCK - 1] {
            check(length);
        }
    }
}
