//! One input of a run: where its bytes are, how they hold rows, and the reader for that.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use pixtune_core::split::{GivenSplit, split_of_path};

use super::archive::{self, Folder, Member};
use super::blocks::BYTE_ORDER_MARK;
use super::coco::CocoReader;
use super::columnar::{ColumnarReader, Group};
use super::compression::Compression;
use super::content::Content;
use super::dialect::Dialect;
use super::document::Shape;
use super::encoding::{TextEncoding, TextForm, encoding_of_text, sample};
use super::format::{encoding_of, extension, inner_extension};
use super::positioned::{AnyFile, ReadFrom};
use super::shard::ShardReader;
use super::stream_reader::StreamReader;
use super::workbook::{self, SheetReader};
use super::{FileReader, Format, ReadError, RowReader, RowRef};
use crate::remote::shown;

/// One file of rows.
#[derive(Debug, Clone)]
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
    /// The table in the archive that is read.
    pub member: Option<Member>,
    /// The part of a workbook that holds the sheet.
    pub(super) sheet: Option<String>,
    /// How its text is written.
    pub(super) text: TextForm,
    /// The first line of the table names the separator.
    pub(super) declares_separator: bool,
    /// What was guessed about its text, for the user to see.
    pub notes: Vec<String>,
}

/// What the user knows of the text of inputs; the rest is found out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextChoice {
    /// The encoding of all of them.
    pub encoding: Option<TextEncoding>,
    /// The byte between the cells of tables.
    pub separator: Option<u8>,
    /// The sheet of workbooks.
    pub sheet: Option<String>,
}

/// Bytes that show the format of a file.
const START: u64 = 1 << 20;

impl Input {
    /// The inputs in a file, recognized by its name and its first bytes: the tables of an archive, or the file itself.
    pub(super) fn all_of(path: PathBuf, choice: &TextChoice) -> Result<Vec<Input>, ReadError> {
        let start = start_of(&path)?;
        if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
            let folder = Folder::of_zip(&path)?;
            if workbook::is_workbook(&folder) {
                return Ok(vec![Input::sheet(path, &folder, choice)?]);
            }
            if !folder.names(|name| name == "content.xml" || name == "styles.xml").is_empty() {
                return Err(ReadError::Encoding { path, encoding: "an OpenDocument file" });
            }
            Input::refuse_sheet(&path, choice)?;
            return Input::tables(path, folder, choice);
        }
        Input::refuse_sheet(&path, choice)?;
        let input = Input::of(path, choice)?;
        if input.format == Format::Shard
            && input.compression.is_none()
            && archive::starts_with_table(&input.path)?
        {
            let folder = Folder::of_tar(&input.path)?;
            return Input::tables(input.path, folder, choice);
        }
        Ok(vec![input])
    }

    /// A sheet of a workbook.
    fn sheet(path: PathBuf, folder: &Folder, choice: &TextChoice) -> Result<Input, ReadError> {
        let (sheet, note) = workbook::choose_sheet(&path, folder, choice.sheet.as_deref())?;
        Ok(Input {
            name: shown(&path.display().to_string()),
            directory: path.parent().map(Path::to_owned).unwrap_or_default(),
            split: split_of(&path),
            format: Format::Workbook,
            sheet: Some(sheet),
            notes: note.into_iter().collect(),
            ..Input::unrecognized(path)
        })
    }

    /// A sheet was asked for, and this is not a workbook.
    fn refuse_sheet(path: &Path, choice: &TextChoice) -> Result<(), ReadError> {
        match choice.sheet {
            Some(_) => Err(ReadError::NoWorkbook { path: path.to_owned() }),
            None => Ok(()),
        }
    }

    /// The tables of an archive: the metadata of image folders, or else all tables.
    fn tables(path: PathBuf, folder: Folder, choice: &TextChoice) -> Result<Vec<Input>, ReadError> {
        let base = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let mut names =
            folder.names(|name| ["metadata.csv", "metadata.jsonl"].contains(&base(name).as_str()));
        if names.is_empty() {
            let is_table = |name: &str| {
                matches!(
                    inner_extension(Path::new(name)).as_str(),
                    "csv" | "tsv" | "tab" | "jsonl" | "ndjson"
                )
            };
            names = folder.names(|name| is_table(name) && !base(name).starts_with("._"));
        }
        if names.is_empty() {
            let has_columns =
                |name: &str| matches!(extension(Path::new(name)).as_str(), "parquet" | "arrow" | "feather");
            return Err(match folder.names(has_columns).into_iter().next() {
                Some(member) => ReadError::ColumnsInArchive { path, member },
                None => ReadError::NoTable { path },
            });
        }
        let folder = Arc::new(folder);
        let input = |name: String| {
            let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
            let extension = inner_extension(Path::new(&name));
            let input = Input {
                name: format!("{}/{name}", shown(&path.display().to_string())),
                directory: path.parent().map(Path::to_owned).unwrap_or_default(),
                split: split_of(Path::new(&name)).or_else(|| split_of(&path)),
                member: Some(Member { folder: Arc::clone(&folder), name, directory }),
                ..Input::unrecognized(path.clone())
            };
            input.recognize(&extension, choice)
        };
        names.into_iter().map(input).collect()
    }

    fn of(path: PathBuf, choice: &TextChoice) -> Result<Input, ReadError> {
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let name = shown(&path.display().to_string());
        let extension = inner_extension(&path);
        let split = split_of(&path);
        Input { name, directory, split, ..Input::unrecognized(path) }.recognize(&extension, choice)
    }

    /// Standard input, of which this is a copy: recognized by its first bytes alone.
    pub(super) fn of_stdin(copy: &Path, choice: &TextChoice) -> Result<Input, ReadError> {
        let directory = PathBuf::from(".");
        Input { name: "-".to_owned(), directory, ..Input::unrecognized(copy.to_owned()) }
            .recognize("", choice)
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
            member: None,
            sheet: None,
            text: TextForm::default(),
            declares_separator: false,
            notes: Vec::new(),
        }
    }

    /// Finds the compression and the format of an input. A compressed file is called `rows.csv.gz`.
    fn recognize(mut self, extension: &str, choice: &TextChoice) -> Result<Input, ReadError> {
        let path = self.path.clone();
        let broken = |source| ReadError::Io { path: path.clone(), source };
        let read_start = |content: &Content| {
            let mut start = Vec::new();
            content.open()?.stream.take(START).read_to_end(&mut start)?;
            Ok(start)
        };
        let mut start = read_start(&self.content()).map_err(broken)?;
        self.compression = Compression::of(&start);
        if self.compression.is_some() {
            start = read_start(&self.content()).map_err(broken)?;
        }
        let is_whole = (start.len() as u64) < START;
        // A signature is found in the bytes of the file, before a decoder has made text of them.
        let by_signature = Format::of(extension, &start);
        let encoding = match choice.encoding {
            Some(chosen) => chosen.other_than_utf8(),
            None if by_signature.is_text() => encoding_of_text(&start, is_whole),
            None => None,
        };
        let text = decoded(&start, encoding);
        self.format = if by_signature.is_text() { Format::of(extension, &text) } else { by_signature };
        if self.format.is_text()
            && let Some(encoding) = not_text(&start, encoding, choice)
        {
            return Err(ReadError::Encoding { path, encoding });
        }
        if !self.format.is_text() {
            // Columns and shards are read where they are.
            return match self.compression {
                Some(compression) if self.format != Format::Shard => {
                    Err(ReadError::Encoding { path, encoding: compression.name() })
                }
                _ => Ok(self),
            };
        }
        if self.format == Format::JsonLines {
            self.format = self.document(&text, is_whole)?;
        }
        self.text = TextForm { encoding, has_cr_ends: false };
        if let Some(encoding) = encoding.filter(|_| choice.encoding.is_none()) {
            self.note_encoding(encoding, &start);
        }
        self.find_dialect(&text, choice);
        Ok(self)
    }

    /// The format of a text that begins like lines of JSON.
    fn document(&mut self, text: &[u8], is_whole: bool) -> Result<Format, ReadError> {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let format = match Shape::of(text, is_whole) {
            Shape::Lines => return Ok(Format::JsonLines),
            Shape::Objects => Format::JsonObjects,
            Shape::List(key) => Format::JsonList { key },
            Shape::Coco => Format::Coco,
            Shape::Keyed => Format::JsonKeyed,
            Shape::Unknown(lists) => return Err(ReadError::Document { name: self.name.clone(), lists }),
        };
        self.notes.push(match format {
            Format::JsonObjects => "JSON objects over several lines, each read as a row".to_owned(),
            Format::JsonList { key } => {
                format!(
                    "one JSON object; the elements of `{key}` are the rows, and its other keys are not used"
                )
            }
            Format::Coco => {
                "annotations in COCO's format, each a row with the image that it names".to_owned()
            }
            _ => "one JSON object; its members are the rows, and `key` is the key of each".to_owned(),
        });
        Ok(format)
    }

    fn note_encoding(&mut self, encoding: &'static Encoding, start: &[u8]) {
        let sample = sample(start, encoding).unwrap_or_default();
        self.notes.push(format!(
            "not UTF-8; read as {}, for example \u{201c}{sample}\u{201d} (set it with `--encoding`)",
            encoding.name()
        ));
    }

    /// Finds the ends of lines and the separator of a table.
    fn find_dialect(&mut self, text: &[u8], choice: &TextChoice) {
        let Format::Table { separator: usual } = self.format else { return };
        self.text.has_cr_ends =
            memchr::memchr(b'\n', text).is_none() && memchr::memchr(b'\r', text).is_some();
        let lines: Cow<'_, [u8]> = match self.text.has_cr_ends {
            true => text.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte }).collect(),
            false => text.into(),
        };
        let Dialect { separator, is_declared } = Dialect::of(&lines, usual);
        self.declares_separator = is_declared;
        self.format = Format::Table { separator: choice.separator.unwrap_or(separator) };
        if choice.separator.is_none() && separator != usual && !is_declared {
            let shown =
                if separator == b'\t' { "tabs".to_owned() } else { format!("`{}`", char::from(separator)) };
            self.notes.push(format!("cells are separated by {shown} (set it with `--separator`)"));
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
            Format::Workbook => {
                let sheet = self.sheet.as_deref().unwrap_or_default();
                Box::new(SheetReader::open(&self.path, sheet, index, max_row)?)
            }
            Format::Shard => Box::new(ShardReader::open(self.content(), index, max_row)?),
            _ => self.open_text(index, max_row)?,
        })
    }

    /// Starts reading at a row that a reader of the file has returned, or at the first row of a group.
    pub(crate) fn open_at(&self, at: RowRef, max_row: usize) -> Result<Box<dyn RowReader>, ReadError> {
        Ok(match self.format {
            Format::Parquet => {
                Box::new(ColumnarReader::parquet(&self.path, at.file, max_row)?.starting_at(at.offset))
            }
            Format::Arrow => {
                Box::new(ColumnarReader::arrow(&self.path, at.file, max_row)?.starting_at(at.offset))
            }
            _ => Box::new(FileReader::open_at(&self.path, self.format, at, max_row)?),
        })
    }

    /// Whether its rows are separate lines of a file: whoever knows where a row starts can read it without those before it.
    pub(crate) fn has_separate_rows(&self) -> bool {
        let is_stream = self.compression.is_some() || self.member.is_some() || self.text.is_converted();
        !is_stream && matches!(self.format, Format::JsonLines | Format::Table { .. })
    }

    /// The groups of rows that can be read without those before them, if it has any.
    pub(crate) fn groups(&self) -> Result<Vec<Group>, ReadError> {
        Ok(match self.format {
            Format::Parquet => ColumnarReader::parquet(&self.path, 0, 0)?.groups(),
            Format::Arrow => ColumnarReader::arrow(&self.path, 0, 0)?.groups(),
            _ => Vec::new(),
        })
    }

    fn open_text(&self, index: u32, max_row: usize) -> Result<Box<dyn RowReader>, ReadError> {
        let is_stream = self.compression.is_some() || self.member.is_some() || self.text.is_converted();
        let mut reader: Box<dyn RowReader> = match is_stream {
            true => Box::new(StreamReader::open(self.content(), self.format, index, max_row)?),
            false => Box::new(FileReader::open(&self.path, self.format, index, max_row)?),
        };
        if self.declares_separator {
            reader.next_row()?;
        }
        if self.format == Format::Coco {
            let images = Input { format: Format::JsonList { key: "images" }, ..self.clone() };
            return Ok(Box::new(CocoReader::new(
                &self.name,
                reader,
                &mut *images.open_text(index, max_row)?,
            )?));
        }
        Ok(reader)
    }

    fn content(&self) -> Content {
        let (path, member) = (self.path.clone(), self.member.clone());
        Content { path, compression: self.compression, member, text: self.text }
    }
}

/// The split that the name of a file or of its directory names. Directories above describe where the dataset is, not what it is.
fn split_of(path: &Path) -> Option<GivenSplit> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let directory = path.parent().and_then(name);
    split_of_path(directory.as_deref().into_iter(), &name(path)?)
}

/// What a file is that is no text in any encoding that is read.
fn not_text(start: &[u8], encoding: Option<&'static Encoding>, choice: &TextChoice) -> Option<&'static str> {
    let is_utf16 = encoding.is_some_and(|encoding| encoding == UTF_16LE || encoding == UTF_16BE);
    if let Some(known) = encoding_of(start).filter(|known| !is_utf16 || *known != "UTF-16") {
        return Some(known);
    }
    // Zeros are in no text but that of UTF-16 and UTF-32; a detector would find an encoding for any bytes.
    let is_guessed = encoding.is_some() && choice.encoding.is_none() && !is_utf16;
    (is_guessed && memchr::memchr(0, start).is_some()).then_some("binary data")
}

/// The beginning of a text as UTF-8.
fn decoded<'b>(bytes: &'b [u8], encoding: Option<&'static Encoding>) -> Cow<'b, [u8]> {
    match encoding {
        Some(encoding) => match encoding.decode_with_bom_removal(bytes).0 {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
        None => Cow::Borrowed(bytes),
    }
}

fn start_of(path: &Path) -> Result<Vec<u8>, ReadError> {
    let mut start = Vec::new();
    let read =
        AnyFile::open(path).and_then(|file| ReadFrom { file: &file, at: 0 }.take(8).read_to_end(&mut start));
    read.map(|_| start).map_err(|source| ReadError::Io { path: path.to_owned(), source })
}
