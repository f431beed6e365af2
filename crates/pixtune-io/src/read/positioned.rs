//! Reading a file from a given byte on, whatever other readers of the same file do meanwhile.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crate::remote::{self, Object, RemoteError};

/// Bytes that are read by position.
pub trait ReadAt {
    /// Reads bytes at a position: at least one, unless there are none.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(self, buffer, at);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(self, buffer, at);
    }
}

/// An open file, or an object in a store.
#[derive(Debug)]
pub(crate) enum AnyFile {
    /// A file of this machine.
    Local(File),
    /// An object.
    Object(Arc<Object>),
}

impl AnyFile {
    /// Opens a path or URL.
    pub(crate) fn open(path: &Path) -> io::Result<AnyFile> {
        match remote::is_remote(path) {
            true => Ok(AnyFile::Object(remote::open(path)?)),
            false => Ok(AnyFile::Local(File::open(path)?)),
        }
    }

    /// Its bytes.
    pub(crate) fn length(&self) -> io::Result<u64> {
        match self {
            AnyFile::Local(file) => Ok(file.metadata()?.len()),
            AnyFile::Object(object) => Ok(object.length()),
        }
    }

    /// Fails unless parts of it can be read by themselves, as a format needs it.
    pub(crate) fn require_ranges(&self, format: &'static str) -> Result<(), RemoteError> {
        match self {
            AnyFile::Local(_) => Ok(()),
            AnyFile::Object(object) => object.require_ranges(format),
        }
    }
}

impl ReadAt for AnyFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            AnyFile::Local(file) => file.read_at(buffer, at),
            AnyFile::Object(object) => object.read_at(buffer, at),
        }
    }
}

/// A stream of a file's bytes with a position of its own.
#[derive(Debug)]
pub(crate) struct ReadFrom<F> {
    pub(crate) file: F,
    /// The next byte.
    pub(crate) at: u64,
}

impl<F: Deref<Target: ReadAt>> Read for ReadFrom<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
