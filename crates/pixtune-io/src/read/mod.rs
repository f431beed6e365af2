//! Rows in: tables, JSON Lines, JSON arrays, compressed or not; Parquet and Arrow; archives; image folders.
//!
//! A text format is one file here that knows where a row ends (`framing::Framing`); other formats have a [`RowReader`] of their
//! own. All of them pass one conformance suite. [`schema`] turns rows into samples. Files of finished conversations, which `check`, `fix`, `tokens`,
//! surveys and training read, come through [`LineFile`].

pub mod archive;
mod array;
pub mod array_lines;
pub mod blocks;
mod braces;
mod coco;
mod columnar;
mod compression;
#[cfg(test)]
mod conformance;
mod content;
mod detect;
mod dialect;
pub mod discover;
mod document;
pub(crate) mod encoding;
mod error;
mod file_reader;
pub(crate) mod file_state;
mod format;
mod framing;
mod input;
mod line_file;
mod line_index;
mod lines;
mod objects;
pub(crate) mod positioned;
pub mod records;
mod reread;
mod row_image;
mod row_text;
mod saved_dataset;
pub mod schema;
mod shard;
pub mod shared;
mod shortened;
mod stream_reader;
pub mod table;
mod workbook;

pub use archive::Member;
pub use columnar::BatchRows;
pub use compression::Compression;
pub use discover::{discover, keep_stdin};
pub use encoding::TextEncoding;
pub use error::ReadError;
pub use file_reader::FileReader;
pub use format::Format;
pub use input::{Input, TextChoice};
pub use line_file::{Elements, FileForm, LineFile, MAX_LINE};
pub use line_index::LineIndex;
pub use objects::Objects;
pub use reread::Rereader;
pub use row_image::RowImage;
pub use schema::{Aside, Labels, Reading, Schema};

use twox_hash::XxHash3_64;

/// Where a row is: enough to name it in a message and to read it again.
///
/// Rows of text are consecutive bytes of their file, decompressed where it is compressed. Rows of other formats are counted:
/// there the offset is the index of the row, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RowRef {
    /// The index of its file among the inputs of a run.
    pub file: u32,
    /// Its number in messages, from 1: the line that it starts on, or in a JSON array, which may be one line, the element.
    pub number: u64,
    /// Its first byte in the text, or its index.
    pub offset: u64,
    /// Its bytes: in a text including the line end or comma that ends it, elsewhere of its values.
    pub length: u64,
}

/// Where a line is, in a message or an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinePlace {
    /// The index of its file among the inputs of a run; of a loose image in a survey, the index of the image.
    pub file: u32,
    /// The line, from 1.
    pub line: u64,
}

/// The content of a row, without the line end or comma that ends it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The text: all of it, or as much as the reader keeps of one row.
    pub bytes: Vec<u8>,
    /// Images that the file holds as bytes; the text refers to them by name.
    pub images: Vec<RowImage>,
    /// Why this is not the whole row, if it is not.
    pub cut: Option<Cut>,
}

/// Why a row is incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// The row is larger than the limit.
    TooLarge {
        /// Its length in the file.
        bytes: u64,
    },
    /// The input ends inside a quoted cell.
    UnclosedQuote,
    /// A value of the row cannot be represented, or a part of it cannot be read.
    Unreadable {
        /// What is wrong with which part.
        why: String,
    },
}

impl Row {
    /// A complete row.
    pub fn whole(bytes: impl Into<Vec<u8>>) -> Row {
        Row { bytes: bytes.into(), ..Row::default() }
    }

    /// Whether it holds nothing but white space.
    pub fn is_blank(&self) -> bool {
        self.cut.is_none() && self.images.is_empty() && self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    /// Bytes of its text and its images.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.images.iter().map(|image| image.bytes.len()).sum::<usize>()
    }

    /// The length of a row that is larger than the limit.
    pub fn oversized(&self) -> Option<u64> {
        match self.cut {
            Some(Cut::TooLarge { bytes }) => Some(bytes),
            _ => None,
        }
    }

    /// A hash of the row and its place: a resumed run recognizes the rows of an unchanged input by it.
    pub fn hash(&self, at: RowRef) -> u64 {
        let text = XxHash3_64::oneshot_with_seed(at.offset ^ at.length << 32, &self.bytes);
        self.images.iter().fold(text, |seed, image| XxHash3_64::oneshot_with_seed(seed, &image.bytes))
    }
}

/// What identifies the content of an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// Its length.
    pub bytes: u64,
    /// Its hash, hexadecimal; empty for an object in a store, which is not read a second time for it.
    pub blake3: String,
    /// What the store calls the version of an object, if it does.
    pub version: Option<String>,
}

/// The rows of one file, in order.
pub trait RowReader: Send {
    /// The next row that is not blank, and where it is; `None` after the last.
    fn next_row(&mut self) -> Result<Option<(RowRef, Row)>, ReadError>;

    /// Reads again a row that this reader, or another of the same file, has returned. The file may have changed since:
    /// callers that must know compare [`Row::hash`]. A row that stands for damage between rows has no bytes to be read again.
    fn reread(&self, at: RowRef) -> Result<Row, ReadError>;

    /// The fingerprint of everything read so far: of the whole file once rows have ended.
    fn fingerprint(&self) -> Fingerprint;

    /// Bytes of the file that rows were read from so far, of the length that the file has on disk.
    fn position(&self) -> u64;

    /// The names of all columns, where the file declares them apart from its rows.
    fn columns(&self) -> Option<Vec<String>> {
        None
    }
}
