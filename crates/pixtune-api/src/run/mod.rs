//! Jobs under way: their data, the process that trains each, and what becomes of its metrics.

mod command;
mod data;
mod finish;
mod first_events;
mod follow;
mod process;
mod signal;
mod supervisor;

pub use command::{CPU, ExternalTrainer, Trainer};
pub use data::write as write_data;
pub use finish::{checkpoint_id, model_id};
pub use first_events::first_events;
pub use signal::Signal;
pub use supervisor::Supervisor;

use std::path::{Path, PathBuf};

/// The files of a job.
#[derive(Debug, Clone)]
struct JobFiles {
    root: PathBuf,
}

impl JobFiles {
    fn new(root: PathBuf) -> JobFiles {
        JobFiles { root }
    }

    fn training(&self) -> PathBuf {
        self.root.join("train.jsonl")
    }

    fn validation(&self) -> PathBuf {
        self.root.join("validation.jsonl")
    }

    /// The output of `pixtune train`.
    fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The data in the layout of another trainer, with what that writes.
    fn export(&self) -> PathBuf {
        self.root.join("export")
    }

    fn metrics(&self) -> PathBuf {
        self.run().join("metrics.jsonl")
    }

    fn plan(&self) -> PathBuf {
        self.run().join("plan.json")
    }

    fn adapter(&self) -> PathBuf {
        self.run().join("adapter")
    }

    fn checkpoints(&self) -> PathBuf {
        self.run().join("checkpoints")
    }

    fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints().join(format!("step-{step}"))
    }

    /// What the process prints.
    fn log(&self) -> PathBuf {
        self.root.join("log.txt")
    }

    /// The exit code of the process.
    fn exit(&self) -> PathBuf {
        self.root.join("exit")
    }
}

/// The log of a job below a directory of jobs, and the page of its run.
pub fn log_and_report(job: &Path) -> (PathBuf, PathBuf) {
    let files = JobFiles::new(job.to_owned());
    (files.log(), files.run().join("report.html"))
}
