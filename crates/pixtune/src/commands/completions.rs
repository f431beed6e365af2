//! `pixtune completions`.

use clap::CommandFactory as _;

use crate::Outcome;
use crate::args::{Args, CompletionsArgs};
use crate::error::Error;
use crate::ui;

/// Prints the script.
pub fn run(args: &CompletionsArgs) -> Result<Outcome, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "pixtune", &mut script);
    ui::put_plain(&script)?;
    Ok(Outcome::Fine)
}
