//! A file written block by block, past the page cache where the system can.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::aligned::{ALIGNMENT, Aligned, direct};

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
    /// An empty block.
    pub fn empty() -> Block {
        Block::with_room(BLOCK)
    }

    /// An empty block for this many bytes.
    pub fn with_room(bytes: usize) -> Block {
        Block { buffer: Aligned::new(bytes), length: 0 }
    }

    /// The bytes that it has room for in all.
    pub fn room(&self) -> usize {
        self.buffer.bytes().len()
    }

    /// The bytes that are filled.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[..self.length]
    }

    /// The part that is still free; [`Block::advance`] marks its beginning as filled.
    pub fn free(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes_mut()[self.length..]
    }

    /// Marks the first bytes of the free part as filled.
    pub fn advance(&mut self, bytes: usize) {
        self.length = (self.length + bytes).min(self.room());
    }

    /// Empties the block.
    pub fn clear(&mut self) {
        self.length = 0;
    }
}

/// A file that is written in blocks, each but the last one full.
#[derive(Debug)]
pub struct BlockWriter {
    path: PathBuf,
    file: File,
    direct: bool,
    offset: u64,
}

impl BlockWriter {
    /// Creates a file that will have this length. Large ones have it at once where the system can reserve space.
    pub fn create(path: &Path, length: u64) -> io::Result<BlockWriter> {
        let new = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            options
        };
        let opened = if length < DIRECT_FROM { None } else { direct(&mut new()).open(path).ok() };
        let (file, direct) = match opened {
            Some(file) => {
                reserve(&file, length)?;
                (file, cfg!(target_os = "linux"))
            }
            None => (new().open(path)?, false),
        };
        Ok(BlockWriter { path: path.to_owned(), file, direct, offset: 0 })
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
                    self.offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The end of the file, or a file system that requires another alignment.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.leave_direct()?,
                Err(error) => return Err(error),
            }
        }
        self.file.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Syncs the file.
    pub fn sync(self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Writes the rest through the page cache.
    fn leave_direct(&mut self) -> io::Result<()> {
        self.file = OpenOptions::new().write(true).open(&self.path)?;
        self.file.seek(SeekFrom::Start(self.offset))?;
        self.direct = false;
        Ok(())
    }
}

/// Reserves the space of a file. A full disk is an error here, before anything is written, and the file can be read while it is
/// written: a write that extends it would exclude all reads.
#[cfg(target_os = "linux")]
fn reserve(file: &File, length: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let Ok(length) = libc::off64_t::try_from(length) else { return Ok(()) };
    // SAFETY: the descriptor is open while `file` is borrowed.
    if unsafe { libc::fallocate64(file.as_raw_fd(), 0, 0, length) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => Err(error),
        // A file system that cannot reserve space.
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file of this length in full blocks and reads it back.
    fn check(length: usize) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let expected: Vec<u8> = (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut file = BlockWriter::create(&path, length as u64).unwrap();
        let mut block = Block::empty();
        for part in expected.chunks(BLOCK) {
            block.clear();
            block.free()[..part.len()].copy_from_slice(part);
            block.advance(part.len());
            assert!(block.bytes().as_ptr().addr().is_multiple_of(ALIGNMENT));
            file.write(block.bytes()).unwrap();
        }
        file.sync().unwrap();
        assert!(std::fs::read(&path).unwrap() == expected, "{length} bytes");
    }

    #[test]
    fn writes_files_of_any_length() {
        for length in [0, 1, BLOCK, DIRECT_FROM as usize, DIRECT_FROM as usize + 5000, 5 * BLOCK - 1] {
            check(length);
        }
    }
}
