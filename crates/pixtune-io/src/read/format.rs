//! The formats of rows, recognized by name and first bytes, and what is refused because it is none of them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::ReadError;
use super::array::{ArrayFraming, starts_array};
use super::lines::LineFraming;
use super::records::Framing;
use super::table::TableFraming;

/// How a file holds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One row per line.
    JsonLines,
    /// One JSON array with a row per element.
    JsonArray,
    /// CSV or TSV, with a header.
    Table {
        /// The byte between cells.
        separator: u8,
    },
}

impl Format {
    /// The format of a file, by its extension or, where that decides nothing, by its first bytes.
    pub(super) fn of(path: &Path) -> Result<Format, ReadError> {
        match extension(path).as_str() {
            "csv" => Ok(Format::Table { separator: b',' }),
            "tsv" | "tab" => Ok(Format::Table { separator: b'\t' }),
            "jsonl" | "ndjson" => Ok(Format::JsonLines),
            _ => Format::sniff(path),
        }
    }

    /// JSON starts with a bracket; the first line of a table has more tabs or more commas.
    pub(super) fn sniff(path: &Path) -> Result<Format, ReadError> {
        let bytes = first_bytes(path)?;
        let text = bytes.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(&bytes).trim_ascii_start();
        match text.first() {
            Some(b'{') => Ok(Format::JsonLines),
            Some(b'[') => Ok(Format::JsonArray),
            _ => {
                let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let count = |wanted: u8| header.iter().filter(|byte| **byte == wanted).count();
                let separator = if count(b'\t') > count(b',') { b'\t' } else { b',' };
                Ok(Format::Table { separator })
            }
        }
    }

    pub(super) fn framing(self) -> Box<dyn Framing> {
        match self {
            Format::JsonLines => Box::new(LineFraming),
            Format::JsonArray => Box::<ArrayFraming>::default(),
            Format::Table { separator } => Box::new(TableFraming::new(separator)),
        }
    }
}

/// Whether a name is that of a table, which has no conversations.
pub(super) fn is_table(path: &Path) -> bool {
    matches!(extension(path).as_str(), "csv" | "tsv" | "tab")
}

/// Whether a file is one JSON array: it is called `.json` and starts with a bracket. In a file with another name, a line
/// that is an array is an error of that line.
pub(super) fn is_array(path: &Path) -> Result<bool, ReadError> {
    Ok(extension(path) == "json" && path.is_file() && starts_array(&first_bytes(path)?))
}

/// Refuses a file that is not UTF-8 text.
pub(super) fn refuse_other_encodings(path: &Path) -> Result<(), ReadError> {
    match encoding_of(&first_bytes(path)?) {
        Some(encoding) => Err(ReadError::Encoding { path: path.to_owned(), encoding }),
        None => Ok(()),
    }
}

/// What a file that starts like this is, if it is not UTF-8 text at all.
pub(super) fn encoding_of(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [0x1f, 0x8b, ..] => Some("gzip-compressed"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd-compressed"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive (an .xlsx workbook?)"),
        [b'P', b'A', b'R', b'1', ..] => Some("Parquet"),
        [b'B', b'Z', b'h', ..] => Some("bzip2-compressed"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz-compressed"),
        [b'%', b'P', b'D', b'F', ..] => Some("a PDF"),
        [0x89, b'P', b'N', b'G', ..]
        | [0xff, 0xd8, 0xff, ..]
        | [b'G', b'I', b'F', b'8', ..]
        | [b'R', b'I', b'F', b'F', ..] => Some("an image"),
        _ => None,
    }
}

pub(super) fn extension(path: &Path) -> String {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase()
}

fn first_bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
    let broken = |source| ReadError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(broken)?.take(64 << 10).read_to_end(&mut bytes).map_err(broken)?;
    Ok(bytes)
}
