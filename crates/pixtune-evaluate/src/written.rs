//! Files of lines that this run writes, some of which it reads again.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::error::EvaluateError;

/// Bytes of a line that is read again; a longer one is cut, and no JSON then.
const MOST_LINE: u64 = 16 << 20;

/// A file of lines while it is written.
pub(crate) struct LinesOut {
    path: PathBuf,
    out: BufWriter<File>,
}

impl LinesOut {
    pub(crate) fn create(path: &Path) -> Result<LinesOut, EvaluateError> {
        let file =
            File::create(path).map_err(|source| EvaluateError::Write { path: path.to_owned(), source })?;
        Ok(LinesOut { path: path.to_owned(), out: BufWriter::new(file) })
    }

    pub(crate) fn add(&mut self, lines: &str) -> Result<(), EvaluateError> {
        let added = self.out.write_all(lines.as_bytes());
        added.map_err(|source| EvaluateError::Write { path: self.path.clone(), source })
    }

    pub(crate) fn finish(mut self) -> Result<(), EvaluateError> {
        self.out.flush().map_err(|source| EvaluateError::Write { path: self.path, source })
    }
}

/// So many lines from an offset on.
pub(crate) fn read_lines(path: &Path, offset: u64, count: usize) -> Result<Vec<String>, EvaluateError> {
    let broken = |source| EvaluateError::Write { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(broken)?;
    file.seek(SeekFrom::Start(offset)).map_err(broken)?;
    let mut reader = BufReader::new(file);
    let mut lines = Vec::new();
    for _ in 0..count {
        let mut line = Vec::new();
        reader.by_ref().take(MOST_LINE).read_until(b'\n', &mut line).map_err(broken)?;
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    Ok(lines)
}
