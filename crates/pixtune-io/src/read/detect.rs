//! What the columns of an input are, found out from its first rows.

use std::borrow::Cow;

use pixtune_core::columns::{ColumnChoice, ColumnError, Columns, ImagePosition, Role, RowOptions};
use pixtune_core::content::{self, Held};
use pixtune_core::conversation;
use pixtune_core::fix;
use pixtune_core::foreign;
use pixtune_core::json::{Value, python_dict};
use pixtune_core::rules;
use pixtune_core::split::names_split;

use super::schema::{Aside, Schema};
use super::table::cells;
use super::{Format, Input, ReadError, Row};

impl Schema {
    /// Reads as much of an input as it takes to know its columns.
    pub fn detect(input: &Input, choice: &ColumnChoice, max_row: usize) -> Result<Schema, ReadError> {
        let no = |what| ReadError::FirstRow { name: input.name.clone(), what };
        let mut schema = Schema {
            format: input.format.of_rows(),
            has_nulls: false,
            header: Vec::new(),
            columns: None,
            aside: Aside::new(choice),
            of_records: false,
            removed: choice.removed().to_vec(),
            given: input.split,
        };
        let rows = schema.first_rows(input, max_row)?;
        let first = rows.first().ok_or_else(|| ReadError::Empty { name: input.name.clone() })?;
        if first.as_object().is_none() {
            return Err(no("a JSON object"));
        }
        let refuse = |source| ReadError::Columns { file: input.name.clone(), source };
        if is_flat(first, choice) {
            if schema.header.is_empty() {
                let members = first.as_object().unwrap_or_default();
                schema.header = members.iter().map(|(key, _)| key.clone().into_owned()).collect();
            }
            schema.columns = Some(Columns::resolve(&schema.header, choice, &rows).map_err(refuse)?);
        } else {
            schema.of_records = !matches!(fix::conversation_of(first, ImagePosition::First), Ok(None));
            let names_a_split =
                |row: &Value<'_>| row.text("split").is_none_or(|text| names_split(text).is_some());
            if schema.aside.split.is_none() && first.get("split").is_some() && rows.iter().all(names_a_split)
            {
                schema.aside.split = Some("split".to_owned());
            }
            schema.refuse_unused_content(&rows).map_err(refuse)?;
        }
        Ok(schema)
    }

    /// The first rows as objects; those that cannot be read are left to the run. Learns the header of a table.
    fn first_rows(&mut self, input: &Input, max_row: usize) -> Result<Vec<Value<'static>>, ReadError> {
        let empty = || ReadError::Empty { name: input.name.clone() };
        let no = |what| ReadError::FirstRow { name: input.name.clone(), what };
        let mut reader = input.open_with_header(0, max_row)?;
        if let Some(columns) = reader.columns() {
            (self.header, self.has_nulls) = (columns, true);
        }
        if let Format::Table { separator } = input.format {
            let (_, header) = reader.next_row()?.ok_or_else(empty)?;
            let text = String::from_utf8(header.bytes).map_err(|_| no("UTF-8 text"))?;
            self.header = cells(&text, separator).iter().map(|name| name.trim().to_owned()).collect();
        }
        let mut rows = Vec::new();
        let (mut read, mut bytes) = (0, 0);
        while read < FIRST_ROWS && bytes < FIRST_BYTES {
            let Some((_, row)) = reader.next_row()? else { break };
            read += 1;
            bytes += row.bytes.len();
            match self.value_of(&row) {
                Ok(parsed) => rows.push(beginnings(parsed.value).into_owned()),
                // The first row of a file without a header decides how all of it is read.
                Err(_) if read == 1 && self.header.is_empty() && row.cut.is_none() => {
                    return Err(unreadable_first(input, &row));
                }
                Err(_) => {}
            }
        }
        if read == 0 {
            return Err(empty());
        }
        if rows.is_empty() {
            // A table of which no row can be read: its header has to do.
            let cells = self.header.iter().map(|name| (Cow::Owned(name.clone()), Value::Null));
            rows.push(Value::Object(cells.collect()));
        }
        Ok(rows)
    }

    /// Refuses keys beside the conversations of the first rows that hold content and are not used.
    fn refuse_unused_content(&self, rows: &[Value<'_>]) -> Result<(), ColumnError> {
        let mut columns: Vec<(String, Held)> = Vec::new();
        for row in rows {
            let Ok(reading) = self.read_value(row, RowOptions::default()) else { continue };
            let of_rule = reading.findings.iter().filter(|finding| finding.rule == &rules::UNUSED_CONTENT);
            for key in of_rule.filter_map(|finding| finding.pointer.strip_prefix('/')) {
                let held = row.get(key).and_then(|value| content::held(key, value));
                if let Some(held) = held.filter(|held| *held != Held::Media)
                    && columns.iter().all(|(known, _)| known != key)
                {
                    columns.push((key.to_owned(), held));
                }
            }
        }
        if columns.is_empty() { Ok(()) } else { Err(ColumnError::UnusedContent { columns }) }
    }
}

/// Rows that are looked at to find out what the columns are.
const FIRST_ROWS: usize = 32;

/// Bytes of them, unless the first alone has more: images may be in the rows.
const FIRST_BYTES: usize = 16 << 20;

/// Of a longer text its beginning shows what it is, and copies of all of it would take most of the memory of a run.
const LONG_TEXT: usize = 16 << 20;

/// A value with the beginnings of very long texts. JSON in a text stays whole: it is parsed.
fn beginnings(value: Value<'_>) -> Value<'_> {
    match value {
        Value::String(text) if text.len() > LONG_TEXT && !text.trim_start().starts_with(['[', '{']) => {
            let end = text.floor_char_boundary(LONG_TEXT);
            Value::String(Cow::Owned(text[..end].to_owned()))
        }
        Value::Array(values) => Value::Array(values.into_iter().map(beginnings).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, beginnings(value))).collect())
        }
        other => other,
    }
}

/// Whether a file with this first row is read by columns, not as conversations.
fn is_flat(first: &Value<'_>, choice: &ColumnChoice) -> bool {
    let named = |role| choice.named(role).next().is_some();
    let takes_columns = [Role::Image, Role::Prompt, Role::Completion, Role::System].into_iter().any(named);
    !conversation::is_conversation(first) && (takes_columns || !foreign::is_record(first))
}

fn unreadable_first(input: &Input, row: &Row) -> ReadError {
    let name = input.name.clone();
    match std::str::from_utf8(&row.bytes) {
        Err(_) => ReadError::FirstRow { name, what: "UTF-8 text" },
        Ok(text) if python_dict(text).is_some() => ReadError::PythonRows { name },
        Ok(_) => ReadError::FirstRow { name, what: "JSON" },
    }
}
