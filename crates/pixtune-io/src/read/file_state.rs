//! Files that are not read from the first byte to the last: which file was opened, and its fingerprint.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Fingerprint, ReadError};
use crate::remote;

/// A file as it was when it was opened.
#[derive(Debug, Clone)]
pub(crate) struct FileState {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
    /// The version of an object in a store, which names its content.
    version: Option<String>,
}

impl FileState {
    /// The state of a file now.
    pub(crate) fn of(path: &Path) -> Result<FileState, ReadError> {
        if remote::is_remote(path) {
            let object = remote::open(path).map_err(|error| broken(path, error.into()))?;
            let (length, version) = (object.length(), object.version().map(str::to_owned));
            return Ok(FileState { path: path.to_owned(), length, modified: None, version });
        }
        let about = fs::metadata(path).map_err(|source| broken(path, source))?;
        let (length, modified) = (about.len(), about.modified().ok());
        Ok(FileState { path: path.to_owned(), length, modified, version: None })
    }

    /// What changes with the file: length and time of its last change, or the version of an object.
    pub(crate) fn mark(&self) -> String {
        let since = self.modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let since = since.map(|since| since.as_nanos().to_string());
        format!("{} {}", self.length, self.version.clone().or(since).unwrap_or_default())
    }

    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The fingerprint of the file, which must still be the one that was opened. It costs a pass over the file, but not over an
    /// object: whoever read it has read one version.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint, ReadError> {
        if remote::is_remote(&self.path) {
            let version = self.version.clone();
            return Ok(Fingerprint { bytes: self.length, blake3: String::new(), version });
        }
        let mut hash = blake3::Hasher::new();
        let copied = File::open(&self.path).and_then(|mut file| io::copy(&mut file, &mut hash));
        let bytes = copied.map_err(|source| broken(&self.path, source))?;
        let now = FileState::of(&self.path)?;
        if (now.length, now.modified) != (self.length, self.modified) {
            return Err(ReadError::Changed { path: self.path.clone() });
        }
        Ok(Fingerprint { bytes, blake3: hash.finalize().to_hex().to_string(), version: None })
    }
}

fn broken(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io { path: path.to_owned(), source }
}
