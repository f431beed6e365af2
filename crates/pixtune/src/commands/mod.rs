//! One file a command.

pub mod check;
pub mod prepare;
pub mod rules;
pub mod tokens;

use std::io;

use crate::Outcome;
use crate::error::Error;

/// What was found under a name, or an error that lists the names there are.
fn choose<T>(
    what: &str,
    name: &str,
    found: Option<T>,
    known: impl Iterator<Item = &'static str>,
) -> Result<T, Error> {
    let unknown = || {
        let known: Vec<&str> = known.collect();
        Error::argument(format!("`{name}` is no {what}; the choice is {}", known.join(", ")))
    };
    found.ok_or_else(unknown)
}

/// A reader that went away ends the output, and that is no error.
fn ends_quietly(error: io::Error) -> Result<Outcome, Error> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(Outcome::Fine),
        _ => Err(Error::argument(format!("cannot write to standard output: {error}"))),
    }
}
