//! Opening a file of lines, or of one array that is read as lines, and noticing that it changed while it was read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pixtune_io::read::ReadError;
use pixtune_io::read::array::ArrayLines;
use pixtune_io::read::discover::{encoding_of, is_array, is_table};
use pixtune_io::read::shared::Source;

use crate::error::Error;

/// A file of lines, open.
pub struct Lines {
    /// Its bytes.
    pub source: Source,
    /// Whether the file is one array, whose elements come as lines.
    pub is_array: bool,
    /// What relative images are relative to.
    pub directory: PathBuf,
    /// What the file was like when it was opened.
    pub before: Before,
}

/// What tells whether someone wrote to a file meanwhile; nothing does for pipes.
pub struct Before {
    path: PathBuf,
    state: Option<(u64, Option<SystemTime>)>,
}

impl Lines {
    /// Opens a file of lines, `-` for standard input; more than `max_line` bytes are not kept of an element of an array. What is no text at all is refused before a thousand findings say so.
    pub fn open(path: &Path, max_line: usize) -> Result<Lines, Error> {
        let broken = |source| ReadError::Io { path: path.to_owned(), source };
        let mut stream: Box<dyn Read + Send> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(broken)?)
        };
        if is_table(path) {
            return Err(ReadError::Table { path: path.to_owned() }.into());
        }
        let before = Before { path: path.to_owned(), state: state(path) };
        let mut start = Vec::new();
        stream.by_ref().take(8).read_to_end(&mut start).map_err(broken)?;
        if let Some(encoding) = encoding_of(&start) {
            return Err(ReadError::Encoding { path: path.to_owned(), encoding }.into());
        }
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let is_array = is_array(path)?;
        let source = match before.state {
            Some(_) if is_array => {
                let file = File::open(path).map_err(broken)?;
                Source::Stream(Box::new(ArrayLines::new(file, max_line)))
            }
            // Files of the system that are made while they are read have no length.
            Some((length, _)) if length > 0 => Source::File(File::open(path).map_err(broken)?, length),
            _ => Source::Stream(Box::new(io::Cursor::new(start).chain(stream))),
        };
        Ok(Lines { source, is_array, directory, before })
    }
}

/// What to say of a file that is one array: the numbers of its findings are no lines.
pub fn numbers_of_array(name: &str) -> String {
    format!("{name}: one JSON array; the numbers behind its name count its elements")
}

impl Before {
    /// Refuses what was read of a file that was written to meanwhile: its end may be torn, its places may have moved.
    pub fn still_holds(&self) -> Result<(), Error> {
        if self.state.is_some() && state(&self.path) != self.state {
            return Err(ReadError::Changed { path: self.path.clone() }.into());
        }
        Ok(())
    }
}

fn state(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((about.len(), about.modified().ok()))
}
