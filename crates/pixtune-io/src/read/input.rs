//! One input of a run: where its bytes are, how they hold rows, and the reader for that.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use pixtune_core::split::GivenSplit;

use super::columnar::ColumnarReader;
use super::compression::Compression;
use super::content::Content;
use super::discover::split_of;
use super::format::{encoding_of, inner_extension};
use super::stream_reader::StreamReader;
use super::{FileReader, Format, ReadError, RowReader};

/// One file of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in messages: the path as the user gave it, `-` for standard input.
    pub name: String,
    /// Where its bytes are.
    pub path: PathBuf,
    /// What relative images are relative to.
    pub directory: PathBuf,
    /// Whether paths of another machine are looked for in that directory too.
    pub strips_roots: bool,
    /// How it holds them.
    pub format: Format,
    /// How the file is compressed as a whole.
    pub compression: Option<Compression>,
    /// The split that its path names, where the inputs name more than one.
    pub split: Option<GivenSplit>,
}

/// Bytes that show the format of a file.
const START: u64 = 64 << 10;

impl Input {
    /// A file, recognized by its name and its first bytes.
    pub(super) fn of(path: PathBuf) -> Result<Input, ReadError> {
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let name = path.display().to_string();
        let extension = inner_extension(&path);
        let split = split_of(&path);
        Input { name, directory, split, ..Input::unrecognized(path) }.recognize(&extension)
    }

    /// Standard input, of which this is a copy: recognized by its first bytes alone.
    pub(super) fn of_stdin(copy: &Path) -> Result<Input, ReadError> {
        let directory = PathBuf::from(".");
        Input { name: "-".to_owned(), directory, ..Input::unrecognized(copy.to_owned()) }.recognize("")
    }

    fn unrecognized(path: PathBuf) -> Input {
        Input {
            name: String::new(),
            path,
            directory: PathBuf::new(),
            strips_roots: false,
            format: Format::JsonLines,
            compression: None,
            split: None,
        }
    }

    /// Finds the compression and the format of an input. A compressed file is called `rows.csv.gz`.
    fn recognize(mut self, extension: &str) -> Result<Input, ReadError> {
        let path = self.path.clone();
        let broken = |source| ReadError::Io { path: path.clone(), source };
        let mut start = Vec::new();
        File::open(&path).map_err(broken)?.take(START).read_to_end(&mut start).map_err(broken)?;
        self.compression = Compression::of(&start);
        if self.compression.is_some() {
            start.clear();
            let opened = self.content().open().map_err(broken)?;
            opened.stream.take(START).read_to_end(&mut start).map_err(broken)?;
        }
        self.format = Format::of(extension, &start);
        let encoding =
            if self.format.is_text() { encoding_of(&start) } else { self.compression.map(Compression::name) };
        match encoding {
            Some(encoding) => Err(ReadError::Encoding { path, encoding }),
            None => Ok(self),
        }
    }

    /// Starts reading its rows, after the header of a table; `index` is its place among the inputs of a run. At most
    /// `max_row` bytes of a row are kept.
    pub fn open(&self, index: u32, max_row: usize) -> Result<Box<dyn RowReader>, ReadError> {
        let mut reader = self.open_with_header(index, max_row)?;
        if matches!(self.format.of_rows(), Format::Table { .. }) {
            reader.next_row()?;
        }
        Ok(reader)
    }

    /// The same, where the header of a table is its first row.
    pub(super) fn open_with_header(
        &self,
        index: u32,
        max_row: usize,
    ) -> Result<Box<dyn RowReader>, ReadError> {
        Ok(match self.format {
            Format::Parquet => Box::new(ColumnarReader::parquet(&self.path, index, max_row)?),
            Format::Arrow => Box::new(ColumnarReader::arrow(&self.path, index, max_row)?),
            _ if self.compression.is_some() => {
                Box::new(StreamReader::open(self.content(), self.format, index, max_row)?)
            }
            _ => Box::new(FileReader::open(&self.path, self.format, index, max_row)?),
        })
    }

    fn content(&self) -> Content {
        Content { path: self.path.clone(), compression: self.compression }
    }
}
