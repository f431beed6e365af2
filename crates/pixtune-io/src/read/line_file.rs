//! Files of conversations, one per line: the one source of lines for `check`, `fix`, `tokens`, surveys and training.
//!
//! A `.json` file that is one array is read as lines, one element per line; compressed files are decompressed. Tables and
//! other encodings are refused, and so is a file that changes while it is read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::array_lines::ArrayLines;
use super::blocks::{BYTE_ORDER_MARK, Block, Blocks, UsedBlocks};
use super::compression::Compression;
use super::file_state::FileState;
use super::format::{Format, elements_of, encoding_of, table_of};
use super::positioned::{AnyFile, ReadFrom};
use super::shared::{Share, SharedLines, Source};
use super::{Fingerprint, ReadError, Row, RowRef};
use crate::parallel;
use crate::remote::{is_remote, shown};

/// The bytes of a line that are kept unless something else is asked for: two hundred images of 2.5 MB.
pub const MAX_LINE: usize = 512_000_000;

/// A file of lines, open.
pub struct LineFile {
    /// Its name in messages: the path as the user gave it.
    pub name: String,
    /// What relative paths of images are relative to.
    pub directory: PathBuf,
    /// What the file is instead of lines. Its rows are numbered one by one, and cannot be read again.
    pub elements: Option<Elements>,
    compression: Option<Compression>,
    path: PathBuf,
    source: Source,
    max_line: usize,
    /// The first byte after a byte order mark.
    text_start: u64,
    /// The length and time of a regular file when it was opened.
    state: Option<(u64, Option<SystemTime>)>,
}

/// What a file of conversations can be instead of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// One JSON array.
    Array,
    /// JSON objects, each over several lines.
    Objects,
}

impl Elements {
    /// What such a file is.
    pub fn as_str(self) -> &'static str {
        match self {
            Elements::Array => "one JSON array",
            Elements::Objects => "JSON objects over several lines",
        }
    }

    /// What the numbers of rows mean in such a file.
    pub fn note(self) -> &'static str {
        match self {
            Elements::Array => "one JSON array; the numbers after its name count its elements",
            Elements::Objects => {
                "JSON objects over several lines; the numbers after its name count the objects"
            }
        }
    }
}

/// What is known of a file once all its lines were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileForm {
    /// What it is instead of lines.
    pub elements: Option<Elements>,
    /// It starts with a byte order mark.
    pub has_byte_order_mark: bool,
    /// Its length and hash, where they were asked for.
    pub fingerprint: Option<Fingerprint>,
}

impl LineFile {
    /// Opens a file, `-` for standard input; at most `max_line` bytes of a line are kept. Content that is not text is
    /// refused here, before every line of it becomes a finding.
    pub fn open(path: &Path, max_line: usize) -> Result<LineFile, ReadError> {
        let broken = |source| ReadError::Io { path: path.to_owned(), source };
        let open = || File::open(path).map_err(broken);
        let is_remote = is_remote(path);
        let stream: Box<dyn Read + Send> = match path == Path::new("-") {
            true => Box::new(io::stdin()),
            false if is_remote => {
                let file = Arc::new(AnyFile::open(path).map_err(broken)?);
                Box::new(ReadFrom { file, at: 0 })
            }
            false => Box::new(open()?),
        };
        let state = state(path);
        let mut lines = LineFile::new(path, stream, (state, state.is_some()), max_line)?;
        // Files that the system generates while they are read have no length.
        if let Some((length, _)) = state
            && length > 0
            && !is_remote
            && lines.compression.is_none()
            && lines.elements.is_none()
        {
            lines.source = Source::File(open()?, length);
        }
        Ok(lines)
    }

    /// The lines of a stream, such as a file that is still arriving; `path` is its name in messages.
    pub fn of_stream(
        path: &Path,
        stream: Box<dyn Read + Send>,
        max_line: usize,
    ) -> Result<LineFile, ReadError> {
        LineFile::new(path, stream, (None, true), max_line)
    }

    fn new(
        path: &Path,
        mut stream: Box<dyn Read + Send>,
        (state, may_have_elements): (Option<(u64, Option<SystemTime>)>, bool),
        max_line: usize,
    ) -> Result<LineFile, ReadError> {
        let broken = |source| ReadError::Io { path: path.to_owned(), source };
        let mut start = head(&mut stream).map_err(broken)?;
        let compression = Compression::of(&start);
        if let Some(compression) = compression {
            stream =
                compression.decompress(Box::new(io::Cursor::new(start).chain(stream))).map_err(broken)?;
            start = head(&mut stream).map_err(broken)?;
        }
        refuse_other_content(path, &start)?;
        let text_start = if start.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() as u64 } else { 0 };
        let is_whole = (start.len() as u64) < HEAD;
        let format = elements_of(path, &start, is_whole).filter(|_| may_have_elements);
        let whole = io::Cursor::new(start).chain(stream);
        let source = match format {
            Some(format) => Source::Stream(Box::new(ArrayLines::new(whole, format, max_line))),
            None => Source::Stream(Box::new(whole)),
        };
        Ok(LineFile {
            name: shown(&path.display().to_string()),
            directory: path.parent().map(Path::to_owned).unwrap_or_default(),
            elements: format.map(|format| match format {
                Format::JsonObjects => Elements::Objects,
                _ => Elements::Array,
            }),
            compression,
            path: path.to_owned(),
            source,
            max_line,
            text_start,
            state,
        })
    }

    /// Opens a file whose rows will be read again by their places: not standard input, an array or a compressed file.
    pub fn open_rereadable(path: &Path, max_line: usize) -> Result<LineFile, ReadError> {
        let file = LineFile::open(path, max_line)?;
        if let Some(elements) = file.elements {
            let what = elements.as_str();
            return Err(ReadError::Array { path: path.to_owned(), what });
        }
        if let Some(compression) = file.compression {
            return Err(ReadError::Compressed { path: path.to_owned(), compression: compression.name() });
        }
        Ok(file)
    }

    /// Also computes the fingerprint of the file, for which one thread at a time reads it.
    pub fn with_fingerprint(self) -> LineFile {
        let source = match self.source {
            Source::File(file, _) => Source::Hashed(Box::new(file)),
            Source::Stream(stream) | Source::Hashed(stream) => Source::Hashed(stream),
        };
        LineFile { source, ..self }
    }

    /// Processes blocks of lines on threads: `work` appends a result for each line, and `sink` gets the results in the order
    /// of the lines. Each result comes with the length of its line.
    pub fn each_block<Done: Send, Error: From<ReadError> + Send>(
        self,
        threads: usize,
        work: impl Fn(&mut Block, &mut Vec<Done>) + Sync,
        mut sink: impl FnMut(Vec<Done>) -> Result<(), Error> + Send,
    ) -> Result<FileForm, Error> {
        let LineFile { source, max_line, elements, path, state, .. } = self;
        let broken = |source| Error::from(ReadError::Io { path: path.clone(), source });
        let lines = SharedLines::new(source, max_line, threads);
        let work = |share: Share| {
            let mut done = Vec::new();
            let work = |block: &mut Block| {
                let before = done.len();
                work(block, &mut done);
                done.len() - before
            };
            lines.read(share, work).map(|()| done)
        };
        parallel::ordered(
            threads,
            || lines.next_share().map_err(broken),
            work,
            |done: io::Result<Vec<Done>>| sink(done.map_err(broken)?),
        )?;
        refuse_changed(&path, state)?;
        let (has_byte_order_mark, fingerprint) = (lines.has_byte_order_mark(), lines.fingerprint());
        Ok(FileForm { elements, has_byte_order_mark, fingerprint })
    }

    /// Processes lines on threads, many at a time: `work` gets every line, blank ones included, and `sink` gets the results
    /// in the order of the lines.
    pub fn each_row<Done: Send, Error: From<ReadError> + Send>(
        self,
        threads: usize,
        work: impl Fn(Row) -> Done + Sync,
        mut sink: impl FnMut(RowRef, Done) -> Result<(), Error> + Send,
    ) -> Result<FileForm, Error> {
        let mut places = Places::from(self.text_start);
        self.each_block(
            threads,
            |block, done| done.extend(block.rows().map(|(length, row)| (length, work(row)))),
            |done: Vec<(u64, Done)>| {
                done.into_iter().try_for_each(|(length, done)| sink(places.next(length), done))
            },
        )
    }

    /// Processes rows on threads, one at a time: for rows whose images are decoded. `work` gets every row that is not blank.
    /// Returns the fingerprint of the file where it was asked for.
    pub fn each_large_row<Done: Send, Error: From<ReadError> + Send>(
        self,
        threads: usize,
        work: impl Fn(RowRef, Row) -> Done + Sync,
        mut sink: impl FnMut(RowRef, Done) -> Result<(), Error> + Send,
    ) -> Result<Option<Fingerprint>, Error> {
        let LineFile { source, max_line, path, text_start, state, .. } = self;
        let broken = |source| Error::from(ReadError::Io { path: path.clone(), source });
        let mut rows = OneByOne::new(source.into_stream(), text_start, max_line);
        let next = || rows.next_row().map_err(broken);
        parallel::ordered(threads, next, |(at, row)| (at, work(at, row)), |(at, done)| sink(at, done))?;
        refuse_changed(&path, state)?;
        Ok(rows.blocks.source().fingerprint())
    }
}

/// Bytes that show what a file holds.
const HEAD: u64 = 4 << 10;

/// The first bytes of a stream: enough to show what it holds.
fn head(stream: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    stream.take(HEAD).read_to_end(&mut start)?;
    Ok(start)
}

/// Refuses a file that does not hold conversations, one per line, before every line of it becomes a finding.
fn refuse_other_content(path: &Path, start: &[u8]) -> Result<(), ReadError> {
    if let Some(what) = table_of(path, start) {
        return Err(ReadError::Table { path: path.to_owned(), what });
    }
    match encoding_of(start) {
        Some(encoding) => Err(ReadError::Encoding { path: path.to_owned(), encoding }),
        None => Ok(()),
    }
}

/// The places of lines that follow each other.
struct Places {
    number: u64,
    offset: u64,
}

impl Places {
    fn from(offset: u64) -> Places {
        Places { number: 0, offset }
    }

    /// The place of the next line, which has this length.
    fn next(&mut self, length: u64) -> RowRef {
        self.number += 1;
        self.offset += length;
        RowRef { file: 0, number: self.number, offset: self.offset - length, length }
    }
}

/// The rows of a stream one by one.
struct OneByOne<R> {
    blocks: Blocks<R>,
    used: UsedBlocks,
    rows: std::vec::IntoIter<(u64, Row)>,
    places: Places,
}

impl<R: Read> OneByOne<R> {
    fn new(source: R, text_start: u64, max_line: usize) -> OneByOne<R> {
        OneByOne {
            blocks: Blocks::new(source, max_line),
            used: UsedBlocks::default(),
            rows: Vec::new().into_iter(),
            places: Places::from(text_start),
        }
    }

    /// The next row that is not blank.
    fn next_row(&mut self) -> io::Result<Option<(RowRef, Row)>> {
        loop {
            for (length, row) in self.rows.by_ref() {
                let at = self.places.next(length);
                if !row.is_blank() {
                    return Ok(Some((at, row)));
                }
            }
            let mut block = self.used.take();
            if !self.blocks.read_into(&mut block)? {
                return Ok(None);
            }
            self.rows = block.rows().collect::<Vec<_>>().into_iter();
            self.used.give(block);
        }
    }
}

/// Refuses what was read of a file that was written to meanwhile: its end may be torn, its lines may have moved.
fn refuse_changed(path: &Path, before: Option<(u64, Option<SystemTime>)>) -> Result<(), ReadError> {
    if before.is_some() && state(path) != before {
        return Err(ReadError::Changed { path: path.to_owned() });
    }
    Ok(())
}

fn state(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    // An object is read in one version.
    if is_remote(path) {
        return Some((FileState::of(path).ok()?.length(), None));
    }
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((about.len(), about.modified().ok()))
}
