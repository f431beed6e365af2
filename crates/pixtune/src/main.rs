//! pixtune: from pictures and text to a fine-tuned, servable Pixtral.

mod args;
mod commands;
mod error;
mod ui;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};

/// What a command came to, as its exit code.
enum Outcome {
    /// Done, nothing to report.
    Fine,
    /// Done, and the data has findings of severity error.
    Findings,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Command::Prepare(args) => commands::prepare::run(args),
        Command::Tokens(args) => commands::tokens::run(args),
    };
    match result {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(error) => {
            ui::complain(&error);
            ExitCode::from(2)
        }
    }
}
