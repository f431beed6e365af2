//! `pixtune run`: the stages of a project, each a process of this program.

mod log;
mod process;
mod stage;
mod summary;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::time::Instant;

use pixtune_core::curate::content_hash;
use pixtune_core::text::counted;
use pixtune_io::config::Project;

use crate::Outcome;
use crate::args::{RunArgs, StageArg};
use crate::error::Error;
use crate::ui::{self, Format, Ui, Verbosity};
use log::{End, Entry, Log};
use process::Processes;
use stage::{Places, RESERVED, STAGES, Stage, directory, stages};

/// Runs every stage that is not done, then writes the summary.
pub fn run(
    args: &RunArgs,
    program: impl FnOnce() -> io::Result<Vec<OsString>>,
    verbosity: Verbosity,
) -> Result<Outcome, Error> {
    let project = Project::read(&args.project, &STAGES, &RESERVED)?;
    let all = stages(&project)?;
    if args.show_plan {
        let commands: String = all.iter().map(|stage| stage.command() + "\n").collect();
        ui::put(&commands)?;
        return Ok(Outcome::Fine);
    }
    for wanted in [args.from, args.until].into_iter().flatten() {
        if all.iter().all(|stage| stage.kind != wanted) {
            return Err(Error::argument(format!(
                "`{}` has no [{}]; it has {}",
                args.project.display(),
                STAGES[wanted as usize].0,
                all.iter().map(Stage::name).collect::<Vec<_>>().join(", ")
            )));
        }
    }
    let program = program().map_err(|error| Error::argument(format!("cannot find this program: {error}")))?;
    let place = directory(&args.project);
    std::env::set_current_dir(&place).map_err(|source| Error::Write { path: place, source })?;
    let places = Places::new(&project);
    fs::create_dir_all(&places.out).map_err(|source| Error::Write { path: places.out.clone(), source })?;
    let log = Log::read(&places.out)?;
    let mut run = Run {
        project: &project,
        places,
        log,
        processes: Processes::new(program, verbosity)?,
        ui: Ui::new(Format::Human, verbosity),
        results: Vec::new(),
    };
    let outcome = run.stages(&all, args);
    summary::write(&run.places, &project, &all, &run.results)?;
    let outcome = outcome?;
    if verbosity == Verbosity::Normal {
        ui::put(&summary::table(&run.places, &run.results))?;
    }
    Ok(outcome)
}

/// What became of a stage.
struct StageResult {
    stage: Stage,
    end: End,
    /// Whether it was done before this run.
    was_done: bool,
}

struct Run<'p> {
    project: &'p Project,
    places: Places,
    log: Log,
    processes: Processes,
    ui: Ui,
    results: Vec<StageResult>,
}

impl Run<'_> {
    fn stages(&mut self, all: &[Stage], args: &RunArgs) -> Result<Outcome, Error> {
        let last = args.until.unwrap_or(StageArg::Deploy);
        for stage in all.iter().filter(|stage| stage.kind <= last) {
            let is_forced = args.from.is_some_and(|from| stage.kind >= from);
            let result = self.stage(stage, is_forced)?;
            let ends = result.end.code == 1 && stage.ends_at_findings();
            self.results.push(result);
            if ends {
                return Ok(Outcome::Findings(format!(
                    "`{}` has findings, and no later stage ran",
                    stage.command()
                )));
            }
        }
        let found = self.results.iter().filter(|result| result.end.code == 1).count() as u64;
        Ok(Outcome::of(found > 0, || format!("{} had findings", counted(found, "stage"))))
    }

    fn stage(&mut self, stage: &Stage, is_forced: bool) -> Result<StageResult, Error> {
        let digest = self.digest(stage);
        let done = self.log.end(stage.name(), &digest).filter(|_| !is_forced);
        let is_there = stage.output.as_ref().is_none_or(|output| output.exists());
        // `prepare` itself knows whether its inputs are the same.
        if let (Some(end), true, false) = (done, is_there, stage.kind == StageArg::Prepare) {
            self.ui.note(&format!("{}: done before", stage.name()));
            return Ok(StageResult { stage: stage.clone(), end, was_done: true });
        }
        let further = self.further(stage, &digest, is_forced)?;
        let what = if done.is_some() { "done before".to_owned() } else { stage.command() };
        self.ui.note(&format!("{}: {what}", stage.name()));
        if done.is_none() {
            self.log.add(Entry { stage: stage.name().to_owned(), digest: digest.clone(), end: None })?;
        }
        let start = Instant::now();
        let code = self.processes.run(&stage.words, further, done.is_some())?;
        if code > 1 {
            let (project, name) = (self.project.file.clone(), stage.name().to_owned());
            return Err(Error::Stage { project, name, code });
        }
        let end = match done {
            Some(end) if end.code == code => end,
            _ => {
                // As the log has it, whose text goes into the digests of later stages.
                let seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
                let end = End { code, seconds };
                self.log.add(Entry { stage: stage.name().to_owned(), digest, end: Some(end) })?;
                end
            }
        };
        Ok(StageResult { stage: stage.clone(), end, was_done: done.is_some() })
    }

    /// The option that goes with what is already there of a stage: `--resume` or `--force`. What another plan has written is not
    /// replaced without a word.
    fn further(&self, stage: &Stage, digest: &str, is_forced: bool) -> Result<Option<&'static str>, Error> {
        let Some(output) = &stage.output else { return Ok(None) };
        if is_forced {
            return Ok(Some("--force"));
        }
        let Some(before) = self.log.last(stage.name()) else { return Ok(None) };
        if before.digest == digest {
            return Ok(match (stage.resumes(), output.exists()) {
                (true, _) if self.is_begun(stage) => Some("--resume"),
                (false, true) => Some("--force"),
                _ => None,
            });
        }
        if !self.is_begun(stage) {
            return Ok(None);
        }
        Err(Error::StageChanged {
            project: self.project.file.clone(),
            name: stage.name().to_owned(),
            output: output.clone(),
        })
    }

    /// Whether a stage has written something: its output, or what an interrupted run leaves beside it.
    fn is_begun(&self, stage: &Stage) -> bool {
        let Some(output) = &stage.output else { return false };
        let partial = pixtune_files::WorkDirectory::path_for(output).is_ok_and(|partial| partial.exists());
        output.exists() || partial
    }

    /// A hash of the command of a stage and of what it reads: the prepared data, and how the stages before it ended.
    fn digest(&self, stage: &Stage) -> String {
        let mut text = stage.words.join("\n");
        if stage.kind > StageArg::Prepare {
            let manifest = self.places.prepared.join(pixtune_io::manifest::MANIFEST);
            text.push_str(&fs::read_to_string(manifest).unwrap_or_default());
        }
        if stage.kind > StageArg::Export {
            let train = self
                .log
                .last("train")
                .filter(|_| self.results.iter().any(|result| result.stage.kind == StageArg::Train));
            text.push_str(&train.map(|entry| format!("{entry:?}")).unwrap_or_default());
        }
        format!("{:032x}", content_hash(text.as_bytes()))
    }
}
