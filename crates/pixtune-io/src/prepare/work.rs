//! The directory beside the output in which a run works: opened by one run at a time, published by a rename.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use pixtune_files::WorkDirectory;

use super::manifest::{MANIFEST, summary_of};
use super::{Plan, PlannedInput, PrepareError, Summary};
use crate::read::ReadError;

/// The work directory of a run.
pub(super) struct Work {
    directory: WorkDirectory,
    out: PathBuf,
}

const PLAN: &str = "plan";

/// The copy of standard input in the work directory of an output.
pub(super) fn stdin_copy(out: &Path) -> Result<PathBuf, PrepareError> {
    Ok(work_directory(out)?.join(STDIN))
}

const STDIN: &str = "stdin";

/// Where the work directory of an output is.
pub(super) fn work_directory(out: &Path) -> Result<PathBuf, PrepareError> {
    WorkDirectory::path_for(out).map_err(|source| PrepareError::Write { path: out.to_owned(), source })
}

impl Work {
    /// Opens the directory: an unfinished run of the same plan when resuming, else an empty one.
    pub(super) fn open(plan: &Plan) -> Result<Work, PrepareError> {
        let directory = WorkDirectory::open(&plan.options.out)?;
        let path = directory.path().to_owned();
        let write_error = |source| PrepareError::Write { path: path.clone(), source };
        if !plan.options.resume {
            directory.clear(&[STDIN]).map_err(write_error)?;
        }
        let kept = path.join(PLAN);
        match fs::read_to_string(&kept) {
            Ok(before) if before == plan.fingerprint() => {}
            Ok(before) => {
                let difference = first_difference(&before, &plan.fingerprint());
                return Err(PrepareError::OtherPlan { path, difference });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                pixtune_files::write(&kept, plan.fingerprint().as_bytes()).map_err(write_error)?;
            }
            Err(error) => return Err(write_error(error)),
        }
        Ok(Work { directory, out: plan.options.out.clone() })
    }

    /// Where the run works.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
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
        if self.path().join("journal").exists() { Ok(()) } else { self.discard() }
    }

    /// Removes everything the run has made.
    pub(super) fn discard(&self) -> Result<(), PrepareError> {
        let path = self.path().to_owned();
        self.directory.discard().map_err(|source| PrepareError::Write { path, source })
    }

    /// Creates the empty directory that becomes the output.
    pub(super) fn stage(&self) -> io::Result<PathBuf> {
        self.directory.stage()
    }

    /// Gives the staged directory the name of the output and removes the work directory.
    pub(super) fn publish(&self) -> io::Result<()> {
        self.directory.publish()
    }
}

/// Whether the manifest's inputs are those of the plan, byte for byte.
fn of_the_same_inputs(plan: &Plan, manifest: &str) -> Result<bool, PrepareError> {
    for PlannedInput { input, .. } in &plan.inputs {
        let path = &input.path;
        let mut hash = blake3::Hasher::new();
        let hashed = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hash));
        hashed.map_err(|source| ReadError::Io { path: path.clone(), source })?;
        if !manifest.contains(hash.finalize().to_hex().as_str()) {
            return Ok(false);
        }
    }
    Ok(true)
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
