//! `prepare` in stages over fragments of the inputs, so that the rows can be scanned on several machines.
//!
//! *Index* finds where fragments begin. *Scan* finishes the rows of a fragment and stores its lines and records in a directory of
//! its own. The decision is that of a run in one piece. *Finish* copies the lines of a fragment to where the decision puts them,
//! and *hash* computes the hashes of the files in blocks. A task depends on its words and on what stages before it have written,
//! never on who performs it or how often, so that the output is that of a run in one piece.

mod downloads;
mod finding;
mod finish;
mod fragment;
mod hash;
mod layout;
mod place;
mod run;
mod scan;
mod threads;
mod worker;
mod workplace;

use std::path::Path;

use pixtune_core::curate::Store as _;
use pixtune_core::json::{self, Value, object};

use super::work::Work;
use super::{Preparation, PrepareError, Summary, Watch, dataset, resume};
use place::Fragments;
use run::Stages;

pub(super) use fragment::Fragment;
pub(super) use run::refuse_fragments;
pub use threads::Threads;
pub use worker::{Joined, Worker};

/// A step of a run whose tasks do not depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Compare the plan and the work directory; performed once on every machine.
    Check,
    /// Find where the fragments of an input begin.
    Index,
    /// Scan the rows of a fragment.
    Scan,
    /// Copy the lines of a fragment to the files of the dataset.
    Finish,
    /// Hash a block of a file.
    Hash,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Stage; 5] = [Stage::Check, Stage::Index, Stage::Scan, Stage::Finish, Stage::Hash];

    /// The name by which another process knows it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Check => "check",
            Stage::Index => "index",
            Stage::Scan => "scan",
            Stage::Finish => "finish",
            Stage::Hash => "hash",
        }
    }
}

/// Takes the result of the task with an index. An error ends the stage.
pub type Done<'d> = dyn FnMut(usize, Result<String, PrepareError>) -> Result<(), PrepareError> + Send + 'd;

/// What performs the tasks of a stage.
pub trait Engine {
    /// Performs all tasks and passes on their results in any order. An error means that the engine failed, not a task; tasks
    /// without a result are then performed again.
    fn perform(
        &mut self,
        run: &Run<'_>,
        stage: Stage,
        tasks: &[String],
        done: &mut Done<'_>,
    ) -> Result<(), PrepareError>;

    /// How often a task is performed that fails.
    fn attempts(&self) -> usize;

    /// Whether tasks run in this process, with the downloads of the plan.
    fn is_here(&self) -> bool;
}

/// What all tasks of a run have in common.
#[derive(Debug, Clone, Copy)]
pub struct Run<'r> {
    /// The plan.
    pub plan: &'r Preparation,
    /// The work directory, which every machine must see.
    pub work: &'r Path,
    /// Names the process that holds the lock of the work directory. Tasks of an earlier one do nothing.
    pub token: &'r str,
}

impl Run<'_> {
    /// What another process compares with its own before it performs a task.
    pub fn to_json(&self) -> String {
        json::text(object(|run| {
            // Another process may have another working directory.
            let work = std::path::absolute(self.work).unwrap_or_else(|_| self.work.to_owned());
            run.field("work", work.to_string_lossy().as_ref()).field("token", self.token);
            run.field("plan", resume::to_json(self.plan).as_str());
        }))
    }
}

/// Runs a plan on an engine, over fragments of so many rows.
pub fn run_stages(
    plan: &Preparation,
    rows: u64,
    engine: &mut dyn Engine,
    watch: &mut dyn Watch,
) -> Result<Summary, PrepareError> {
    let work = Work::open(plan)?;
    if let Some(summary) = work.already_finished(plan)? {
        return Ok(summary);
    }
    let result = Stages::start(plan, &work, engine, rows).and_then(|mut stages| {
        let indexes = stages.index(rows)?;
        let fragments = stages.scan(&indexes, watch)?;
        let scanned = stages.load(&fragments, &indexes)?;
        plan.check_rejected(scanned.rejected, scanned.facts.rows() as u64, true)?;
        watch.finishing();
        let fragments = fragments.into_iter().map(|(fragment, summary, _)| (fragment, summary)).collect();
        let mut lines = Fragments::new(&mut stages, fragments);
        dataset::write_dataset(plan, &work, scanned, &mut lines, watch)
    });
    if matches!(result, Err(PrepareError::TooManyRejected { .. })) {
        // The decision discards it too.
        let _ = work.discard();
    }
    result
}

/// A number under a key.
fn number(value: &Value<'_>, key: &str) -> Option<u64> {
    as_number(value.get(key)?)
}

fn as_number(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

/// The words of a task, or its result, that another version has written.
fn unreadable(what: &'static str) -> PrepareError {
    PrepareError::Task {
        what: what.to_owned(),
        message: "it is not what this version writes".to_owned(),
        hint: None,
    }
}
