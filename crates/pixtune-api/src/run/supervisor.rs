//! Starts queued jobs, follows running ones, and ends them as their users wish.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pixtune_core::json;
use pixtune_core::text::counted_as;
use pixtune_model::adapter::Adapter;

use super::finish::{self, Ending, judge};
use super::follow::Follower;
use super::process::{self, Program};
use super::signal::Signal;
use super::{CPU, JobFiles, Trainer, data};
use crate::blobs::DataDirectory;
use crate::catalog::Catalog;
use crate::log::LogEntry;
use crate::request::job::JobRequest;
use crate::store::{Event, Job, JobStatus, Level, NewEvent, NewFile, NewModel, Store, StoreError, Wish};
use crate::training_file;
use crate::wire::metrics_csv;

/// How long a process may take to save before it is killed: when it is cancelled, nothing has to be saved.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);
const PAUSE_PATIENCE: Duration = Duration::from_secs(120);

/// What a supervisor works with.
pub struct Supervisor {
    /// Jobs and files.
    pub store: Arc<Store>,
    /// Contents and runs.
    pub data: DataDirectory,
    /// Base models.
    pub catalog: Arc<Catalog>,
    /// What trains.
    pub trainer: Trainer,
    /// Where jobs run: names of GPUs, or `cpu`. Each takes one job at a time.
    pub slots: Vec<String>,
    /// No job starts with fewer bytes free on the disk.
    pub min_free: u64,
    /// Gets failures that belong to no job.
    pub log: fn(&LogEntry<'_>),
    /// Called after every change that a client can see.
    pub changed: Box<dyn Fn() + Send + Sync>,
    /// Called with a job that has succeeded and its model.
    pub made: Made,
    /// Set to look at once, or to end.
    pub signal: Arc<Signal>,
}

/// What follows from a job that has succeeded.
pub type Made = Box<dyn Fn(&Job, &NewModel) + Send + Sync>;

/// What stops the work on one job.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Disk(#[from] io::Error),
    #[error("{0}")]
    Job(String),
}

/// How long no job starts after the disk was full.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(15);

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A job that is being trained.
struct Running {
    files: JobFiles,
    follower: Follower,
    /// When its process was told to end.
    told: Option<Instant>,
    has_length: bool,
}

impl Supervisor {
    /// Works until it is ended. Jobs of an earlier server are taken over first.
    pub fn run(self) {
        let mut running = HashMap::new();
        let mut held = None;
        loop {
            if let Err(error) = self.look(&mut running, &mut held) {
                // The database or the disk failed; both may work again.
                (self.log)(&LogEntry::Failure { text: &format!("jobs: {error}") });
            }
            if !self.signal.wait() {
                return;
            }
        }
    }

    fn look(&self, running: &mut HashMap<String, Running>, held: &mut Option<Instant>) -> Result<(), Fault> {
        let jobs = self.store.jobs_in(&[JobStatus::Running])?;
        running.retain(|id, _| jobs.iter().any(|job| job.id == *id));
        for job in &jobs {
            let state = match running.entry(job.id.clone()) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    // The next look sees the process that was found.
                    entry.insert(self.take_over(job)?);
                    continue;
                }
            };
            self.follow(job, state)?;
        }
        if held.is_none_or(|until| Instant::now() >= until) {
            *held = self.start_queued(running)?.then(|| Instant::now() + FULL_DISK_PAUSE);
        }
        Ok(())
    }

    /// The state of a running job, from what is stored.
    fn take_over(&self, job: &Job) -> Result<Running, Fault> {
        let known = self.store.checkpoint_events(job.seq)?;
        let step = |event: &Event| {
            let data = json::parse(event.data.as_deref()?).ok()?.value.into_owned();
            json::text(data.get("step")?).parse().ok()
        };
        let follower = Follower::new(self.store.followed(job.seq)?, known.iter().filter_map(step));
        let files = JobFiles::new(self.data.job(&job.id));
        if job.process.is_none()
            && let Some(process) = process::unstored(&files.exit())
        {
            self.store.set_process(&job.id, process)?;
        }
        Ok(Running { files, follower, told: None, has_length: false })
    }

    /// Starts queued jobs on free slots. True if the disk was too full for the data of one, which is queued again.
    fn start_queued(&self, running: &mut HashMap<String, Running>) -> Result<bool, Fault> {
        let jobs = self.store.jobs_in(&[JobStatus::Running])?;
        for slot in &self.slots {
            if jobs.iter().any(|job| job.slot.as_ref() == Some(slot)) {
                continue;
            }
            if self.data.free_bytes().is_some_and(|free| free < self.min_free) {
                return Ok(false);
            }
            let Some(job) = self.store.claim_job(slot)? else { return Ok(false) };
            let state = self.take_over(&job)?;
            match self.start(&job, &state.files, slot) {
                Ok(()) => _ = running.insert(job.id.clone(), state),
                Err(Fault::Disk(error)) if is_full(&error) => {
                    self.wait_for_space(&job, "the disk is full: the job starts when there is free space")?;
                    return Ok(true);
                }
                Err(error) => {
                    self.fail(&job, "server_error", &format!("the job cannot be started: {error}"))?;
                }
            }
        }
        Ok(false)
    }

    /// Puts a running job back in the queue. The attempt does not count: nothing was wrong with the job.
    fn wait_for_space(&self, job: &Job, why: &str) -> Result<(), Fault> {
        self.store.requeue_job(&job.id)?;
        self.add(job, &[NewEvent::status("QUEUED"), NewEvent::message(Level::Error, why)])
    }

    fn start(&self, job: &Job, files: &JobFiles, slot: &str) -> Result<(), Fault> {
        let request = parse(job)?;
        let base = self.catalog.find(&job.model);
        let base =
            base.ok_or_else(|| Fault::Job(format!("the model `{}` is not available any more", job.model)))?;
        fs::create_dir_all(&files.root)?;
        self.write_data(job, &request, files)?;
        let program = Program {
            words: self.trainer.words((job, slot), &request, base, files),
            variables: match slot {
                CPU => Vec::new(),
                gpu => vec![("CUDA_VISIBLE_DEVICES", gpu.to_owned())],
            },
            log: files.log(),
            exit: files.exit(),
        };
        let process = process::start(&program)?;
        self.store.set_process(&job.id, process)?;
        let is_first = job.attempts <= 1;
        let message = if is_first { "Fine-tuning job started" } else { "Fine-tuning job continues" };
        let status = NewEvent::status("RUNNING");
        self.add(job, &[status, NewEvent::message(Level::Info, message)])
    }

    /// Writes the data of a job once; a resumed run reads the same.
    fn write_data(&self, job: &Job, request: &JobRequest, files: &JobFiles) -> Result<(), Fault> {
        // A file may have been checked for a model with other rules.
        let rules = self.catalog.find(&job.model).map(|base| base.rules).unwrap_or_default();
        let all = |ids: &mut dyn Iterator<Item = (&String, f64)>| {
            ids.map(|(id, weight)| match self.store.file(&job.project, id)? {
                Some(file) => {
                    let path = self.data.blob(&file.blob);
                    let seen = training_file::as_for(file, &path, 1, &rules);
                    Ok((seen.map_err(|error| Fault::Job(error.message))?, weight))
                }
                None => Err(Fault::Job(format!("the file `{id}` was deleted"))),
            })
            .collect::<Result<Vec<_>, Fault>>()
        };
        if !files.training().exists() {
            let training = all(&mut request.training.iter().map(|(id, weight)| (id, *weight)))?;
            data::write(&self.data, &training, &files.training())?;
        }
        if !request.validation.is_empty() && !files.validation().exists() {
            let validation = all(&mut request.validation.iter().map(|id| (id, 1.0)))?;
            data::write(&self.data, &validation, &files.validation())?;
        }
        Ok(())
    }

    fn follow(&self, job: &Job, state: &mut Running) -> Result<(), Fault> {
        let is_alive = job.process.is_some_and(process::is_alive);
        if !state.has_length
            && let Some(Length { steps, epochs, rejected }) = length(&state.files)
        {
            state.follower.set_total(steps);
            state.has_length = true;
            if job.steps.is_none() && rejected > 0 {
                let note = format!(
                    "{} that the trainer cannot take: the log of the job has the reasons",
                    counted_as(rejected, "sample is skipped", "samples are skipped")
                );
                self.add(job, &[NewEvent::message(Level::Warn, note)])?;
            }
            self.store.set_length(&job.id, steps, epochs)?;
        }
        let followings = state.follower.poll(&state.files, !is_alive)?;
        if !followings.events.is_empty() {
            for step in &followings.checkpoints {
                let id = finish::checkpoint_id(&finish::model_id(job), *step);
                self.store.create_model(
                    job.origin(),
                    &NewModel { id, adapter: state.files.checkpoint(*step), step: Some(*step) },
                )?;
            }
            self.store.add_events(job.seq, &followings.events, Some(followings.followed))?;
            (self.changed)();
        }
        match job.process {
            Some(process) if is_alive => {
                self.carry_out(job, process, state);
                Ok(())
            }
            _ => self.finish(job, state),
        }
    }

    /// Tells a process to end if its user wishes so, and kills it if it does not.
    fn carry_out(&self, job: &Job, process: crate::store::Process, state: &mut Running) {
        let patience = match job.wish {
            Wish::Run => return,
            Wish::Pause => PAUSE_PATIENCE,
            Wish::Cancel => CANCEL_PATIENCE,
        };
        match state.told {
            None => {
                process::signal(process, libc::SIGTERM);
                state.told = Some(Instant::now());
            }
            Some(told) if told.elapsed() > patience => process::signal(process, libc::SIGKILL),
            Some(_) => {}
        }
    }

    fn finish(&self, job: &Job, state: &Running) -> Result<(), Fault> {
        // The wish may have changed since the job was read.
        let Some(job) = self.store.job(&job.project, &job.id)? else { return Ok(()) };
        let code = process::exit_code(&state.files.exit());
        match judge(&job, code, &finish::tail(&state.files.log())) {
            Ending::Complete => self.succeed(&job, &state.files),
            Ending::Cancelled => {
                self.store.end_job(&job.id, JobStatus::Cancelled, None)?;
                self.add(
                    &job,
                    &[NewEvent::status("CANCELLED"), NewEvent::message(Level::Info, "The job was cancelled")],
                )
            }
            Ending::Paused => {
                self.store.interrupted_job(&job.id, JobStatus::Paused)?;
                self.add(
                    &job,
                    &[NewEvent::status("QUEUED"), NewEvent::message(Level::Info, "The job is paused")],
                )
            }
            Ending::Interrupted(why) => {
                self.store.interrupted_job(&job.id, JobStatus::Queued)?;
                self.add(&job, &[NewEvent::status("QUEUED"), NewEvent::message(Level::Warn, why)])
            }
            Ending::DiskFull => {
                let why =
                    "the disk is full: the job continues from its last checkpoint when there is free space";
                self.wait_for_space(&job, why)
            }
            Ending::Failed(why) => self.fail(&job, "training_failed", &why),
        }
    }

    fn succeed(&self, job: &Job, files: &JobFiles) -> Result<(), Fault> {
        let (records, tokens) = finish::records(files)?;
        if let Err(error) = Adapter::open(&files.adapter(), None) {
            let why = format!("training ended without an adapter that can be used: {error}");
            return self.fail(job, "training_failed", &why);
        }
        let csv = metrics_csv(&records);
        let blob = self.data.keep_text(&csv)?;
        let result = self.store.create_file(&NewFile {
            project: job.project.clone(),
            name: format!("step_metrics-{}.csv", job.id),
            purpose: "fine-tune-results".to_owned(),
            source: "mistral",
            blob,
            bytes: csv.len() as u64,
            samples: None,
            invalid_lines: Vec::new(),
            findings: None,
            rules: String::new(),
            expires_at: None,
        })?;
        let id = finish::model_id(job);
        let model = NewModel { id: id.clone(), adapter: files.adapter(), step: None };
        if self.store.succeed_job(&job.id, &model, &result.id, tokens)?.is_none() {
            // It was cancelled at this moment; the next look ends it.
            return Ok(());
        }
        let made = NewEvent::message(Level::Info, format!("New fine-tuned model created: {id}"));
        let done = NewEvent::message(Level::Info, "The job has successfully completed");
        self.add(job, &[made, NewEvent::status("SUCCESS"), done])?;
        (self.made)(job, &model);
        Ok(())
    }

    fn fail(&self, job: &Job, code: &str, why: &str) -> Result<(), Fault> {
        self.store.end_job(&job.id, JobStatus::Failed, Some((code, why)))?;
        self.add(
            job,
            &[NewEvent::status("FAILED"), NewEvent::message(Level::Error, format!("The job failed: {why}"))],
        )
    }

    fn add(&self, job: &Job, events: &[NewEvent]) -> Result<(), Fault> {
        self.store.add_events(job.seq, events, None)?;
        (self.changed)();
        Ok(())
    }
}

fn parse(job: &Job) -> Result<JobRequest, Fault> {
    let body = json::parse(&job.request).map_err(|error| Fault::Job(error.to_string()))?;
    JobRequest::parse(job.vendor, &body.value).map_err(|error| Fault::Job(error.message))
}

/// The length of a run.
struct Length {
    steps: u64,
    epochs: Option<u64>,
    /// Samples that another trainer cannot take.
    rejected: u64,
}

/// The length of a run, from its plan.
fn length(files: &JobFiles) -> Option<Length> {
    let text = fs::read_to_string(files.plan()).ok()?;
    let plan = json::parse(&text).ok()?.value;
    let number = |value: Option<&json::Value<'_>>| match value? {
        json::Value::Number(text) => text.parse::<u64>().ok(),
        _ => None,
    };
    let steps = number(plan.get("plan")?.get("steps"))?;
    let epochs = number(plan.get("steps_per_epoch")).map(|per_epoch| steps.div_ceil(per_epoch.max(1)));
    Some(Length { steps, epochs, rejected: number(plan.get("rejected")).unwrap_or_default() })
}
