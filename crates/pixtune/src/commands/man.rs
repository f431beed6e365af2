//! `pixtune man`.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _};

use crate::Outcome;
use crate::args::{Args, ManArgs};
use crate::error::Error;

/// Writes the pages.
pub fn run(args: &ManArgs) -> Result<Outcome, Error> {
    if args.directory.exists() && !args.directory.is_dir() {
        return Err(Error::argument(format!(
            "`{}` is a file; name the directory for the pages",
            args.directory.display()
        )));
    }
    fs::create_dir_all(&args.directory).map_err(|source| write_error(&args.directory, source))?;
    let mut command = Args::command();
    command.build();
    write(&command, &args.directory)?;
    Ok(Outcome::Fine)
}

/// The pages of a command and of the commands below it.
fn write(command: &Command, directory: &Path) -> Result<(), Error> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = directory.join(format!("{name}.1"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(|source| write_error(&path, source))?;
    pixtune_files::write(&path, &page).map_err(|source| write_error(&path, source))?;
    command
        .get_subcommands()
        .filter(|below| below.get_name() != "help")
        .try_for_each(|below| write(below, directory))
}

fn write_error(path: &Path, source: std::io::Error) -> Error {
    Error::Write { path: path.to_owned(), source }
}
