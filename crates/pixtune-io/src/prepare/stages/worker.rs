//! What performs one task of a run, on whichever machine.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use pixtune_core::json;

use super::super::{Preparation, PrepareError, resume};
use super::fragment::{Fragment, Index};
use super::hash::Block;
use super::{Run, Stage, finish, number, scan, unreadable};
use crate::remote;

/// The file in the work directory that names the process with its lock.
pub(super) const TOKEN: &str = "run";

/// The directory of the fragments.
pub(super) const FRAGMENTS: &str = "fragments";

/// The directory that becomes the dataset, as [`pixtune_files::WorkDirectory::stage`] names it.
const STAGED: &str = "final";

/// Performs tasks of a run.
#[derive(Debug, Clone, Copy)]
pub struct Worker<'w> {
    pub(super) plan: &'w Preparation,
    pub(super) work: &'w Path,
    token: &'w str,
}

impl<'w> Worker<'w> {
    /// A worker in the process that runs the stages.
    pub fn new(run: &Run<'w>) -> Worker<'w> {
        Worker { plan: run.plan, work: run.work, token: run.token }
    }

    /// Performs a task; whether it was performed before, or is by another process at the same time, changes nothing.
    pub fn perform(&self, stage: Stage, task: &str) -> Result<String, PrepareError> {
        self.check_token()?;
        if stage == Stage::Check {
            return Ok(String::new());
        }
        let task = json::parse(task).map_err(|_| unreadable("a task"))?.value;
        let wrong = || unreadable("a task");
        match stage {
            Stage::Check => Ok(String::new()),
            Stage::Index => {
                let input = number(&task, "input").and_then(|input| u32::try_from(input).ok());
                let rows = number(&task, "rows").ok_or_else(wrong)?;
                Ok(Index::of(self.plan, input.ok_or_else(wrong)?, rows)?.to_json())
            }
            Stage::Scan => scan::scan(self, &Fragment::of_value(&task).ok_or_else(wrong)?),
            Stage::Finish => finish::finish(self, &finish::Task::of_value(&task).ok_or_else(wrong)?),
            Stage::Hash => {
                let block = Block::of_value(&task).ok_or_else(wrong)?;
                let path = self.staged().join(&block.file);
                block.hash(&self.staged()).map_err(|source| PrepareError::Write { path, source })
            }
        }
    }

    /// Fails unless the work directory is that of the run, and no later run works there.
    fn check_token(&self) -> Result<(), PrepareError> {
        let path = self.work.to_owned();
        match fs::read_to_string(self.work.join(TOKEN)) {
            Ok(token) if token == self.token => Ok(()),
            Ok(_) => Err(PrepareError::Locked { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(PrepareError::NotShared { path }),
            Err(source) => Err(PrepareError::Write { path: self.work.join(TOKEN), source }),
        }
    }

    /// Where the directories of the fragments are.
    pub(super) fn fragments(&self) -> PathBuf {
        self.work.join(FRAGMENTS)
    }

    /// Where the files of the dataset are put together.
    pub(super) fn staged(&self) -> PathBuf {
        self.work.join(STAGED)
    }

    /// What could not be written.
    pub(super) fn write_error(&self) -> impl Fn(io::Error) -> PrepareError + Copy + 'w {
        let work = self.work;
        move |source| PrepareError::Write { path: work.to_owned(), source }
    }
}

/// A process that performs tasks of a run that another process started.
#[derive(Debug)]
pub struct Joined {
    plan: Preparation,
    work: PathBuf,
    token: String,
}

impl Joined {
    /// Joins a run: `run` is what [`Run::to_json`] wrote, and `plan` what its options are here, which must be the same plan.
    pub fn new(plan: Preparation, run: &str) -> Result<Joined, PrepareError> {
        let run = json::parse(run).map_err(|_| unreadable("the run"))?.value;
        let text = |key| run.text(key).ok_or_else(|| unreadable("the run"));
        let (work, token) = (PathBuf::from(text("work")?), text("token")?.to_owned());
        match resume::difference(text("plan")?, &plan) {
            Some(difference) => Err(PrepareError::OtherInputs { difference }),
            None => Ok(Joined { plan, work, token }),
        }
    }

    /// Performs a task.
    pub fn perform(&self, stage: Stage, task: &str) -> Result<String, PrepareError> {
        // What was in the way of an earlier task may be over.
        remote::forget_fault();
        Worker { plan: &self.plan, work: &self.work, token: &self.token }.perform(stage, task)
    }
}

/// A word that no other process has.
pub(super) fn unique() -> String {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{:016x}", hasher.finish())
}
