//! A lock on a directory, held by one run at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds the lock.
    #[error("another run is writing `{}`", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
    },
    /// The directory or its lock file cannot be created.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A lock that ends when it is dropped or its process ends. Its file stays: removing it would let a third run in beside
/// one that has just opened it.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// The name of the lock file.
    pub const FILE: &str = ".lock";

    /// Locks a directory that exists. A file system without locks locks nothing.
    pub fn acquire(directory: &Path) -> Result<DirectoryLock, LockError> {
        let path = directory.join(DirectoryLock::FILE);
        let file = File::create(&path).map_err(|source| LockError::Io { path, source })?;
        match file.try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { path: directory.to_owned() }),
        }
    }
}
