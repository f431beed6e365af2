//! The commands as functions: options are the words of the command line, results are JSON or values, and nothing is printed.
//!
//! What a program in another language calls. Both parse the same options and make the same plans, so that numbers, bytes and
//! messages are those of the program.

mod events;
mod flags;

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use pixtune_core::diagnostic::Severity;
use pixtune_core::json::{line, object};
use pixtune_io::prepare::{Joined, Preparation, Stage};
use pixtune_io::{check, fix, prepare};

pub use crate::error::Error;
pub use crate::model::Model;
pub use events::{Event, Hear};
pub use flags::flags;

use crate::args::{AdapterCheckArgs, Args, CheckArgs, Command, ConvertArgs, EngineArg, FixArgs, PrepareArgs};
use crate::cluster::ClusterPlan;
use crate::commands;
use crate::ui;
use events::{CheckEvents, FixEvents, PrepareEvents};

/// The message of an error with its causes, and what to do about it.
pub fn message(error: &Error) -> (String, Option<String>) {
    (ui::with_causes(error), error.hint())
}

/// Runs `pixtune prepare` with these words. The result is the JSON of its summary.
pub fn prepare(words: &[OsString], hear: &mut dyn Hear) -> Result<String, Error> {
    guarded(|| {
        let args = parse::<PrepareArgs>("prepare", words)?;
        args.engine.check()?;
        if args.engine.engine == EngineArg::Ray {
            return Err(Error::argument(
                "`--engine ray` is for the program: run `python -m pixtune prepare`",
            ));
        }
        let rows = args.engine.rows();
        let plan = Preparation::new(commands::prepare::options(args)?)?;
        let mut events = PrepareEvents::new(hear);
        commands::prepare::notes(&plan, &|text| events.note(text));
        let result = commands::prepare::run_here(&plan, rows, &mut events);
        let summary = match result {
            Err(prepare::PrepareError::Interrupted) => return Err(Error::Interrupted),
            result => result?,
        };
        Ok(commands::prepare::summary_json(&plan, &summary, events.fetched()))
    })
}

/// Performs a task of a stage of a run that another process started: `plan` is the plan of the run, and `run` what the engine
/// was given. The plan that the options resolve to here must be the same.
pub fn perform(plan: &str, run: &str, stage: &str, task: &str) -> Result<String, Error> {
    guarded(|| {
        let stage = Stage::ALL.into_iter().find(|one| one.name() == stage);
        let stage = stage.ok_or_else(|| Error::argument("this version has no such stage"))?;
        let joined = joined(plan, run)?;
        joined.perform(stage, task).map_err(|error| {
            // What failed may have a fault that stays, such as that of a store; the next task starts without it.
            forget();
            error.into()
        })
    })
}

/// The run that this process joined last, with the texts that it is known by.
static JOINED: Mutex<Option<(String, String, Arc<Joined>)>> = Mutex::new(None);

fn joined(plan: &str, run: &str) -> Result<Arc<Joined>, Error> {
    let mut last = JOINED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of_plan, of_run, joined)) = &*last
        && (of_plan, of_run) == (&plan.to_owned(), &run.to_owned())
    {
        return Ok(Arc::clone(joined));
    }
    let read = ClusterPlan::parse(plan)?;
    let _ = std::env::set_current_dir(&read.directory);
    let words = std::iter::once("pixtune".to_owned()).chain(read.words);
    let Ok(Args { command: Command::Prepare(args), .. }) = Args::try_parse_from(words) else {
        return Err(Error::argument("the plan is not one of `prepare`"));
    };
    let mut options = commands::prepare::options(args)?;
    // The process that started the run decides about what is there already.
    (options.resume, options.force, options.threads) = (true, true, 1);
    let joined = Arc::new(Joined::new(Preparation::new(options)?, run)?);
    *last = Some((plan.to_owned(), run.to_owned(), Arc::clone(&joined)));
    Ok(joined)
}

fn forget() {
    *JOINED.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Runs `pixtune check` with these words. The result is JSON: what was checked, and how many findings there are.
pub fn check(words: &[OsString], hear: &mut dyn Hear) -> Result<String, Error> {
    guarded(|| {
        let (plan, notes) = commands::check::plan(&parse::<CheckArgs>("check", words)?)?;
        let mut events = CheckEvents::new(hear);
        notes.iter().for_each(|text| events.note(text));
        let summary = check::run(plan, &mut events)?;
        Ok(line(object(|out| {
            out.field("files", summary.files).field("samples", summary.samples);
            out.field("bad_samples", summary.bad_samples).field("images", summary.images);
            out.field("errors", summary.count(Severity::Error));
            out.field("warnings", summary.count(Severity::Warning));
            out.field("safe_fixes", summary.safe_fixes).field("unsafe_fixes", summary.unsafe_fixes);
        })))
    })
}

/// Runs `pixtune fix` with these words. The result is JSON: what was written, and what is left.
pub fn fix(words: &[OsString], hear: &mut dyn Hear) -> Result<String, Error> {
    guarded(|| {
        let plan = commands::fix::plan(&parse::<FixArgs>("fix", words)?)?;
        let mut events = FixEvents::new(hear, &plan.file);
        let summary = fix::run(&plan, &mut events)?;
        Ok(line(object(|out| {
            out.field("samples", summary.samples).field("changes", summary.changes);
            out.field("changed_lines", summary.changed_lines).field("dropped", summary.dropped);
            out.field("errors", summary.errors).field("bad_samples", summary.bad_samples);
            out.field("warnings", summary.warnings).field("fixable_errors", summary.fixable_errors);
        })))
    })
}

/// Runs `pixtune convert` with these words. The result is the JSON of its report.
pub fn convert(words: &[OsString], hear: &mut dyn Hear) -> Result<String, Error> {
    guarded(|| {
        let args = parse::<ConvertArgs>("convert", words)?;
        let hear = std::cell::RefCell::new(hear);
        let note = |text: &str| hear.borrow_mut().event(Event::Note(text));
        let mut watch = |done, total| {
            let mut hear = hear.borrow_mut();
            hear.progress(done, total);
            if hear.is_interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        commands::convert::report(&args, &note, &mut watch)
    })
}

/// Runs `pixtune adapter check` with these words. The result is JSON: a line for each module, then one for all.
pub fn adapter_check(words: &[OsString], hear: &mut dyn Hear) -> Result<String, Error> {
    guarded(|| {
        let args = parse::<AdapterCheckArgs>("adapter check", words)?;
        let hear = std::cell::RefCell::new(hear);
        commands::adapter::verdicts(&args, &|text| hear.borrow_mut().event(Event::Note(text)))
    })
}

/// A panic is an error like any other.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    crate::store_panic_messages();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Error::Defect { place: crate::last_panic() }))
}

/// The arguments of a command. The error is what the program prints, without its usage.
fn parse<A: Parser>(command: &str, words: &[OsString]) -> Result<A, Error> {
    let all = std::iter::once(OsString::from(format!("pixtune {command}"))).chain(words.iter().cloned());
    A::try_parse_from(all).map_err(|error| {
        let text = error.to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default();
        let text = text.split("\n\nFor more information").next().unwrap_or_default();
        Error::argument(text.strip_prefix("error: ").unwrap_or(text).trim_end())
    })
}
