//! Ranges of a Parquet file. Of an object in a store, each column has a window of its own, because pages of all columns are read in
//! turns and every request costs a round trip.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use pixtune_files::direct::Block;

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

/// Memory of pages, which is used again: a page of images can have 40 MB, and new memory costs as much as reading it.
#[derive(Default)]
struct Pages(Mutex<Vec<Block>>);

/// This many bytes are kept for pages to come.
const MOST_KEPT: usize = 48 << 20;

impl Pages {
    /// Memory for this many bytes.
    fn take(self: &Arc<Pages>, length: usize) -> Page {
        let mut kept = self.kept();
        let fits = kept.iter().position(|block| block.room() >= length);
        let block = fits.map_or_else(|| Block::with_room(length), |at| kept.swap_remove(at));
        Page { block, pages: Arc::clone(self) }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Block>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of a page.
struct Page {
    block: Block,
    pages: Arc<Pages>,
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        self.block.bytes()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let mut block = std::mem::replace(&mut self.block, Block::with_room(0));
        block.clear();
        let mut kept = self.pages.kept();
        // The newest are those of the size that pages have here.
        while kept.iter().map(Block::room).sum::<usize>() + block.room() > MOST_KEPT && !kept.is_empty() {
            kept.remove(0);
        }
        if block.room() <= MOST_KEPT {
            kept.push(block);
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
        source.read_exact(&mut page.block.free()[..length]).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ParquetError::EOF("the file became shorter".to_owned()),
            _ => error.into(),
        })?;
        page.block.advance(length);
        Ok(Bytes::from_owner(page))
    }
}
