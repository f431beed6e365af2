//! A directory that appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::ConvertError;

/// The file that says how a directory came about; a directory that holds one is ours to replace.
pub const REPORT: &str = "conversion_report.json";

/// A directory in the making, beside its final place, locked against a second run. It goes away again unless it is
/// [committed](OutputDirectory::commit).
#[derive(Debug)]
pub struct OutputDirectory {
    work: PathBuf,
    target: PathBuf,
    lock: Option<File>,
    committed: bool,
}

/// Whether an output that exists may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It may not.
    Keep,
    /// It may, if it was written by pixtune.
    Replace,
}

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
    let about = match fs::symlink_metadata(target) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(write_error(target, source)),
    };
    if !about.is_dir() {
        return Err(ConvertError::NotADirectory { path: target.to_owned() });
    }
    let mut entries = fs::read_dir(target).map_err(|source| write_error(target, source))?;
    if entries.next().is_none() {
        return Ok(());
    }
    match existing {
        Existing::Replace if target.join(REPORT).is_file() => Ok(()),
        Existing::Replace => Err(ConvertError::Foreign { path: target.to_owned() }),
        Existing::Keep => Err(ConvertError::Exists { path: target.to_owned() }),
    }
}

impl OutputDirectory {
    /// Makes `TARGET.partial`; what an interrupted run left there is removed.
    pub fn create(target: &Path) -> Result<OutputDirectory, ConvertError> {
        let mut name = match target.file_name() {
            Some(name) => name.to_owned(),
            None => return Err(ConvertError::NotADirectory { path: target.to_owned() }),
        };
        name.push(".partial");
        let work = target.with_file_name(name);
        fs::create_dir_all(&work).map_err(|source| write_error(&work, source))?;
        let lock_path = work.join(LOCK);
        let lock = File::create(&lock_path).map_err(|source| write_error(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(ConvertError::Locked { path: work }),
            // A file system without locks: go on without one.
            Err(fs::TryLockError::Error(_)) => {}
        }
        let directory =
            OutputDirectory { work, target: target.to_owned(), lock: Some(lock), committed: false };
        directory.clear().map_err(|source| write_error(&directory.work, source))?;
        Ok(directory)
    }

    /// Where to write for now.
    pub fn path(&self) -> &Path {
        &self.work
    }

    /// Writes a small file.
    pub fn write(&self, name: &str, text: &[u8]) -> Result<(), ConvertError> {
        let path = self.work.join(name);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(text)?;
            file.sync_all()
        });
        written.map_err(|source| write_error(&self.target.join(name), source))
    }

    /// Copies a small file.
    pub fn copy(&self, from: &Path, name: &str) -> Result<(), ConvertError> {
        let bytes = fs::read(from).map_err(|source| ConvertError::Read { path: from.to_owned(), source })?;
        self.write(name, &bytes)
    }

    /// Moves everything to its final place.
    pub fn commit(mut self) -> Result<(), ConvertError> {
        let rename_error = |source| write_error(&self.target, source);
        drop(self.lock.take());
        fs::remove_file(self.work.join(LOCK)).map_err(rename_error)?;
        sync_directory(&self.work);
        let mut replaced = self.work.clone().into_os_string();
        replaced.push(".replaced");
        let replaced = PathBuf::from(replaced);
        let has_old = self.target.join(REPORT).exists();
        if has_old {
            fs::rename(&self.target, &replaced).map_err(rename_error)?;
        }
        // An empty directory gives way to the rename.
        fs::rename(&self.work, &self.target).map_err(rename_error)?;
        self.committed = true;
        sync_directory(self.target.parent().unwrap_or(Path::new(".")));
        if has_old {
            fs::remove_dir_all(&replaced).map_err(|source| write_error(&replaced, source))?;
        }
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.work)? {
            let entry = entry?;
            if entry.file_name() != LOCK {
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
        }
        Ok(())
    }
}

impl Drop for OutputDirectory {
    fn drop(&mut self) {
        if !self.committed {
            // A run that failed gives the disk back; there is nobody left to tell if that fails too.
            let _ = fs::remove_dir_all(&self.work);
        }
    }
}

const LOCK: &str = ".lock";

/// Makes a rename last through a power cut, where the system can; a file system that cannot is no reason to fail.
fn sync_directory(directory: &Path) {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

pub(super) fn write_error(path: &Path, source: io::Error) -> ConvertError {
    ConvertError::Write { path: path.to_owned(), source }
}
