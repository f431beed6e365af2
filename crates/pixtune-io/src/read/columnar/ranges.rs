//! Ranges of a Parquet file. Of an object in a store, each column has a window of its own, because pages of all columns are read in
//! turns and every request costs a round trip.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::super::positioned::{AnyFile, ReadAt as _, ReadFrom};
use crate::remote::{Object, RemoteError};

/// What the metadata of a file refers to must lie within it, which bounds every read.
#[derive(Clone)]
pub(super) struct Ranges {
    file: Arc<AnyFile>,
    length: u64,
    columns: Option<Arc<Columns>>,
    pages: Arc<Pages>,
}

/// Memory of pages, which is used again: pages of images have a megabyte, and new memory costs as much as reading them.
#[derive(Default)]
struct Pages(Mutex<Vec<Vec<u8>>>);

/// This many are kept, and none that is larger.
const MOST_PAGES: usize = 8;
const LARGEST_PAGE: usize = 4 << 20;

impl Pages {
    /// Memory of at least this many bytes, with anything in it.
    fn take(self: &Arc<Pages>, length: usize) -> Page {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if memory.len() < length {
            memory.clear();
            memory.resize(length, 0);
        }
        Page { memory, length, pages: Arc::clone(self) }
    }
}

/// The bytes of a page.
struct Page {
    memory: Vec<u8>,
    length: usize,
    pages: Arc<Pages>,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let mut free = self.pages.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MOST_PAGES && self.memory.len() <= LARGEST_PAGE {
            free.push(std::mem::take(&mut self.memory));
        }
    }
}

/// Bytes of all windows together, and of one at least and at most.
const WINDOWS: u64 = 64 << 20;
const SMALLEST: u64 = 256 << 10;
const LARGEST: u64 = 8 << 20;

impl Ranges {
    pub(super) fn new(file: AnyFile) -> io::Result<Ranges> {
        file.require_ranges("a Parquet file")?;
        let length = file.length()?;
        Ok(Ranges { file: Arc::new(file), length, columns: None, pages: Arc::default() })
    }

    /// The same for a group of rows whose columns are in these ranges.
    pub(super) fn of_columns(&self, ranges: impl Iterator<Item = (u64, u64)>) -> Ranges {
        let AnyFile::Object(object) = &*self.file else { return self.clone() };
        let ends: BTreeMap<u64, u64> = ranges.filter(|(start, end)| start < end).collect();
        let window = (WINDOWS / (ends.len() as u64).max(1)).clamp(SMALLEST, LARGEST);
        let columns = Columns { object: Arc::clone(object), ends, window, windows: Mutex::default() };
        Ranges { columns: Some(Arc::new(columns)), ..self.clone() }
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        if let Some(window) = self.columns.as_ref().and_then(|columns| columns.window(at, 1).transpose()) {
            let window = window?;
            let count = buffer.len().min(window.len());
            buffer[..count].copy_from_slice(&window[..count]);
            return Ok(count);
        }
        self.file.read_at(buffer, at)
    }
}

/// The columns of a group of rows in an object.
struct Columns {
    object: Arc<Object>,
    /// Where each column ends, by its start.
    ends: BTreeMap<u64, u64>,
    window: u64,
    /// What was read last of each column, by its start: where that begins, and the bytes.
    windows: Mutex<BTreeMap<u64, (u64, Bytes)>>,
}

impl Columns {
    /// The bytes of a column from a position on, at least as many as asked for; `None` if that is in no column.
    fn window(&self, at: u64, length: u64) -> Result<Option<Bytes>, RemoteError> {
        let Some((start, end)) = self.ends.range(..=at).next_back() else { return Ok(None) };
        let Some(wanted) = at.checked_add(length).filter(|wanted| wanted <= end) else { return Ok(None) };
        let known = || self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, bytes)) = known().get(start)
            && *from <= at
            && wanted <= from + bytes.len() as u64
        {
            return Ok(Some(bytes.slice((at - from) as usize..)));
        }
        let bytes = self.object.range(at..wanted.max(at + self.window).min(*end))?;
        known().insert(*start, (at, bytes.clone()));
        Ok(Some(bytes))
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.length
    }
}

/// A stream of a file from a position on.
pub(super) struct Stream {
    ranges: Ranges,
    at: u64,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.ranges.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl ChunkReader for Ranges {
    type T = io::BufReader<Stream>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(io::BufReader::new(Stream { ranges: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} are outside of the file")));
        }
        if let Some(columns) = &self.columns
            && let Some(window) = columns.window(start, length as u64).map_err(io::Error::from)?
        {
            return Ok(window.slice(..length));
        }
        let mut page = self.pages.take(length);
        let mut source = ReadFrom { file: Arc::clone(&self.file), at: start };
        source.read_exact(&mut page.memory[..length]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ParquetError::EOF("the file became shorter".to_owned()),
            _ => error.into(),
        })?;
        Ok(Bytes::from_owner(page))
    }
}
