//! The directory that a conversion writes: which targets are refused, and what goes into it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_files::{Existing, Occupant, WholeDirectory};

use super::ConvertError;

/// The report of a conversion. A directory that has one was written by pixtune and may be replaced.
pub const REPORT: &str = "conversion_report.json";

/// Refuses targets that a run must not write to, before any work is done.
pub fn check_target(sources: &[&Path], target: &Path, existing: Existing) -> Result<(), ConvertError> {
    let real = fs::canonicalize(target).ok();
    for source in sources {
        let source_real = fs::canonicalize(source).unwrap_or_else(|_| source.to_path_buf());
        if real.as_deref().unwrap_or(target) == source_real {
            return Err(ConvertError::SamePlace { path: target.to_owned() });
        }
        if real.as_deref().is_some_and(|real| source_real.starts_with(real)) {
            return Err(ConvertError::Contains {
                path: target.to_owned(),
                source_path: source.to_path_buf(),
            });
        }
    }
    let path = target.to_owned();
    let occupant = Occupant::of(target, REPORT).map_err(|source| write_error(target, source))?;
    match (occupant, existing) {
        (Occupant::Nothing, _) | (Occupant::Ours, Existing::Replace) => Ok(()),
        (Occupant::Ours | Occupant::Foreign, Existing::Keep) => Err(ConvertError::Exists { path }),
        (Occupant::Foreign, Existing::Replace) => Err(ConvertError::Foreign { path }),
        (Occupant::NotADirectory, _) => Err(ConvertError::NotADirectory { path }),
    }
}

/// The output while it is made: it appears whole or not at all.
#[derive(Debug)]
pub struct OutputDirectory {
    directory: WholeDirectory,
    target: PathBuf,
}

impl OutputDirectory {
    /// Starts the output that will have this name.
    pub fn create(target: &Path) -> Result<OutputDirectory, ConvertError> {
        Ok(OutputDirectory { directory: WholeDirectory::create(target)?, target: target.to_owned() })
    }

    /// Where to write until it is committed.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a small file.
    pub fn write(&self, name: &str, text: &[u8]) -> Result<(), ConvertError> {
        fs::write(self.path().join(name), text).map_err(|source| write_error(&self.target.join(name), source))
    }

    /// Copies a small file.
    pub fn copy(&self, from: &Path, name: &str) -> Result<(), ConvertError> {
        let bytes = fs::read(from).map_err(|source| ConvertError::Read { path: from.to_owned(), source })?;
        self.write(name, &bytes)
    }

    /// Gives the output its name.
    pub fn commit(self) -> Result<(), ConvertError> {
        self.directory.commit().map_err(|source| write_error(&self.target, source))
    }
}

pub(super) fn write_error(path: &Path, source: io::Error) -> ConvertError {
    ConvertError::Write { path: path.to_owned(), source }
}
