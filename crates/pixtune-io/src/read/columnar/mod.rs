//! Rows of files that hold columns: Parquet and Arrow. Both decode to record batches, of which only a few megabytes are in
//! memory at a time.

mod arrow_file;
mod labels;
pub(super) mod number;
mod parquet;
mod ranges;
mod value;

use std::borrow::Cow;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use labels::Labels;
use pixtune_core::json::Value;

use super::file_state::FileState;
use super::positioned::AnyFile;
use super::{Cut, Fingerprint, ReadError, Row, RowReader, RowRef};

/// Why a file cannot be decoded.
type Fault = Box<dyn Error + Send + Sync>;

/// Consecutive record batches.
type BatchIterator = Box<dyn Iterator<Item = Result<RecordBatch, Fault>> + Send>;

/// A file of record batches in groups that can be read independently.
trait Batches: Send + Sync {
    /// The names of its columns.
    fn columns(&self) -> Vec<String>;

    /// The names of its classes.
    fn labels(&self) -> &Labels;

    /// Its groups, in order.
    fn groups(&self) -> &[Group];

    /// Reads a group.
    fn read(&self, group: usize) -> Result<BatchIterator, Fault>;
}

/// Rows that are read together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// The index of its first row.
    pub(crate) first: u64,
    pub(crate) rows: u64,
    /// Its bytes in the file.
    pub(crate) bytes: u64,
}

/// Bytes of values in one batch, about.
const BATCH_BYTES: u64 = 4 << 20;

/// How many rows of such a size a batch has.
fn batch_rows(bytes: u64, rows: u64) -> usize {
    let row = bytes.checked_div(rows).unwrap_or(0).max(1);
    (BATCH_BYTES / row).clamp(1, 1024) as usize
}

/// Reads the rows of a file one by one.
pub(super) struct ColumnarReader {
    path: PathBuf,
    format: &'static str,
    file: u32,
    max_row: usize,
    batches: Arc<dyn Batches>,
    rows: Cursor,
    rereads: Mutex<Cursor>,
    fingerprint: Fingerprint,
    state: FileState,
}

impl ColumnarReader {
    /// Opens a Parquet file.
    pub(super) fn parquet(path: &Path, file: u32, max_row: usize) -> Result<ColumnarReader, ReadError> {
        ColumnarReader::open(path, "Parquet", file, max_row, |file| Ok(Arc::new(parquet::open(file)?)))
    }

    /// Opens an Arrow file or stream.
    pub(super) fn arrow(path: &Path, file: u32, max_row: usize) -> Result<ColumnarReader, ReadError> {
        ColumnarReader::open(path, "Arrow", file, max_row, |file| Ok(Arc::new(arrow_file::open(file)?)))
    }

    fn open(
        path: &Path,
        format: &'static str,
        index: u32,
        max_row: usize,
        open: impl FnOnce(AnyFile) -> Result<Arc<dyn Batches>, Fault>,
    ) -> Result<ColumnarReader, ReadError> {
        let file = AnyFile::open(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        let state = FileState::of(path)?;
        let batches = guarded(|| open(file)).map_err(|source| ReadError::Malformed {
            path: path.to_owned(),
            format,
            source,
        })?;
        Ok(ColumnarReader {
            path: path.to_owned(),
            format,
            file: index,
            max_row,
            batches,
            rows: Cursor::default(),
            rereads: Mutex::default(),
            fingerprint: Fingerprint::default(),
            state,
        })
    }

    /// The same reader at the first row of a group.
    pub(super) fn starting_at(mut self, index: u64) -> ColumnarReader {
        let group = self.batches.groups().partition_point(|group| group.first < index);
        self.rows = Cursor { group, end: index, ..Cursor::default() };
        self
    }

    /// Its groups of rows, in order.
    pub(super) fn groups(&self) -> Vec<Group> {
        self.batches.groups().to_vec()
    }

    fn malformed(&self, source: Fault) -> ReadError {
        ReadError::Malformed { path: self.path.clone(), format: self.format, source }
    }

    fn row(&self, cursor: &Cursor) -> Result<Row, ReadError> {
        guarded(|| Ok(cursor.row(self.batches.labels(), self.max_row)))
            .map_err(|source| self.malformed(source))
    }
}

impl RowReader for ColumnarReader {
    fn next_row(&mut self) -> Result<Option<(RowRef, Row)>, ReadError> {
        let batches = Arc::clone(&self.batches);
        let found = guarded(|| self.rows.advance(&*batches));
        let Some(index) = found.map_err(|source| self.malformed(source))? else {
            if self.fingerprint == Fingerprint::default() {
                self.fingerprint = self.state.fingerprint()?;
            }
            return Ok(None);
        };
        let row = self.row(&self.rows)?;
        let length = match &row.cut {
            Some(Cut::TooLarge { bytes }) => *bytes,
            _ => size(&row),
        };
        Ok(Some((RowRef { file: self.file, number: index + 1, offset: index, length }, row)))
    }

    fn reread(&self, at: RowRef) -> Result<Row, ReadError> {
        let mut cursor = self.rereads.lock().unwrap_or_else(PoisonError::into_inner);
        match guarded(|| cursor.seek(&*self.batches, at.offset)).map_err(|source| self.malformed(source))? {
            true => self.row(&cursor),
            false => Err(ReadError::Changed { path: self.path.clone() }),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn position(&self) -> u64 {
        self.rows.position(self.batches.groups())
    }

    fn columns(&self) -> Option<Vec<String>> {
        Some(self.batches.columns())
    }
}

/// A place among the rows of a file.
#[derive(Default)]
struct Cursor {
    /// The group that is read, or comes next.
    group: usize,
    batches: Option<BatchIterator>,
    batch: Option<RecordBatch>,
    /// The row within the batch, and within the file.
    at: usize,
    index: u64,
    /// The index of the row after the batch.
    end: u64,
}

impl Cursor {
    /// Goes to the next row and returns its index; `None` after the last.
    fn advance(&mut self, source: &dyn Batches) -> Result<Option<u64>, Fault> {
        if self.batch.as_ref().is_some_and(|batch| self.at + 1 < batch.num_rows()) {
            (self.at, self.index) = (self.at + 1, self.index + 1);
            return Ok(Some(self.index));
        }
        if !self.next_batch(source)? {
            return Ok(None);
        }
        (self.at, self.index) = (0, self.end - self.rows());
        Ok(Some(self.index))
    }

    /// Goes to a row; false if the file has no such row. Rows ahead in the group are reached by reading on: rows that are asked
    /// for in order cost one pass.
    fn seek(&mut self, source: &dyn Batches, index: u64) -> Result<bool, Fault> {
        let groups = source.groups();
        let Some(group) = groups.iter().position(|group| index < group.first + group.rows) else {
            return Ok(false);
        };
        let is_behind = self.batch.is_none() || index < self.end - self.rows();
        if is_behind || index >= self.end && group != self.group {
            *self = Cursor { group, end: groups[group].first, ..Cursor::default() };
        }
        while self.batch.is_none() || index >= self.end {
            if !self.next_batch(source)? {
                return Ok(false);
            }
        }
        (self.at, self.index) = ((index - (self.end - self.rows())) as usize, index);
        Ok(true)
    }

    /// Reads the next batch that has rows.
    fn next_batch(&mut self, source: &dyn Batches) -> Result<bool, Fault> {
        let groups = source.groups();
        while self.group < groups.len() {
            let batches = match &mut self.batches {
                Some(batches) => batches,
                none => none.insert(source.read(self.group)?),
            };
            match batches.next().transpose()? {
                Some(batch) if batch.num_rows() > 0 => {
                    self.end += batch.num_rows() as u64;
                    self.batch = Some(batch);
                    return Ok(true);
                }
                Some(_) => {}
                None => {
                    let group = groups[self.group];
                    if self.end != group.first + group.rows {
                        return Err(
                            format!("row group {} does not have the rows it declares", self.group).into()
                        );
                    }
                    self.batches = None;
                    self.group += 1;
                }
            }
        }
        self.batch = None;
        Ok(false)
    }

    /// The rows of the batch.
    fn rows(&self) -> u64 {
        self.batch.as_ref().map_or(0, |batch| batch.num_rows() as u64)
    }

    fn position(&self, groups: &[Group]) -> u64 {
        let before: u64 = groups.iter().take(self.group).map(|group| group.bytes).sum();
        let Some(group) = groups.get(self.group).filter(|group| group.rows > 0) else { return before };
        let done = (self.index + 1).saturating_sub(group.first) as f64 / group.rows as f64;
        before + (group.bytes as f64 * done.min(1.0)) as u64
    }

    fn row(&self, labels: &Labels, max_row: usize) -> Row {
        let Some(batch) = &self.batch else { return Row::default() };
        bounded(row_of(batch, self.at, labels), max_row)
    }
}

/// A row of a record batch as a JSON object without its null columns.
fn row_of(batch: &RecordBatch, at: usize, labels: &Labels) -> Row {
    let mut images = Vec::new();
    let schema = batch.schema_ref();
    let columns = schema.fields().iter().zip(batch.columns());
    let members = columns.filter(|(_, column)| !column.is_null(at));
    let members = members.map(|(field, column)| {
        let value = value::value(column, at, &mut images);
        (Cow::Borrowed(field.name().as_str()), labels.name(field.name(), value))
    });
    let text = Value::Object(members.collect()).to_string();
    Row { images, ..Row::whole(text) }
}

/// The rows of a record batch in memory, as they are read from a Parquet or Arrow file.
pub struct BatchRows {
    batch: RecordBatch,
    labels: Labels,
}

impl BatchRows {
    /// The rows of a batch.
    pub fn new(batch: RecordBatch) -> BatchRows {
        let labels = Labels::of(batch.schema_ref().metadata());
        BatchRows { batch, labels }
    }

    /// Their number.
    pub fn count(&self) -> usize {
        self.batch.num_rows()
    }

    /// The row at an index below [`BatchRows::count`].
    pub fn row(&self, at: usize) -> Row {
        row_of(&self.batch, at, &self.labels)
    }
}

/// The row if it is within the limit, else the beginning of its text.
pub(super) fn bounded(mut row: Row, max_row: usize) -> Row {
    let bytes = size(&row);
    if bytes <= max_row as u64 {
        return row;
    }
    row.bytes.truncate(max_row);
    Row { images: vec![], cut: Some(Cut::TooLarge { bytes }), ..row }
}

/// Bytes of the text of a row and of its images.
pub(super) fn size(row: &Row) -> u64 {
    row.size() as u64
}

/// Runs a decoder. The crates that decode these formats check a lot and panic on the rest.
fn guarded<T>(decode: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        Err(format!("the decoder failed: {message}").into())
    })
}
