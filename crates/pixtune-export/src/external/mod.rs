//! A run by another trainer: the data is exported to its layout, its command runs in the export, and its log, checkpoints and
//! adapter become those of a run of `pixtune train`.
//!
//! The directory of the run has `plan.json`, `metrics.jsonl`, `checkpoints/step-N` and `adapter`. A run that was interrupted
//! continues from the newest checkpoint of the trainer.

mod command;
mod error;
mod following;
mod output;
mod saved;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use pixtune_core::metrics::Record;
use pixtune_files::WorkDirectory;

use crate::plan::ExportPlan;
use crate::run::{ExportReporter, run as export};
pub use command::{PLACEHOLDERS, TrainerCommand};
pub use error::ExternalError;
use following::Following;
use output::Output;
use saved::Saved;

/// A run by another trainer.
pub struct ExternalRun<'e> {
    /// What is exported, and to where; its settings have a run.
    pub export: ExportPlan<'e>,
    /// What trains.
    pub command: TrainerCommand,
    /// The base model.
    pub model: PathBuf,
    /// The directory of the run.
    pub out: PathBuf,
    /// The file that the output of this process goes to, in which the trainer's error is found.
    pub log: Option<PathBuf>,
}

/// What a run reports to.
pub trait ExternalReporter: ExportReporter {
    /// Something that the user should know.
    fn note(&mut self, text: &str);
    /// A new record of the run's metrics.
    fn record(&mut self, record: &Record) -> std::io::Result<()>;
}

/// A run that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExternalSummary {
    /// Samples that the trainer cannot take.
    pub rejected: u64,
}

/// How often the output of the trainer is read.
const INTERVAL: Duration = Duration::from_millis(300);

/// How long the trainer may save after it was told to end.
const PATIENCE: Duration = Duration::from_secs(110);

/// Where the trainer writes, in the export: the configurations name it.
const OUTPUT: &str = "output";

/// Trains, until `is_stopped`. The trainer gets the signal itself, as it is in the same process group.
pub fn train(
    run: ExternalRun<'_>,
    reporter: &mut dyn ExternalReporter,
    is_stopped: &dyn Fn() -> bool,
) -> Result<ExternalSummary, ExternalError> {
    let ExternalRun { export, command, model, out, log } = run;
    fs::create_dir_all(&out).map_err(|source| ExternalError::Write { path: out.clone(), source })?;
    let data = export.out.clone();
    let saved = match Saved::read(&out)? {
        Some(saved) => saved,
        None => make_data(export, &command, &out, reporter)?,
    };
    let output = Output::new(data.join(OUTPUT));
    output.remove_unfinished()?;
    let checkpoint = output.newest_checkpoint()?;
    if let Some((step, _)) = &checkpoint {
        reporter.note(&format!("continues from the checkpoint of step {step}"));
    }
    let paths = command::Paths { data: &data, output: output.path(), model: &model, plan: &out };
    let start = log.as_ref().map_or(0, |log| log.metadata().map_or(0, |about| about.len()));
    let mut child = command.start(&paths, &saved, checkpoint)?;
    let status = follow(&mut child, &output, &out, reporter, is_stopped)?;
    if is_stopped() {
        return Err(ExternalError::Stopped);
    }
    if !status.success() {
        return Err(command.failed(status, log.as_deref().map(|log| (log, start))));
    }
    output.publish_adapter(&out)?;
    Ok(ExternalSummary { rejected: saved.rejected })
}

/// Exports the data and stores what the run will be.
fn make_data(
    mut plan: ExportPlan<'_>,
    command: &TrainerCommand,
    out: &Path,
    reporter: &mut dyn ExternalReporter,
) -> Result<Saved, ExternalError> {
    let settings = plan.settings.run.unwrap_or_default();
    // What an interrupted start left is replaced.
    let partial = WorkDirectory::path_for(&plan.out);
    plan.resume = partial.is_ok_and(|partial| partial.is_dir());
    plan.force = !plan.resume;
    let summary = match export(&plan, reporter) {
        Err(crate::ExportError::OtherPlan { .. }) => {
            (plan.resume, plan.force) = (false, true);
            export(&plan, reporter)?
        }
        result => result?,
    };
    let (Some(training), Some(wish)) = (&summary.training, plan.settings.wish) else {
        let (name, model) = (plan.trainer.name, plan.encoder.spec.id.to_owned());
        return Err(crate::ExportError::NoSizes { name, model }.into());
    };
    let saved = Saved {
        trainer: command.name().to_owned(),
        run: settings.resolve(training),
        lora_rank: wish.rank,
        rejected: summary.rejected,
    };
    saved.write(out)?;
    Ok(saved)
}

/// Waits for the trainer, and makes its output that of the run.
fn follow(
    child: &mut Child,
    output: &Output,
    out: &Path,
    reporter: &mut dyn ExternalReporter,
    is_stopped: &dyn Fn() -> bool,
) -> Result<ExitStatus, ExternalError> {
    let mut stopped: Option<Instant> = None;
    let mut following = None;
    let mut is_noted = false;
    loop {
        let ended = child.try_wait().map_err(ExternalError::Wait)?;
        let polled = poll(&mut following, output, (out, ended.is_some()), reporter);
        match (polled, ended) {
            (Err(error), Some(_)) => return Err(error),
            (Ok(()), Some(status)) => return Ok(status),
            (Err(error), None) => {
                // A full disk may have space again; what could not be written is written then.
                following = None;
                if !is_noted {
                    reporter.note(&format!("warning: {error}"));
                    is_noted = true;
                }
            }
            (Ok(()), None) => {}
        }
        if is_stopped() && stopped.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            // It may have ended in the meantime, which the next look shows.
            let _ = child.kill();
        }
        thread::sleep(INTERVAL);
    }
}

fn poll(
    following: &mut Option<Following>,
    output: &Output,
    (out, has_ended): (&Path, bool),
    reporter: &mut dyn ExternalReporter,
) -> Result<(), ExternalError> {
    let open = match following.take() {
        Some(open) => open,
        None => Following::open(out)?,
    };
    following.insert(open).poll(output, has_ended, reporter)
}
