//! From the rows of an input to samples: which columns mean what, found out from its first row.

use std::borrow::Cow;

use pixtune_core::checks;
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
use pixtune_core::text::counted;

use super::row_image::{resolve, shown};
use super::table::cells;
use super::{Cut, Format, Input, ReadError, Row};

/// How the rows of an input become samples.
#[derive(Debug, Clone)]
pub struct Schema {
    /// How the input holds its rows.
    pub format: Format,
    /// The names of its columns: a table's header, or the keys of the first flat row.
    pub header: Vec<String>,
    /// The input declares its columns apart from its rows, so a column that a row lacks is null.
    pub has_nulls: bool,
    /// Which column is what; `None` when the first row is a conversation.
    pub columns: Option<Columns>,
    /// Keys beside `messages` that are used.
    pub aside: Aside,
    /// The first row has the format of another tool (LLaVA, ShareGPT, Alpaca), and rows are read as conversations.
    pub of_records: bool,
}

/// The keys beside `messages` that are used.
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

/// A sample, its findings and its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The sample, which is valid if no finding is an error.
    pub sample: Sample<Image>,
    /// Findings of reading it.
    pub findings: Vec<Finding>,
    /// Its id, group and stratum.
    pub labels: Labels,
}

/// Hashes of the id, group and stratum of a row; 0 for none.
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

impl Schema {
    /// Reads as much of an input as it takes to know its columns.
    pub fn detect(input: &Input, choice: &ColumnChoice, max_row: usize) -> Result<Schema, ReadError> {
        let mut reader = input.open_with_header(0, max_row)?;
        let empty = || ReadError::Empty { name: input.name.clone() };
        let (_, first) = reader.next_row()?.ok_or_else(empty)?;
        let no = |what| ReadError::FirstRow { name: input.name.clone(), what };
        let text = String::from_utf8(first.bytes).map_err(|_| no("UTF-8 text"))?;
        let declared = reader.columns();
        let has_nulls = declared.is_some();
        let format = input.format.of_rows();
        let (header, of_records) = match format {
            Format::Table { separator } => {
                reader.next_row()?.ok_or_else(empty)?;
                let names = cells(&text, separator);
                (Some(names.iter().map(|name| name.trim().to_owned()).collect()), false)
            }
            _ => {
                let first = json::parse(&text).map_err(|_| no("JSON"))?.value;
                keys_of(&with_columns(first, declared), choice).ok_or_else(|| no("a JSON object"))?
            }
        };
        let columns = header.as_ref().map(|header: &Vec<String>| Columns::resolve(header, choice));
        let columns =
            columns.transpose().map_err(|source| ReadError::Columns { file: input.name.clone(), source })?;
        Ok(Schema {
            format,
            has_nulls,
            header: header.unwrap_or_default(),
            columns,
            aside: Aside::new(choice),
            of_records,
        })
    }

    /// Turns a row into a sample. A row that cannot be read at all is an error finding.
    pub fn read(&self, row: &Row, position: ImagePosition) -> Result<Reading, Finding> {
        let mut reading = self.read_text(row, position)?;
        resolve(&mut reading.sample, &row.images)?;
        Ok(reading)
    }

    fn read_text(&self, row: &Row, position: ImagePosition) -> Result<Reading, Finding> {
        let text = row_text(row)?;
        match self.format {
            Format::Table { separator } => {
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
            _ => {
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
            // Where the first row has that format as well, this was noted once for the file.
            if respelled.is_some() && !self.of_records {
                let message = "in the format of another tool, unlike the first row; read as a conversation with its images";
                findings.push(Finding::new(&rules::UNKNOWN_KEY, "", message));
            }
            // The pointers of these findings exist only under the usual key.
            if row.get("messages").is_some() {
                findings.extend(checks::row_findings(&checks::Row { value: row, target: &target::MISTRAL }));
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
        let null = self.has_nulls.then_some(&Value::Null);
        let cell = |name: &str| row.get(name).or(null.filter(|_| self.declares(name))).map(Cell::Json);
        let mut reading = self.read_flat(position, &cell);
        let keys = row.as_object().into_iter().flatten().map(|(key, _)| key);
        for key in keys.filter(|key| !self.declares(key)) {
            let message = format!("`{key}` is not in the first row of the file, so it is not used");
            reading.findings.push(Finding::new(&rules::UNKNOWN_KEY, pointer_push("", key), message));
        }
        Ok(reading)
    }

    fn declares(&self, key: &str) -> bool {
        self.header.iter().any(|known| known == key)
    }

    fn read_flat<'a>(&self, position: ImagePosition, cell: &dyn Fn(&str) -> Option<Cell<'a>>) -> Reading {
        let columns = self.columns.as_ref().expect("flat rows are read only where columns were resolved");
        let (sample, mut findings) = pixtune_core::columns::read_row(columns, position, cell);
        if findings.iter().all(|finding| finding.rule.severity != Severity::Error) {
            findings.extend(checks::sample_texts(&sample));
            // Their pointers are those of a conversation, which the row is not yet.
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

    fn wrong_length(&self, found: usize, row: &Row) -> Finding {
        let message =
            format!("the row has {}, the header {}", counted(found as u64, "cell"), self.header.len());
        let lines = memchr::memchr_iter(b'\n', &row.bytes).count();
        let hint = if lines > 0 {
            format!("it spans {}: is a quote missing?", counted(lines as u64 + 1, "line"))
        } else {
            "cells that hold the separator need quotes".to_owned()
        };
        Finding::new(&rules::ROW_WRONG_LENGTH, "", message).hint(hint)
    }

    /// The row as JSON for `rejected.jsonl`, with inline images shortened.
    pub fn row_as_json(&self, bytes: &[u8]) -> String {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return json::quoted(&shorten(&String::from_utf8_lossy(bytes)));
        };
        match self.format {
            Format::Table { separator } => {
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
            _ => match json::parse(text) {
                Ok(parsed) => shorten_values(parsed.value).to_string(),
                Err(_) => json::quoted(&shorten(text)),
            },
        }
    }
}

/// The first row with all columns that its file declares: those that it lacks are null in it.
fn with_columns<'a>(mut first: Value<'a>, columns: Option<Vec<String>>) -> Value<'a> {
    let (Some(columns), Value::Object(members)) = (columns, &mut first) else { return first };
    let mut value = |column: &String| {
        let at = members.iter().position(|(key, _)| key == column);
        at.map_or(Value::Null, |at| std::mem::replace(&mut members[at].1, Value::Null))
    };
    let all = columns.iter().map(|column| (Cow::Owned(column.clone()), value(column)));
    Value::Object(all.collect())
}

/// The keys of a flat first row, or none of a conversation; and whether the row has the format of another tool. `None` where it
/// is not an object.
fn keys_of(first: &Value<'_>, choice: &ColumnChoice) -> Option<(Option<Vec<String>>, bool)> {
    let named = |role| choice.named(role).next().is_some();
    let takes_columns = [Role::Image, Role::Prompt, Role::Completion, Role::System].into_iter().any(named);
    if !takes_columns && foreign::is_record(first) {
        return Some((None, true));
    }
    if conversation::is_conversation(first) {
        return Some((None, false));
    }
    let members = first.as_object()?;
    Some((Some(members.iter().map(|(key, _)| key.clone().into_owned()).collect()), false))
}

fn row_text(row: &Row) -> Result<&str, Finding> {
    match &row.cut {
        Some(Cut::TooLarge { bytes }) => {
            let message = format!("the row has {}, more than the limit", counted(*bytes, "byte"));
            let hint = "if no quote is left open, raise --max-row-bytes";
            return Err(Finding::new(&rules::ROW_TOO_LARGE, "", message).hint(hint));
        }
        Some(Cut::UnclosedQuote) => {
            let message = "the file ends inside a quoted cell that starts in this row";
            return Err(Finding::new(&rules::UNCLOSED_QUOTE, "", message)
                .hint("close the quote; quotes inside a cell are doubled"));
        }
        Some(Cut::Unreadable { why }) => return Err(Finding::new(&rules::ROW_UNREADABLE, "", why.as_str())),
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
    if let Some(bytes) = shown(text) {
        return Cow::Owned(bytes);
    }
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
