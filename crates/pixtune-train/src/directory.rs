//! The output directory of a run: one run at a time, and files that appear whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_files::{DirectoryLock, Occupant, WholeDirectory, remove};

use crate::error::TrainError;

/// Names inside the directory.
pub mod names {
    /// The adapter: the best one if there is a validation split, else the last one.
    pub const ADAPTER: &str = "adapter";
    /// One directory per checkpoint.
    pub const CHECKPOINTS: &str = "checkpoints";
    /// One line per step and per evaluation.
    pub const METRICS: &str = "metrics.jsonl";
    /// Every resolved option.
    pub const PLAN: &str = "plan.json";
    /// The curves.
    pub const REPORT: &str = "report.html";
    /// Example responses of each evaluation.
    pub const SAMPLES: &str = "samples.jsonl";
    /// The directory with the metrics for TensorBoard.
    pub const EVENTS: &str = "tensorboard";
}

/// What to do with an existing output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Refuse it.
    Fresh,
    /// Replace the output of an earlier run.
    Replace,
    /// Continue the run that wrote it.
    Resume,
}

/// The output directory, locked against a second run.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: DirectoryLock,
}

impl RunDirectory {
    /// Creates or opens the directory and locks it.
    pub fn open(path: &Path, start: Start) -> Result<RunDirectory, TrainError> {
        let failed = |source| TrainError::Write { path: path.to_owned(), source };
        match (Occupant::of(path, names::PLAN).map_err(failed)?, start) {
            (Occupant::Nothing, Start::Resume) => {
                return Err(TrainError::NothingToResume { path: path.to_owned() });
            }
            (Occupant::Nothing, _) | (Occupant::Ours, Start::Replace | Start::Resume) => {}
            (Occupant::Ours | Occupant::Foreign, Start::Fresh) => {
                return Err(TrainError::Exists { path: path.to_owned() });
            }
            (Occupant::Foreign, Start::Replace | Start::Resume) => {
                return Err(TrainError::Foreign { path: path.to_owned() });
            }
            (Occupant::NotADirectory, _) => {
                return Err(TrainError::NotADirectory { path: path.to_owned() });
            }
        }
        fs::create_dir_all(path).map_err(failed)?;
        let directory = RunDirectory { path: path.to_owned(), _lock: DirectoryLock::acquire(path)? };
        if start == Start::Replace {
            directory.clear().map_err(failed)?;
        }
        Ok(directory)
    }

    /// Removes what a run writes, and nothing else.
    fn clear(&self) -> io::Result<()> {
        [
            names::PLAN,
            names::METRICS,
            names::REPORT,
            names::SAMPLES,
            names::EVENTS,
            names::ADAPTER,
            names::CHECKPOINTS,
        ]
        .iter()
        .try_for_each(|name| remove(&self.join(name)))
    }

    /// The path of an entry.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that appears whole or not at all.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.join(name);
        pixtune_files::write(&path, bytes).map_err(|source| TrainError::Write { path, source })
    }

    /// Lets `make` fill a directory that appears whole or not at all, in place of one that is there.
    pub fn write_directory(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        let path = self.join(name);
        let directory = WholeDirectory::create(&path)?;
        make(directory.path())?;
        directory.commit().map_err(|source| TrainError::Write { path, source })
    }
}

impl Drop for RunDirectory {
    /// Removes a directory in which nothing was written.
    fn drop(&mut self) {
        if fs::read_dir(&self.path).is_ok_and(|entries| entries.count() == 1) {
            let _ = fs::remove_file(self.join(DirectoryLock::FILE));
            let _ = fs::remove_dir(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, start: Start) -> Result<RunDirectory, TrainError> {
        RunDirectory::open(path, start)
    }

    #[test]
    fn locks_out_a_second_run() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("a/out");
        let first = open(&out, Start::Fresh).unwrap();
        assert!(matches!(open(&out, Start::Fresh), Err(TrainError::Locked { .. })));
        drop(first);
        open(&out, Start::Fresh).unwrap();
    }

    #[test]
    fn keeps_existing_files_that_no_run_wrote() {
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
    fn keeps_the_previous_directory_when_writing_fails() {
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
        let full = |_: &Path| Err(TrainError::Setting { reason: String::new() });
        run.write_directory("adapter", full).unwrap_err();
        assert_eq!(fs::read_to_string(run.join("adapter/file")).unwrap(), "two");
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
