//! pixtune: from images and text to a fine-tuned, servable Pixtral. [`run`] is the program, [`library`] has its commands as
//! functions for other languages.

mod args;
mod cluster;
mod color;
mod commands;
mod error;
mod hub;
mod interrupt;
pub mod library;
mod model;
mod ui;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use clap::Parser as _;

use args::{Args, Command};
use cluster::ClusterPlan;
use pixtune_io::prepare::Engine;

/// The exit code of a run that could not be done.
const FAILED: u8 = 2;

/// The result of a command, which decides its exit code.
#[derive(Debug)]
enum Outcome {
    /// Success.
    Fine,
    /// Success, but there are findings, such as errors in the data; the reason ends the output.
    Findings(String),
    /// Another process has printed its result and ended with this exit code.
    Ended(u8),
}

/// Runs the program and returns its exit code. The first word is its name; `program` are the words that start it once more, which
/// `serve` does for its jobs.
pub fn run(
    words: impl IntoIterator<Item = OsString>,
    program: impl FnOnce() -> io::Result<Vec<OsString>>,
) -> u8 {
    let code = run_command(words, Host::Program(Box::new(program)));
    // A program in Rust does so as it ends, another one does not.
    let _ = io::stdout().flush();
    code
}

/// What the program runs in.
enum Host<'h> {
    /// A process that ends with it. The words start the program once more.
    Program(Box<dyn FnOnce() -> io::Result<Vec<OsString>> + 'h>),
    /// A process that performs the stages of `prepare` on other machines.
    Engine(&'h mut dyn Engine),
}

/// Runs a plan that `prepare --engine ray` wrote on an engine, and returns the exit code.
pub fn run_plan(plan: &str, engine: &mut dyn Engine) -> u8 {
    let plan = match ClusterPlan::parse(plan) {
        Ok(plan) => plan,
        Err(error) => {
            ui::print_error(&error);
            return FAILED;
        }
    };
    // Paths may be absolute: a relative one that does not exist here is an error by itself.
    let _ = std::env::set_current_dir(&plan.directory);
    let words = std::iter::once("pixtune".to_owned()).chain(plan.words).map(OsString::from);
    let code = run_command(words, Host::Engine(engine));
    let _ = io::stdout().flush();
    code
}

fn run_command(words: impl IntoIterator<Item = OsString>, host: Host<'_>) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    let Args { command, output } = match Args::try_parse_from(&words) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(FAILED);
        }
    };
    color::choose(output.color);
    store_panic_messages();
    let verbosity = output.verbosity();
    let result = catch_unwind(AssertUnwindSafe(|| match command {
        Command::Prepare(args) => commands::prepare::run(args, verbosity, &words, host),
        Command::Tokens(args) => commands::tokens::run(args, verbosity),
        Command::Check(args) => commands::check::run(args, verbosity),
        Command::Fix(args) => commands::fix::run(args, verbosity),
        Command::Rules(args) => commands::rules::run(args),
        Command::Stats(args) => commands::stats::run(args, verbosity),
        Command::Report(args) => commands::report::run(args, verbosity),
        Command::Plan(args) => commands::plan::run(args, verbosity),
        Command::Export(args) => commands::export::run(args, verbosity),
        Command::Train(args) => commands::train::run(&args, verbosity),
        Command::TrainWith(args) => commands::train_with::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(args, verbosity),
        Command::Convert(args) => commands::convert::run(args, verbosity),
        Command::Generate(args) => commands::generate::run(args, verbosity),
        Command::Adapter(args) => commands::adapter::run(args, verbosity),
        Command::Deploy(args) => commands::deploy::run(args, verbosity),
        Command::Run(args) => commands::run::run(&args, || host.program(), verbosity),
        Command::Serve(args) => commands::serve::run(&args, || host.program(), verbosity),
        Command::Files(args) => commands::remote::files(&args, verbosity),
        Command::Jobs(args) => commands::remote::jobs(&args, verbosity),
        Command::Models(args) => commands::remote::models(&args, verbosity),
        Command::Chat(args) => commands::remote::chat(&args, verbosity),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::man::run(&args),
    }));
    match result.unwrap_or_else(|_| Err(error::Error::Defect { place: last_panic() })) {
        Ok(Outcome::Fine) => 0,
        Ok(Outcome::Findings(_)) if output.exit_zero => 0,
        Ok(Outcome::Ended(code)) => code,
        Ok(Outcome::Findings(reason)) => {
            ui::print_reason(&reason);
            1
        }
        Err(error) => {
            ui::print_error(&error);
            FAILED
        }
    }
}

impl Host<'_> {
    fn program(self) -> io::Result<Vec<OsString>> {
        match self {
            Host::Program(program) => program(),
            Host::Engine(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Outcome {
    /// `Findings` with this reason if there are any.
    fn of(has_findings: bool, reason: impl FnOnce() -> String) -> Outcome {
        if has_findings { Outcome::Findings(reason()) } else { Outcome::Fine }
    }
}

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Stores the message of a panic instead of printing it: a panic in one row becomes a finding, and the standard hook
/// would print into the progress bar. The message is printed if the panic ends the run.
fn store_panic_messages() {
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|panic| {
            *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
        }));
    }
}

fn last_panic() -> String {
    LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
