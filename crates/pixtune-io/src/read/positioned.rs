//! Reading a file from a given byte on, whatever other readers of the same file do meanwhile.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;

/// A stream of a file's bytes with a position of its own.
#[derive(Debug)]
pub(crate) struct ReadFrom<F> {
    pub(crate) file: F,
    /// The next byte.
    pub(crate) at: u64,
}

impl<F: Deref<Target = File>> Read for ReadFrom<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.at)?;
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(&*self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
