//! pixtune: from images and text to a fine-tuned, servable Pixtral. [`run`] is the program, [`library`] has its commands as
//! functions for other languages.

mod args;
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

/// The exit code of a run that could not be done.
const FAILED: u8 = 2;

/// The result of a command, which decides its exit code.
#[derive(Debug)]
enum Outcome {
    /// Success.
    Fine,
    /// Success, but there are findings, such as errors in the data; the reason ends the output.
    Findings(String),
}

/// Runs the program and returns its exit code. The first word is its name; `program` are the words that start it once more, which
/// `serve` does for its jobs.
pub fn run(
    words: impl IntoIterator<Item = OsString>,
    program: impl FnOnce() -> io::Result<Vec<OsString>>,
) -> u8 {
    let code = run_command(words, program);
    // A program in Rust does so as it ends, another one does not.
    let _ = io::stdout().flush();
    code
}

fn run_command(
    words: impl IntoIterator<Item = OsString>,
    program: impl FnOnce() -> io::Result<Vec<OsString>>,
) -> u8 {
    let Args { command, output } = match Args::try_parse_from(words) {
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
        Command::Prepare(args) => commands::prepare::run(args, verbosity),
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
        Command::Run(args) => commands::run::run(&args, program, verbosity),
        Command::Serve(args) => commands::serve::run(&args, program, verbosity),
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
