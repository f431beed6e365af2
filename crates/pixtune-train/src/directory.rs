//! The directory of a run: one run at a time, and files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::TrainError;

/// Names inside the directory.
pub mod names {
    /// The adapter to use: the best one where there is validation, else the last.
    pub const ADAPTER: &str = "adapter";
    /// A directory for each checkpoint.
    pub const CHECKPOINTS: &str = "checkpoints";
    /// A line for each step and each evaluation.
    pub const METRICS: &str = "metrics.jsonl";
    /// Every resolved setting.
    pub const PLAN: &str = "plan.json";
    /// The curves.
    pub const REPORT: &str = "report.html";
    /// Held while a run works.
    pub const LOCK: &str = ".lock";
}

/// What to do with what is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Refuse it.
    Fresh,
    /// Replace what another run made.
    Replace,
    /// Go on with it.
    Resume,
}

/// The directory, held against a second run.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes or opens the directory.
    pub fn open(path: &Path, start: Start) -> Result<Directory, TrainError> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries.count(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(TrainError::Write { path: path.to_owned(), source }),
        };
        let lock_alone = entries == 1 && path.join(names::LOCK).exists();
        let is_run = path.join(names::PLAN).is_file();
        match start {
            _ if entries == 0 || lock_alone => {}
            Start::Fresh => return Err(TrainError::Exists { path: path.to_owned() }),
            _ if !is_run => return Err(TrainError::Foreign { path: path.to_owned() }),
            Start::Replace | Start::Resume => {}
        }
        let directory = Directory::lock(path)?;
        if start == Start::Replace {
            directory.clear().map_err(|source| TrainError::Write { path: path.to_owned(), source })?;
        }
        Ok(directory)
    }

    fn lock(path: &Path) -> Result<Directory, TrainError> {
        let failed = |source| TrainError::Write { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::create(path.join(names::LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(TrainError::Locked { path: path.to_owned() }),
            // A file system without locks: go on without one.
            Err(fs::TryLockError::Error(_)) => {}
        }
        Ok(Directory { path: path.to_owned(), _lock: lock })
    }

    /// Removes what runs make, and nothing else.
    fn clear(&self) -> io::Result<()> {
        for name in [names::PLAN, names::METRICS, names::REPORT] {
            remove(&self.path.join(name))?;
        }
        for name in [names::ADAPTER, names::CHECKPOINTS] {
            remove(&self.path.join(name))?;
        }
        Ok(())
    }

    /// A path inside.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file beside its place, makes it durable and renames it.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.join(name);
        write_whole(&path, bytes).map_err(|source| TrainError::Write { path, source })
    }

    /// Lets `make` fill a directory beside its place, makes it durable and puts it there; what was there goes afterwards.
    pub fn write_directory(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let place = self.join(name);
        let beside = |end: &str| place.with_file_name(format!(".{}.{end}", file_name(&place)));
        let (partial, replaced) = (beside("partial"), beside("replaced"));
        let failed = |source| TrainError::Write { path: place.clone(), source };
        let made = (|| {
            remove(&partial).and_then(|()| fs::create_dir_all(&partial)).map_err(failed)?;
            make(&partial)?;
            sync_all(&partial).map_err(failed)
        })();
        if let Err(error) = made {
            // The disk may be full: what is not whole must not take the room.
            let _ = remove(&partial);
            return Err(error);
        }
        let swap = || {
            remove(&replaced)?;
            if place.exists() {
                fs::rename(&place, &replaced)?;
            }
            fs::rename(&partial, &place)?;
            if let Some(parent) = place.parent() {
                sync_directory(parent);
            }
            remove(&replaced)
        };
        swap().map_err(failed)
    }
}

impl Drop for Directory {
    /// A directory in which nothing was written goes with the run. Elsewhere the lock file stays: removing it would let a third
    /// run in beside one that has just opened it.
    fn drop(&mut self) {
        if fs::read_dir(&self.path).is_ok_and(|entries| entries.count() == 1) {
            let _ = fs::remove_file(self.join(names::LOCK));
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Removes a file or a directory that may be there.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_file_name(format!(".{}.partial", file_name(path)));
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    match written.and_then(|()| fs::rename(&partial, path)) {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = remove(&partial);
            Err(error)
        }
    }
}

fn sync_all(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync_directory(directory);
    Ok(())
}

/// Directories can be synced on Unix only, and some file systems refuse even there; the rename is atomic anyway.
fn sync_directory(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, start: Start) -> Result<Directory, TrainError> {
        Directory::open(path, start)
    }

    #[test]
    fn one_run_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("a/out");
        let first = open(&out, Start::Fresh).unwrap();
        assert!(matches!(open(&out, Start::Fresh), Err(TrainError::Locked { .. })));
        drop(first);
        open(&out, Start::Fresh).unwrap();
    }

    #[test]
    fn what_is_there_stays_unless_a_run_made_it() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path();
        fs::write(out.join("mine.txt"), "x").unwrap();
        assert!(matches!(open(out, Start::Fresh), Err(TrainError::Exists { .. })));
        assert!(matches!(open(out, Start::Replace), Err(TrainError::Foreign { .. })));
        assert!(matches!(open(out, Start::Resume), Err(TrainError::Foreign { .. })));
        fs::write(out.join(names::PLAN), "{}").unwrap();
        open(out, Start::Replace).unwrap();
        assert!(out.join("mine.txt").exists() && !out.join(names::PLAN).exists());
    }

    #[test]
    fn a_directory_that_fails_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let run = open(directory.path(), Start::Fresh).unwrap();
        let write = |text: &'static str| {
            move |path: &Path| {
                fs::write(path.join("file"), text)
                    .map_err(|source| TrainError::Write { path: path.to_owned(), source })
            }
        };
        run.write_directory("adapter", write("one")).unwrap();
        run.write_directory("adapter", write("two")).unwrap();
        let full = |_: &Path| Err(TrainError::NoCheckpoint { path: PathBuf::new() });
        run.write_directory("adapter", full).unwrap_err();
        assert_eq!(fs::read_to_string(run.join("adapter/file")).unwrap(), "two");
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
