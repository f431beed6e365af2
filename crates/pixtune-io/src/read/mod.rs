//! Rows in: tables, JSON Lines and JSON arrays of rows or conversations, image folders.

pub mod array;
pub mod blocks;
pub mod discover;
mod error;
pub mod records;
pub mod shared;
pub mod table;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use pixtune_core::checks::{self, Row};
use pixtune_core::columns::{Cell, ColumnChoice, Columns, ImagePosition, Role};
use pixtune_core::conversation;
use pixtune_core::curate::label_hash;
use pixtune_core::diagnostic::{Finding, Severity, pointer_push};
use pixtune_core::fix;
use pixtune_core::foreign;
use pixtune_core::json::{self, Value};
use pixtune_core::rules;
use pixtune_core::sample::{Image, Sample};
use pixtune_core::target;

pub use discover::{Input, discover, keep_stdin};
pub use error::ReadError;
use records::{Cut, Framing, RawRow, Records};
use table::cells;

/// What an input holds and how its rows become samples.
#[derive(Debug, Clone)]
pub struct Table {
    /// The file.
    pub input: Input,
    /// The names of its columns: a table's header, or the keys of the first flat row.
    pub header: Vec<String>,
    /// Which column is what; `None` when the first row is a conversation.
    pub columns: Option<Columns>,
    /// Keys of conversations that are not part of them.
    pub aside: Aside,
    /// The first row is a record of another tool, to be read as a conversation.
    pub of_records: bool,
}

/// The keys beside `messages` that this run uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// The row's id.
    pub id: String,
    /// The group, where one was chosen.
    pub group: Option<String>,
    /// The stratum, where one was chosen.
    pub stratum: Option<String>,
}

impl Aside {
    fn new(choice: &ColumnChoice) -> Aside {
        let named = |role| choice.named(role).next().map(str::to_owned);
        let id = named(Role::Id).unwrap_or_else(|| "id".to_owned());
        Aside { id, group: named(Role::Group), stratum: named(Role::Stratum) }
    }

    fn keys(&self) -> Vec<&str> {
        let labels = [&self.group, &self.stratum].into_iter().flatten();
        std::iter::once(&self.id).chain(labels).map(String::as_str).collect()
    }
}

/// A sample and what the run needs to know beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The sample, meant to be used when no finding is an error.
    pub sample: Sample<Image>,
    /// What was found while reading it.
    pub findings: Vec<Finding>,
    /// What the row is called and belongs to.
    pub labels: Labels,
}

/// Hashes of a row's labels; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Labels {
    /// Of the id.
    pub id: u64,
    /// Of the group.
    pub group: u64,
    /// Of the stratum.
    pub stratum: u64,
}

impl Labels {
    fn new<'a>(cell: impl Fn(&str) -> Option<Cell<'a>>, aside: &Aside) -> Labels {
        let hash = |key: &str| match cell(key) {
            None | Some(Cell::Json(Value::Null)) => 0,
            Some(Cell::Text(text)) => hash_text(text),
            Some(Cell::Json(Value::String(text))) => hash_text(text),
            Some(Cell::Json(value)) => hash_text(&value.to_string()),
        };
        let optional = |key: &Option<String>| key.as_deref().map_or(0, hash);
        Labels { id: hash(&aside.id), group: optional(&aside.group), stratum: optional(&aside.stratum) }
    }
}

fn hash_text(text: &str) -> u64 {
    if text.trim().is_empty() { 0 } else { label_hash(text) }
}

impl Table {
    /// Opens an input far enough to know its columns.
    pub fn open(input: Input, choice: &ColumnChoice, max_row: usize) -> Result<Table, ReadError> {
        let mut records = open_records(&input, max_row)?;
        let broken = |source| ReadError::Io { path: input.path.clone(), source };
        let first = records
            .next_row()
            .map_err(broken)?
            .ok_or_else(|| ReadError::Empty { name: input.name.clone() })?;
        let no = |what| ReadError::FirstRow { name: input.name.clone(), what };
        let text = String::from_utf8(first.bytes).map_err(|_| no("UTF-8 text"))?;
        let mut of_records = false;
        let named = |role| choice.named(role).next().is_some();
        let takes_columns =
            [Role::Image, Role::Prompt, Role::Completion, Role::System].into_iter().any(named);
        let header = match input.framing {
            Framing::Table { separator } => {
                let header: Vec<String> =
                    cells(&text, separator).iter().map(|name| name.trim().to_owned()).collect();
                if records.next_row().map_err(broken)?.is_none() {
                    return Err(ReadError::Empty { name: input.name.clone() });
                }
                Some(header)
            }
            Framing::Lines | Framing::Array => match json::parse(&text) {
                Ok(parsed) if !takes_columns && foreign::is_record(&parsed.value) => {
                    of_records = true;
                    None
                }
                Ok(parsed) if conversation::is_conversation(&parsed.value) => None,
                Ok(parsed) => {
                    let members = parsed.value.as_object().ok_or_else(|| no("JSON object"))?;
                    Some(members.iter().map(|(key, _)| key.clone().into_owned()).collect())
                }
                Err(_) => return Err(no("JSON")),
            },
        };
        let resolve = |header: &Vec<String>| Columns::resolve(header, choice);
        let columns = header.as_ref().map(resolve).transpose();
        let columns = columns.map_err(|source| ReadError::Columns { file: input.name.clone(), source })?;
        Ok(Table {
            input,
            header: header.unwrap_or_default(),
            columns,
            aside: Aside::new(choice),
            of_records,
        })
    }

    /// Starts reading rows, behind the header.
    pub fn rows(&self, max_row: usize) -> Result<Records<File>, ReadError> {
        let mut records = open_records(&self.input, max_row)?;
        if matches!(self.input.framing, Framing::Table { .. }) {
            records.next_row().map_err(|source| ReadError::Io { path: self.input.path.clone(), source })?;
        }
        Ok(records)
    }

    /// Reads one row again.
    pub fn row_at(&self, offset: u64, length: u64, max_row: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.input.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut records = Records::new(file.take(length), self.input.framing, max_row).inside();
        Ok(records.next_row()?.map(|row| row.bytes).unwrap_or_default())
    }

    /// Turns a row into a sample. A row that cannot be read at all is an error finding.
    pub fn read(&self, row: &RawRow, position: ImagePosition) -> Result<Reading, Finding> {
        let text = row_text(row)?;
        match self.input.framing {
            Framing::Table { separator } => {
                let cells = cells(text, separator);
                if cells.len() != self.header.len() {
                    return Err(self.wrong_length(cells.len(), row));
                }
                let cell = |name: &str| {
                    let index = self.header.iter().position(|column| column == name)?;
                    Some(Cell::Text(&cells[index]))
                };
                Ok(self.read_flat(position, &cell))
            }
            Framing::Lines | Framing::Array => {
                let parsed = json::parse(text).map_err(|error| {
                    let column = error.offset + 1;
                    Finding::new(
                        &rules::JSON_SYNTAX,
                        "",
                        format!("not JSON: {} (byte {column} of the line)", error.what),
                    )
                })?;
                let mut reading = self.read_json(&parsed.value, position)?;
                reading.findings.extend(parsed.lone_surrogate.map(crate::tokens::lone_surrogate));
                Ok(reading)
            }
        }
    }

    fn read_json(&self, given: &Value<'_>, position: ImagePosition) -> Result<Reading, Finding> {
        let respelled = match self.columns {
            None => fix::conversation_of(given, position)?,
            Some(_) => None,
        };
        let row = respelled.as_ref().unwrap_or(given);
        if row.as_object().is_none() {
            return Err(Finding::new(
                &rules::JSON_NOT_OBJECT,
                "",
                format!("the row is {}, not an object", row.kind()),
            ));
        }
        if conversation::is_conversation(row) {
            let (sample, mut findings) = conversation::read(row, &self.aside.keys());
            // Where the first row is such a record as well, that was told of the whole file.
            if respelled.is_some() && !self.of_records {
                let message =
                    "a record of another tool, unlike the first row, read as a conversation with its images";
                findings.push(Finding::new(&rules::UNKNOWN_KEY, "", message));
            }
            // Only the usual key has places that these findings could name.
            if row.get("messages").is_some() {
                findings.extend(checks::row_findings(&Row { value: row, target: &target::MISTRAL }));
            } else {
                findings.extend(checks::sample_texts(&sample));
            }
            if findings.iter().all(|finding| finding.rule.severity != Severity::Error) {
                findings.extend(checks::sample_findings(&sample));
            }
            let labels = Labels::new(|key: &str| given.get(key).map(Cell::Json), &self.aside);
            return Ok(Reading { sample, findings, labels });
        }
        if self.columns.is_none() {
            let message = "the row has no `messages`, unlike the first row of the file";
            return Err(Finding::new(&rules::MISSING_FIELD, "", message));
        }
        let mut reading = self.read_flat(position, &|name: &str| row.get(name).map(Cell::Json));
        let keys = row.as_object().into_iter().flatten().map(|(key, _)| key);
        for key in keys.filter(|key| !self.header.iter().any(|known| known == *key)) {
            let message = format!("`{key}` is not in the first row of the file, so it is not used");
            reading.findings.push(Finding::new(&rules::UNKNOWN_KEY, pointer_push("", key), message));
        }
        Ok(reading)
    }

    fn read_flat<'a>(&self, position: ImagePosition, cell: &dyn Fn(&str) -> Option<Cell<'a>>) -> Reading {
        let columns = self.columns.as_ref().expect("flat rows are read only where columns were resolved");
        let (sample, mut findings) = pixtune_core::columns::read_row(columns, position, cell);
        if findings.iter().all(|finding| finding.rule.severity != Severity::Error) {
            findings.extend(checks::sample_texts(&sample));
            // Their places are those of a conversation, which the row is not yet.
            let of_sample = checks::sample_findings(&sample).into_iter();
            findings.extend(of_sample.map(|finding| Finding { pointer: String::new(), ..finding }));
        }
        let aside = Aside {
            id: columns.id.clone().unwrap_or_default(),
            group: columns.group.clone(),
            stratum: columns.stratum.clone(),
        };
        Reading { sample, findings, labels: Labels::new(cell, &aside) }
    }

    fn wrong_length(&self, found: usize, row: &RawRow) -> Finding {
        let message = format!("the row has {found} cells, the header {}", self.header.len());
        let lines = memchr::memchr_iter(b'\n', &row.bytes).count();
        let hint = if lines > 0 {
            format!("it spans {} lines: is a quote missing?", lines + 1)
        } else {
            "cells that hold the separator need quotes".to_owned()
        };
        Finding::new(&rules::ROW_WRONG_LENGTH, "", message).hint(hint)
    }

    /// The row as JSON text for `rejected.jsonl`: inline images and unreadable bytes are only named.
    pub fn row_as_json(&self, bytes: &[u8]) -> String {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return json::quoted(&shorten(&String::from_utf8_lossy(bytes)));
        };
        match self.input.framing {
            Framing::Lines | Framing::Array => match json::parse(text) {
                Ok(parsed) => shorten_values(parsed.value).to_string(),
                Err(_) => json::quoted(&shorten(text)),
            },
            Framing::Table { separator } => {
                let cells = cells(text, separator)
                    .into_iter()
                    .map(|cell| Value::String(shorten(&cell).into_owned().into()));
                if cells.len() == self.header.len() {
                    let names = self.header.iter().map(|name| Cow::Borrowed(name.as_str()));
                    Value::Object(names.zip(cells).collect()).to_string()
                } else {
                    Value::Array(cells.collect()).to_string()
                }
            }
        }
    }
}

fn open_records(input: &Input, max_row: usize) -> Result<Records<File>, ReadError> {
    let file =
        File::open(&input.path).map_err(|source| ReadError::Io { path: input.path.clone(), source })?;
    Ok(Records::new(file, input.framing, max_row))
}

fn row_text(row: &RawRow) -> Result<&str, Finding> {
    match row.cut {
        Some(Cut::TooLarge) => {
            let message = format!("the row has {} bytes, more than is kept of one row", row.length);
            let hint = "is a quote never closed? else raise --max-row-bytes";
            return Err(Finding::new(&rules::ROW_TOO_LARGE, "", message).hint(hint));
        }
        Some(Cut::UnclosedQuote) => {
            let message = "the file ends inside a quoted cell that starts in this row";
            return Err(Finding::new(&rules::UNCLOSED_QUOTE, "", message)
                .hint("close the quote; quotes inside a cell are doubled"));
        }
        None => {}
    }
    std::str::from_utf8(&row.bytes).map_err(|error| {
        let message = format!("byte {} of the row is not UTF-8", error.valid_up_to() + 1);
        Finding::new(&rules::INVALID_UTF8, "", message)
            .hint("convert the file: iconv -f WINDOWS-1252 -t UTF-8")
    })
}

/// Texts beyond this are shortened in `rejected.jsonl`.
const SHOWN_CHARACTERS: usize = 20_000;

fn shorten(text: &str) -> Cow<'_, str> {
    if let Some((header, payload)) =
        text.split_once(";base64,").filter(|(header, _)| header.starts_with("data:"))
    {
        return Cow::Owned(format!("{header};base64,… ({} characters)", payload.len()));
    }
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((at, _)) => Cow::Owned(format!("{}… ({} bytes)", &text[..at], text.len())),
        None => Cow::Borrowed(text),
    }
}

fn shorten_values(value: Value<'_>) -> Value<'_> {
    match value {
        Value::String(text) => Value::String(match shorten(&text) {
            Cow::Owned(short) => Cow::Owned(short),
            Cow::Borrowed(_) => text,
        }),
        Value::Array(values) => Value::Array(values.into_iter().map(shorten_values).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, shorten_values(value))).collect())
        }
        other => other,
    }
}

/// The file an image's path means: as written, or with backslashes for slashes where only that exists.
pub fn image_path(directory: &Path, written: &str) -> PathBuf {
    let path = directory.join(written);
    if written.contains('\\') && !path.exists() {
        return directory.join(written.replace('\\', "/"));
    }
    path
}
