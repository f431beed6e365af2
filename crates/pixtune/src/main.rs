//! The program. What it does is in the library, which the Python package has too.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(pixtune::run(env::args_os(), || env::current_exe().map(|program| vec![program.into()])))
}
