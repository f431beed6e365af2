//! Files that are not read from the first byte to the last: which file was opened, and its fingerprint.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Fingerprint, ReadError};

/// A file as it was when it was opened.
#[derive(Debug, Clone)]
pub(super) struct FileState {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

impl FileState {
    /// The state of a file now.
    pub(super) fn of(path: &Path) -> Result<FileState, ReadError> {
        let about = fs::metadata(path).map_err(|source| broken(path, source))?;
        Ok(FileState { path: path.to_owned(), length: about.len(), modified: about.modified().ok() })
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The fingerprint of the file, which must still be the one that was opened. It costs a pass over the file.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, ReadError> {
        let mut hash = blake3::Hasher::new();
        let copied = File::open(&self.path).and_then(|mut file| io::copy(&mut file, &mut hash));
        let bytes = copied.map_err(|source| broken(&self.path, source))?;
        let now = FileState::of(&self.path)?;
        if (now.length, now.modified) != (self.length, self.modified) {
            return Err(ReadError::Changed { path: self.path.clone() });
        }
        Ok(Fingerprint { bytes, blake3: hash.finalize().to_hex().to_string() })
    }
}

fn broken(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io { path: path.to_owned(), source }
}
