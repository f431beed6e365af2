//! Rows of a text file in any of the formats.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::positioned::{AnyFile, ReadFrom};
use super::records::{Records, reread};
use super::{Fingerprint, Format, ReadError, Row, RowReader, RowRef};

/// Reads the rows of a file one by one. Threads can share it to read rows again.
#[derive(Debug)]
pub struct FileReader {
    path: PathBuf,
    file: Arc<AnyFile>,
    format: Format,
    max_row: usize,
    records: Records<ReadFrom<Arc<AnyFile>>>,
}

impl FileReader {
    /// Opens the file that has this index among the inputs of a run; at most `max_row` bytes of a row are kept. The header
    /// of a table is its first row here: [`FileReader::skip_header`] skips it.
    pub fn open(path: &Path, format: Format, index: u32, max_row: usize) -> Result<FileReader, ReadError> {
        let broken = |source| ReadError::Io { path: path.to_owned(), source };
        let file = Arc::new(AnyFile::open(path).map_err(broken)?);
        let source = ReadFrom { file: Arc::clone(&file), at: 0 };
        let records = Records::new(source, format, max_row).of_file(index);
        Ok(FileReader { path: path.to_owned(), file, format, max_row, records })
    }

    /// Opens a file at one of its rows, to read on from there without a fingerprint.
    pub fn open_at(path: &Path, format: Format, at: RowRef, max_row: usize) -> Result<FileReader, ReadError> {
        let reader = FileReader::open(path, format, at.file, max_row)?;
        let source = ReadFrom { file: Arc::clone(&reader.file), at: at.offset };
        let records = Records::new(source, format, max_row).unhashed().starting_at(at);
        Ok(FileReader { records, ..reader })
    }

    /// Skips the header of a table; other formats have none.
    pub fn skip_header(mut self) -> Result<FileReader, ReadError> {
        if matches!(self.format, Format::Table { .. }) {
            self.next_row()?;
        }
        Ok(self)
    }

    fn broken(&self, source: io::Error) -> ReadError {
        ReadError::Io { path: self.path.clone(), source }
    }
}

impl RowReader for FileReader {
    fn next_row(&mut self) -> Result<Option<(RowRef, Row)>, ReadError> {
        self.records.next_row().map_err(|source| ReadError::Io { path: self.path.clone(), source })
    }

    fn reread(&self, at: RowRef) -> Result<Row, ReadError> {
        let kept = at.length.min(self.max_row as u64);
        // At once, because the length is known: a million short rows are a million calls.
        let mut bytes = vec![0; usize::try_from(kept).unwrap_or(self.max_row)];
        let mut source = ReadFrom { file: Arc::clone(&self.file), at: at.offset };
        source.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Changed { path: self.path.clone() },
            _ => self.broken(error),
        })?;
        Ok(reread(bytes, at, self.format))
    }

    fn fingerprint(&self) -> Fingerprint {
        let version = match &*self.file {
            AnyFile::Local(_) => None,
            AnyFile::Object(object) => object.version().map(str::to_owned),
        };
        Fingerprint { version, ..self.records.fingerprint() }
    }

    fn position(&self) -> u64 {
        self.records.position()
    }
}
