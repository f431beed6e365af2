//! The directory beside the output in which a run works: opened by one run at a time, published by a rename.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_files::WorkDirectory;

use super::plan::{STDIN, without_guesses};
use super::spool::JOURNAL;
use super::summary::summary_of;
use super::{PlannedInput, Preparation, PrepareError, Summary, resume};
use crate::manifest::Manifest;
use crate::read::file_state::FileState;

/// The work directory of a run.
pub(super) struct Work {
    directory: WorkDirectory,
    out: PathBuf,
}

const PLAN: &str = "plan";

impl Work {
    /// Opens the directory: an unfinished run of the same plan when resuming, else an empty one.
    pub(super) fn open(plan: &Preparation) -> Result<Work, PrepareError> {
        let directory = WorkDirectory::open(&plan.options.out)?;
        let path = directory.path().to_owned();
        let write_error = |source| PrepareError::Write { path: path.clone(), source };
        if !plan.options.resume {
            directory.clear(&[STDIN]).map_err(write_error)?;
        }
        let kept = path.join(PLAN);
        match fs::read_to_string(&kept) {
            Ok(before) => match resume::difference(&before, plan) {
                None => {}
                Some(difference) => return Err(PrepareError::OtherPlan { path, difference }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                pixtune_files::write(&kept, resume::to_json(plan).as_bytes()).map_err(write_error)?;
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
    pub(super) fn already_finished(&self, plan: &Preparation) -> Result<Option<Summary>, PrepareError> {
        if !plan.options.resume {
            return Ok(None);
        }
        match Manifest::read(&self.out) {
            Ok(None) => Ok(None),
            Ok(Some(manifest)) if is_of_plan(&manifest, plan)? => {
                self.discard()?;
                Ok(Some(summary_of(&manifest)))
            }
            _ if plan.options.force => Ok(None),
            _ => {
                self.discard_if_fresh()?;
                Err(PrepareError::Exists { path: self.out.clone() })
            }
        }
    }

    fn discard_if_fresh(&self) -> Result<(), PrepareError> {
        if self.path().join(JOURNAL).exists() { Ok(()) } else { self.discard() }
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

/// Whether a manifest is of this plan and of the same inputs, byte for byte.
fn is_of_plan(manifest: &Manifest, plan: &Preparation) -> Result<bool, PrepareError> {
    let is_plan = without_guesses(&manifest.plan) == without_guesses(plan.to_value());
    if !is_plan || manifest.inputs.len() != plan.inputs.len() {
        return Ok(false);
    }
    for (PlannedInput { input, .. }, before) in plan.inputs.iter().zip(&manifest.inputs) {
        let now = FileState::of(&input.path)?.fingerprint()?;
        let is_same = match before.blake3.is_empty() || now.blake3.is_empty() {
            // Without a version, what an object holds is not known.
            true => now.version.is_some() && (now.bytes, &now.version) == (before.bytes, &before.version),
            false => now.blake3 == before.blake3,
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
}
