//! The directory beside the output in which a run works: opened by one run at a time, published by a rename.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::manifest::{MANIFEST, summary_of};
use super::{Options, Plan, PrepareError, Summary, work_directory};
use crate::read::ReadError;

/// The directory beside the output in which the run works, locked against a second run.
pub(super) struct Work {
    /// The directory.
    pub(super) directory: PathBuf,
    out: PathBuf,
    _lock: File,
}

const PLAN: &str = "plan";
const FINAL: &str = "final";
const REPLACED: &str = "replaced";

/// Makes the directory in which the run works, its parents included.
pub(super) fn create_work_directory(options: &Options) -> Result<PathBuf, PrepareError> {
    let directory = work_directory(&options.out);
    fs::create_dir_all(&directory)
        .map_err(|source| PrepareError::Write { path: directory.clone(), source })?;
    Ok(directory)
}

impl Work {
    /// Opens the directory: an unfinished run of the same plan when resuming, else an empty one.
    pub(super) fn open(plan: &Plan) -> Result<Work, PrepareError> {
        let directory = create_work_directory(&plan.options)?;
        let write_error = |source| PrepareError::Write { path: directory.clone(), source };
        let lock = File::create(directory.join("lock")).map_err(write_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(PrepareError::Locked { path: directory }),
            // A file system without locks: go on without one.
            Err(fs::TryLockError::Error(_)) => {}
        }
        let kept = directory.join(PLAN);
        if !plan.options.resume {
            clear(&directory, &["lock", "stdin"]).map_err(write_error)?;
        }
        match fs::read_to_string(&kept) {
            Ok(before) if before == plan.fingerprint() => {}
            Ok(before) => {
                let difference = first_difference(&before, &plan.fingerprint());
                return Err(PrepareError::OtherPlan { path: directory, difference });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_whole(&kept, plan.fingerprint().as_bytes()).map_err(write_error)?;
            }
            Err(error) => return Err(write_error(error)),
        }
        Ok(Work { directory, out: plan.options.out.clone(), _lock: lock })
    }

    /// The summary of a run that was killed after its output had appeared; the rest of its work is removed.
    pub(super) fn already_finished(&self, plan: &Plan) -> Result<Option<Summary>, PrepareError> {
        if !plan.options.resume {
            return Ok(None);
        }
        let Ok(manifest) = fs::read_to_string(self.out.join(MANIFEST)) else { return Ok(None) };
        if !manifest.contains(plan.to_json()) || !of_the_same_inputs(plan, &manifest)? {
            if plan.options.force {
                return Ok(None);
            }
            let path = self.out.clone();
            self.discard_if_fresh()?;
            return Err(PrepareError::Exists { path });
        }
        let summary = summary_of(&manifest);
        self.discard()?;
        Ok(summary)
    }

    fn discard_if_fresh(&self) -> Result<(), PrepareError> {
        if self.directory.join("journal").exists() { Ok(()) } else { self.discard() }
    }

    /// Removes everything the run has made.
    pub(super) fn discard(&self) -> Result<(), PrepareError> {
        fs::remove_dir_all(&self.directory)
            .map_err(|source| PrepareError::Write { path: self.directory.clone(), source })
    }

    /// Makes the directory that becomes the output, anew.
    pub(super) fn empty_final_directory(&self) -> io::Result<PathBuf> {
        let directory = self.directory.join(FINAL);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir(&directory)?;
        Ok(directory)
    }

    /// Moves the finished directory to its place; what it replaces is removed afterwards.
    pub(super) fn publish(&self) -> io::Result<()> {
        sync_directory(&self.directory.join(FINAL))?;
        if self.out.exists() {
            fs::rename(&self.out, self.directory.join(REPLACED))?;
        }
        fs::rename(self.directory.join(FINAL), &self.out)?;
        sync_directory(self.out.parent().unwrap_or(Path::new(".")))?;
        fs::remove_dir_all(&self.directory)
    }
}

/// Whether the manifest's inputs are those of the plan, byte for byte.
fn of_the_same_inputs(plan: &Plan, manifest: &str) -> Result<bool, PrepareError> {
    for table in &plan.tables {
        let path = &table.input.path;
        let mut hash = blake3::Hasher::new();
        let hashed = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hash));
        hashed.map_err(|source| ReadError::Io { path: path.clone(), source })?;
        if !manifest.contains(hash.finalize().to_hex().as_str()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Directories can be synced on Unix only, and some file systems refuse even there; the rename is atomic anyway.
fn sync_directory(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
    Ok(())
}

fn clear(directory: &Path, keep: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if keep.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}

/// Writes a file beside its place and moves it there.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

fn first_difference(before: &str, now: &str) -> String {
    let pairs = before.lines().zip(now.lines()).find(|(before, now)| before != now);
    match pairs {
        Some((before, now)) => {
            format!("then {}, now {}", before.trim().trim_end_matches(','), now.trim().trim_end_matches(','))
        }
        None => "the inputs".to_owned(),
    }
}
