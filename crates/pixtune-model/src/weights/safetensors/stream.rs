//! Reading a file once from one end to the other: from the page cache what is there, past it what is not.
//!
//! A checkpoint that is larger than the memory would push everything else out of the page cache, itself included. What
//! another program has just written or read still comes from memory.

use std::fs::File;
use std::io;

use super::{SafetensorsError, SafetensorsFile, read_exact_at};
use crate::weights::aligned::{ALIGNMENT, Aligned};

/// Bytes that are read past the cache at a time.
const WINDOW: usize = 4 << 20;

/// The part of a file that was read last. One serves any number of files, one after the other.
#[derive(Debug, Default)]
pub struct Window {
    buffer: Option<Aligned>,
    /// The file it is of.
    file: u64,
    start: u64,
    length: usize,
}

impl SafetensorsFile {
    /// Fills `buffer` from a place in the file. Places that follow each other are read in large pieces.
    pub fn stream_at(
        &self,
        window: &mut Window,
        mut buffer: &mut [u8],
        mut offset: u64,
    ) -> Result<(), SafetensorsError> {
        let error = |source| SafetensorsError::Io { path: self.path.clone(), source };
        while !buffer.is_empty() {
            let mut read = window.copy(self, buffer, offset);
            if read == 0 {
                read = cached(&self.file, buffer, offset);
            }
            if read == 0 && self.refill(window, offset).map_err(error)? {
                read = window.copy(self, buffer, offset);
            }
            if read == 0 {
                return read_exact_at(&self.file, buffer, offset).map_err(error);
            }
            buffer = &mut buffer[read..];
            offset += read as u64;
        }
        Ok(())
    }

    /// Reads the part around a place past the cache. False where the system has no such way.
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
            // A file system that wants another alignment.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Window {
    /// Copies what it has of this place; how many bytes.
    fn copy(&self, file: &SafetensorsFile, target: &mut [u8], offset: u64) -> usize {
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

/// Reads what the page cache holds from a place on; 0 bytes where it holds nothing or cannot be asked.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn cached(file: &File, buffer: &mut [u8], offset: u64) -> usize {
    use std::os::fd::AsRawFd as _;
    let Ok(offset) = libc::off64_t::try_from(offset) else { return 0 };
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: the vector names memory of `buffer`, which is borrowed for writing until the call returns.
    let read = unsafe { libc::preadv64v2(file.as_raw_fd(), &raw const part, 1, offset, libc::RWF_NOWAIT) };
    // Whatever fails here fails again, and is told, where the file itself is read.
    usize::try_from(read).unwrap_or(0)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn cached(_: &File, _: &mut [u8], _: u64) -> usize {
    0
}

/// The same file, opened so that it is read past the cache.
#[cfg(target_os = "linux")]
fn open_direct(file: &File) -> Option<File> {
    use std::os::fd::AsRawFd as _;
    let same = format!("/proc/self/fd/{}", file.as_raw_fd());
    crate::weights::aligned::past_the_cache(std::fs::OpenOptions::new().read(true)).open(same).ok()
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
