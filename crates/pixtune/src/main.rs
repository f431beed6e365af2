//! pixtune: from images and text to a fine-tuned, servable Pixtral.

mod args;
mod color;
mod commands;
mod error;
mod hub;
mod missing;
mod model_hints;
mod ui;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Parser as _;

use args::{Args, Command};

/// The result of a command, which decides its exit code.
enum Outcome {
    /// Success.
    Fine,
    /// Success, but the data has errors.
    Findings,
}

fn main() -> ExitCode {
    let args = Args::parse();
    store_panic_messages();
    let result = catch_unwind(AssertUnwindSafe(|| match args.command {
        Command::Prepare(args) => commands::prepare::run(args),
        Command::Tokens(args) => commands::tokens::run(args),
        Command::Check(args) => commands::check::run(args),
        Command::Fix(args) => commands::fix::run(args),
        Command::Rules(args) => commands::rules::run(args),
        Command::Stats(args) => commands::stats::run(args),
        Command::Report(args) => commands::report::run(args),
        Command::Plan(args) => commands::plan::run(args),
        Command::Train(args) => commands::train::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(args),
        Command::Convert(args) => commands::convert::run(args),
        Command::Generate(args) => commands::generate::run(args),
        Command::Adapter(args) => commands::adapter::run(args),
    }));
    match result.unwrap_or_else(|_| Err(error::Error::Defect { place: last_panic() })) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(error) => {
            ui::print_error(&error);
            ExitCode::from(2)
        }
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
