//! What performs one task of a run, on whichever machine.

use std::fs;
use std::io;
use std::path::PathBuf;

use pixtune_core::json;

use super::super::{Preparation, PrepareError, resume};
use super::fragment::{Fragment, Index};
use super::hash::Block;
use super::workplace::Workplace;
use super::{Run, Stage, finish, number, scan, unreadable};
use crate::remote;

/// The file in the work directory that names the process with its lock.
pub(super) const TOKEN: &str = "run";

/// Performs tasks of a run.
#[derive(Debug, Clone, Copy)]
pub struct Worker<'w> {
    at: Workplace<'w>,
    token: &'w str,
}

impl<'w> Worker<'w> {
    /// A worker in the process that runs the stages.
    pub fn new(run: &Run<'w>) -> Worker<'w> {
        Worker { at: Workplace { plan: run.plan, work: run.work }, token: run.token }
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
                Ok(Index::of(self.at.plan, input.ok_or_else(wrong)?, rows)?.to_json())
            }
            Stage::Scan => scan::scan(&self.at, &Fragment::of_value(&task).ok_or_else(wrong)?),
            Stage::Finish => finish::finish(&self.at, &finish::Task::of_value(&task).ok_or_else(wrong)?),
            Stage::Hash => {
                let block = Block::of_value(&task).ok_or_else(wrong)?;
                let path = self.at.staged().join(&block.file);
                block.hash(&self.at.staged()).map_err(|source| PrepareError::Write { path, source })
            }
        }
    }

    /// Fails unless the work directory is that of the run, and no later run works there.
    fn check_token(&self) -> Result<(), PrepareError> {
        let path = self.at.work.to_owned();
        match fs::read_to_string(self.at.work.join(TOKEN)) {
            Ok(token) if token == self.token => Ok(()),
            Ok(_) => Err(PrepareError::Locked { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(PrepareError::NotShared { path }),
            Err(source) => Err(PrepareError::Write { path: self.at.work.join(TOKEN), source }),
        }
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
        Worker { at: Workplace { plan: &self.plan, work: &self.work }, token: &self.token }
            .perform(stage, task)
    }
}
