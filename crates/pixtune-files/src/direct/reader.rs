//! A file read from one offset after another: from the page cache what is there, past it what is not. And one that is read past
//! the page cache, block by block.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::aligned::{ALIGNMENT, Aligned, direct};
use super::writer::Block;

/// Bytes of one direct read.
const WINDOW: usize = 4 << 20;

/// An open file that can be read directly.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    /// No two open files have the same.
    id: u64,
    /// The same file opened for direct reads, if the system can.
    direct: OnceLock<Option<File>>,
}

/// How many files were opened.
static OPENED: AtomicU64 = AtomicU64::new(1);

/// The part of a file that was read last. One window serves any number of files, one after the other.
#[derive(Debug, Default)]
pub struct Window {
    buffer: Option<Aligned>,
    /// The file that the bytes are of.
    file: u64,
    start: u64,
    length: usize,
}

impl DirectFile {
    /// Wraps a file that is open for reading.
    pub fn new(file: File) -> DirectFile {
        DirectFile { file, id: OPENED.fetch_add(1, Ordering::Relaxed), direct: OnceLock::new() }
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Fills a buffer from an offset, through the page cache.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        read_exact_at(&self.file, buffer, offset)
    }

    /// Fills a buffer from an offset, past the page cache where the bytes are not in it. Offsets that follow each other
    /// are read in large pieces.
    pub fn stream_at(&self, window: &mut Window, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let mut read = window.copy(self, buffer, offset);
            if read == 0 {
                read = cached(&self.file, buffer, offset);
            }
            if read == 0 && self.refill(window, offset)? {
                read = window.copy(self, buffer, offset);
            }
            if read == 0 {
                return read_exact_at(&self.file, buffer, offset);
            }
            buffer = &mut buffer[read..];
            offset += read as u64;
        }
        Ok(())
    }

    /// Reads the window around an offset directly. False where the system cannot.
    fn refill(&self, window: &mut Window, offset: u64) -> io::Result<bool> {
        let Some(direct) = self.direct.get_or_init(|| open_direct(&self.file)) else { return Ok(false) };
        let start = offset - offset % ALIGNMENT as u64;
        window.length = 0;
        let buffer = window.buffer.get_or_insert_with(|| Aligned::new(WINDOW));
        match read_some_at(direct, buffer.bytes_mut(), start) {
            Ok(length) => {
                (window.file, window.start, window.length) = (self.id, start, length);
                Ok(true)
            }
            // A file system that requires another alignment.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Window {
    /// Copies the bytes it has from an offset on; how many.
    fn copy(&self, file: &DirectFile, target: &mut [u8], offset: u64) -> usize {
        let Some(buffer) = &self.buffer else { return 0 };
        if self.file != file.id || offset < self.start {
            return 0;
        }
        let skipped = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let rest = buffer.bytes()[..self.length].get(skipped..).unwrap_or_default();
        let bytes = rest.len().min(target.len());
        target[..bytes].copy_from_slice(&rest[..bytes]);
        bytes
    }
}

/// A file that is read from its beginning to its end, past the page cache where the system can: what is read is on the disk.
#[derive(Debug)]
pub struct BlockReader {
    file: File,
    /// The same file opened for direct reads, while those work.
    direct: Option<File>,
    offset: u64,
}

impl BlockReader {
    /// Opens a file.
    pub fn open(path: &Path) -> io::Result<BlockReader> {
        let file = File::open(path)?;
        let direct = open_direct(&file);
        Ok(BlockReader { file, direct, offset: 0 })
    }

    /// Reads the next bytes into an empty block until it is full or the file ends. The room of every block is a multiple of
    /// 4,096 bytes, as direct reads need it.
    pub fn read(&mut self, block: &mut Block) -> io::Result<()> {
        while !block.free().is_empty() {
            let read = match &self.direct {
                Some(direct) => read_some_at(direct, block.free(), self.offset),
                None => read_some_at(&self.file, block.free(), self.offset),
            };
            match read {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    block.advance(read);
                    self.offset += read as u64;
                }
                // The end of the file, or a file system that requires another alignment.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput && self.direct.is_some() => {
                    self.direct = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Reads the bytes that the page cache holds from an offset on; none where it holds nothing or cannot be asked.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn cached(file: &File, buffer: &mut [u8], offset: u64) -> usize {
    use std::os::fd::AsRawFd as _;
    let Ok(position) = libc::off64_t::try_from(offset) else { return 0 };
    // A read that may not wait starts to fill the cache all the same.
    if cached_pages(file, offset, buffer.len()) == Some(0) {
        return 0;
    }
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: the vector names memory of `buffer`, which is borrowed for writing until the call returns.
    let read = unsafe { libc::preadv64v2(file.as_raw_fd(), &raw const part, 1, position, libc::RWF_NOWAIT) };
    // An error here comes again, and is reported, where the file itself is read.
    usize::try_from(read).unwrap_or(0)
}

/// The number of `cachestat`, the same on every architecture; `libc` lacks it for some.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const CACHESTAT: libc::c_long = 451;

/// How many pages of a range of a file are in the page cache; `None` where the system does not tell.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn cached_pages(file: &File, offset: u64, length: usize) -> Option<u64> {
    use std::os::fd::AsRawFd as _;
    let range = [offset, length as u64];
    // Pages in the cache, dirty, being written, evicted, and evicted recently.
    let mut pages = [0_u64; 5];
    // SAFETY: the call reads two numbers and writes five, whose memory is borrowed until it returns.
    let result = unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range.as_ptr(), pages.as_mut_ptr(), 0) };
    (result == 0).then_some(pages[0])
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn cached(_: &File, _: &mut [u8], _: u64) -> usize {
    0
}

#[cfg(target_os = "linux")]
fn open_direct(file: &File) -> Option<File> {
    use std::os::fd::AsRawFd as _;
    let same = format!("/proc/self/fd/{}", file.as_raw_fd());
    direct(std::fs::OpenOptions::new().read(true)).open(same).ok()
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_: &File) -> Option<File> {
    None
}

#[cfg(unix)]
fn read_some_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_some_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_some_at(file, buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_the_same_bytes_from_any_offset() {
        let directory = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> =
            (0..9_000_001u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let open = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            DirectFile::new(File::open(path).unwrap())
        };
        let (one, other) = (open("one", &bytes), open("other", &bytes[5..]));
        let mut window = Window::default();
        for (start, length) in [(0, 10), (10, 5_000_000), (4095, 2), (8_999_000, 1001), (1, 8_999_999)] {
            let mut read = vec![0; length];
            one.stream_at(&mut window, &mut read, start as u64).unwrap();
            assert!(read == bytes[start..start + length], "{start} + {length}");
            let length = length.min(bytes.len() - 5 - start);
            other.stream_at(&mut window, &mut read[..length], start as u64).unwrap();
            assert!(read[..length] == bytes[start + 5..start + 5 + length], "other file, {start} + {length}");
        }
        let past_the_end = one.stream_at(&mut window, &mut [0; 2], 9_000_000);
        assert_eq!(past_the_end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn reads_files_of_any_length_in_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for length in [0, 1, 4096, 10_000, 2 * ALIGNMENT * 4, 2 * ALIGNMENT * 4 + 1] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let mut reader = BlockReader::open(&path).unwrap();
            let (mut block, mut read) = (Block::with_room(2 * ALIGNMENT), Vec::new());
            loop {
                block.clear();
                reader.read(&mut block).unwrap();
                if block.bytes().is_empty() {
                    break;
                }
                read.extend_from_slice(block.bytes());
            }
            assert!(read == bytes, "{length} bytes");
        }
    }
}
