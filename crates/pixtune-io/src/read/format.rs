//! The formats of rows, recognized by name and first bytes, and what is refused because it is none of them.

use std::path::Path;

use super::array::{ArrayFraming, starts_array};
use super::blocks::BYTE_ORDER_MARK;
use super::document::{ListFraming, ObjectsFraming, Shape};
use super::framing::Framing;
use super::lines::LineFraming;
use super::table::TableFraming;

/// How a file holds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One row per line.
    JsonLines,
    /// One JSON array with a row per element.
    JsonArray,
    /// JSON objects one after another, over any number of lines.
    JsonObjects,
    /// One JSON object with a list of rows.
    JsonList {
        /// The key of the list.
        key: &'static str,
    },
    /// One JSON object whose members are the rows.
    JsonKeyed,
    /// Captions and the images that they are of, as in COCO.
    Coco,
    /// CSV or TSV, with a header.
    Table {
        /// The byte between cells.
        separator: u8,
    },
    /// Parquet.
    Parquet,
    /// Arrow IPC: a stream, or a Feather file.
    Arrow,
    /// A WebDataset shard: a tar archive.
    Shard,
    /// A sheet of an `.xlsx` workbook.
    Workbook,
}

impl Format {
    /// The format of a file, by its extension or, where that decides nothing, by its first bytes.
    pub(super) fn of(extension: &str, start: &[u8]) -> Format {
        match extension {
            _ if start.starts_with(b"PAR1") => Format::Parquet,
            _ if start.starts_with(b"ARROW1") => Format::Arrow,
            "csv" => Format::Table { separator: b',' },
            "tsv" | "tab" => Format::Table { separator: b'\t' },
            "parquet" => Format::Parquet,
            "arrow" | "feather" => Format::Arrow,
            "tar" | "tgz" => Format::Shard,
            _ if start.get(257..262) == Some(b"ustar") => Format::Shard,
            _ => Format::sniff(extension, start),
        }
    }

    /// JSON starts with a bracket; the first line of a table has more tabs or more commas.
    fn sniff(extension: &str, start: &[u8]) -> Format {
        let text = start.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(start).trim_ascii_start();
        let is_lines = matches!(extension, "jsonl" | "ndjson");
        match text.first() {
            Some(b'{') => Format::JsonLines,
            Some(b'[') if !is_lines => Format::JsonArray,
            _ if is_lines => Format::JsonLines,
            _ => {
                let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let count = |wanted: u8| header.iter().filter(|byte| **byte == wanted).count();
                let separator = if count(b'\t') > count(b',') { b'\t' } else { b',' };
                Format::Table { separator }
            }
        }
    }

    /// Whether its rows are consecutive bytes of text.
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Format::Parquet | Format::Arrow | Format::Shard | Format::Workbook)
    }

    /// The format in which a reader returns each of its rows.
    pub(super) fn of_rows(self) -> Format {
        match self {
            Format::Table { .. } | Format::JsonKeyed => self,
            Format::JsonArray | Format::JsonObjects | Format::JsonList { .. } | Format::Coco => {
                Format::JsonLines
            }
            Format::JsonLines | Format::Parquet | Format::Arrow | Format::Shard | Format::Workbook => {
                Format::JsonLines
            }
        }
    }

    pub(super) fn framing(self) -> Box<dyn Framing> {
        match self {
            Format::Table { separator } => Box::new(TableFraming::new(separator)),
            Format::JsonArray => Box::<ArrayFraming>::default(),
            Format::JsonObjects => Box::<ObjectsFraming>::default(),
            Format::JsonList { key } => Box::new(ListFraming::new(key)),
            Format::JsonKeyed => Box::new(ArrayFraming::of_members()),
            Format::Coco => Box::new(ListFraming::new("annotations")),
            _ => Box::new(LineFraming),
        }
    }
}

/// What a file is that has rows for `prepare` and no conversations, by its name or its first bytes.
pub(super) fn table_of(path: &Path, start: &[u8]) -> Option<&'static str> {
    match start {
        [b'P', b'A', b'R', b'1', ..] => return Some("a Parquet file"),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => return Some("an Arrow file"),
        _ => {}
    }
    match inner_extension(path).as_str() {
        "csv" | "tsv" | "tab" => Some("a table"),
        "parquet" => Some("a Parquet file"),
        "arrow" | "feather" => Some("an Arrow file"),
        "tar" | "tgz" | "zip" => Some("an archive"),
        "xlsx" => Some("a workbook"),
        _ => None,
    }
}

/// The format of a file of conversations that starts like this, where it is not one per line: an array, which is called
/// `.json` (in a file with another name, a line that is an array is an error of that line), or objects over several lines.
pub(super) fn elements_of(path: &Path, start: &[u8], is_whole: bool) -> Option<Format> {
    if starts_array(start) {
        return (inner_extension(path) == "json").then_some(Format::JsonArray);
    }
    let text = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start).trim_ascii_start();
    let spans_lines = text.starts_with(b"{") && Shape::of(text, is_whole) == Shape::Objects;
    spans_lines.then_some(Format::JsonObjects)
}

/// What a file that starts like this is, if it is not UTF-8 text at all.
pub(super) fn encoding_of(start: &[u8]) -> Option<&'static str> {
    let text = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start).trim_ascii_start();
    let begins =
        |tag: &str| text.get(..tag.len()).is_some_and(|text| text.eq_ignore_ascii_case(tag.as_bytes()));
    if begins("<!doctype html") || begins("<html") {
        return Some("a web page (HTML)");
    }
    match start {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [0x1f, 0x8b, ..] => Some("gzip-compressed"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd-compressed"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive (an .xlsx workbook?)"),
        [b'B', b'Z', b'h', ..] => Some("bzip2-compressed"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz-compressed"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => Some("a workbook or document of old Office versions"),
        [b'S', b'Q', b'L', b'i', b't', b'e', b' ', ..] => Some("a SQLite database"),
        [0x89, b'H', b'D', b'F', ..] => Some("an HDF5 file"),
        [b'%', b'P', b'D', b'F', ..] => Some("a PDF"),
        [0x89, b'P', b'N', b'G', ..]
        | [0xff, 0xd8, 0xff, ..]
        | [b'G', b'I', b'F', b'8', ..]
        | [b'R', b'I', b'F', b'F', ..] => Some("an image"),
        _ => None,
    }
}

pub(super) fn extension(path: &Path) -> String {
    crate::remote::extension_of(path)
}

/// The extension of a file without that of its compression: `csv` of `rows.csv.gz`.
pub(super) fn inner_extension(path: &Path) -> String {
    let outer = extension(path);
    match outer.as_str() {
        "gz" | "zst" | "zstd" => {
            let name = path.to_string_lossy();
            // Of a URL with a query, the name ends before it.
            let end = name.to_ascii_lowercase().rfind(&format!(".{outer}")).unwrap_or(name.len());
            extension(Path::new(&name[..end]))
        }
        _ => outer,
    }
}
