//! Rows of text that can only be read from the beginning on: compressed files, and tables in archives.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::content::{Content, Forward, Opened};
use super::file_state::FileState;
use super::records::{Records, reread};
use super::{Fingerprint, Format, ReadError, Row, RowReader, RowRef};

/// Reads the rows of a stream one by one.
pub(super) struct StreamReader {
    content: Content,
    format: Format,
    max_row: usize,
    state: FileState,
    records: Records<Box<dyn Read + Send>>,
    consumed: Arc<AtomicU64>,
    rereads: Mutex<Forward>,
    fingerprint: Fingerprint,
}

impl StreamReader {
    /// Opens the content that has this index among the inputs of a run. The header of a table is its first row here.
    pub(super) fn open(
        content: Content,
        format: Format,
        index: u32,
        max_row: usize,
    ) -> Result<StreamReader, ReadError> {
        let state = FileState::of(&content.path)?;
        let opened = content.open().map_err(|source| ReadError::Io { path: content.path.clone(), source });
        let Opened { stream, consumed } = opened?;
        let records = Records::new(stream, format, max_row).unhashed().of_file(index);
        let (rereads, fingerprint) = Default::default();
        Ok(StreamReader { content, format, max_row, state, records, consumed, rereads, fingerprint })
    }

    fn broken(&self, source: io::Error) -> ReadError {
        ReadError::Io { path: self.content.path.clone(), source }
    }
}

impl RowReader for StreamReader {
    fn next_row(&mut self) -> Result<Option<(RowRef, Row)>, ReadError> {
        let row = self.records.next_row().map_err(|source| self.broken(source))?;
        if row.is_none() && self.fingerprint == Fingerprint::default() {
            self.fingerprint = self.state.fingerprint()?;
        }
        Ok(row)
    }

    fn reread(&self, at: RowRef) -> Result<Row, ReadError> {
        let kept = at.length.min(self.max_row as u64);
        let mut rereads = self.rereads.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = rereads.bytes(&self.content, at.offset, kept).map_err(|source| self.broken(source))?;
        if (bytes.len() as u64) < kept {
            return Err(ReadError::Changed { path: self.content.path.clone() });
        }
        Ok(reread(bytes, at, self.format))
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn position(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed).min(self.state.length())
    }
}
