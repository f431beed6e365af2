//! Rows as objects of columns, whatever they mean: for callers that know the columns of a published dataset.

use std::borrow::Cow;

use pixtune_core::columns::ColumnChoice;
use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, Value};

use super::row_text::row_text;
use super::schema::{Aside, not_json};
use super::table::cells;
use super::{Format, Input, ReadError, Row, RowReader, RowRef, Schema};

/// The rows of an input.
pub struct Objects {
    reader: Box<dyn RowReader>,
    schema: Schema,
}

impl Objects {
    /// Opens an input; `index` is its number among the inputs of a run.
    pub fn open(input: &Input, index: u32, max_row: usize) -> Result<Objects, ReadError> {
        let mut reader = input.open_with_header(index, max_row)?;
        let mut header = reader.columns().unwrap_or_default();
        if let Format::Table { separator } = input.format {
            let empty = || ReadError::Empty { name: input.name.clone() };
            let (_, first) = reader.next_row()?.ok_or_else(empty)?;
            let no_text = |_| ReadError::FirstRow { name: input.name.clone(), what: "UTF-8 text" };
            let text = String::from_utf8(first.bytes).map_err(no_text)?;
            header = cells(&text, separator).iter().map(|name| name.trim().to_owned()).collect();
        }
        let schema = Schema {
            format: input.format.of_rows(),
            has_nulls: false,
            header,
            columns: None,
            aside: Aside::new(&ColumnChoice::default()),
            of_records: false,
            removed: Vec::new(),
            given: None,
        };
        Ok(Objects { reader, schema })
    }

    /// The next row.
    pub fn next_row(&mut self) -> Result<Option<(RowRef, Row)>, ReadError> {
        self.reader.next_row()
    }

    /// The columns of a row. Texts are as they are in the file: what looks like a list in a cell stays a text.
    pub fn columns<'r>(&'r self, row: &'r Row) -> Result<Value<'r>, Finding> {
        match self.schema.format {
            Format::Table { separator } => {
                let cells = cells(row_text(row)?, separator);
                if cells.len() != self.schema.header.len() {
                    return Ok(self.schema.value_of(row)?.value);
                }
                let names = self.schema.header.iter().map(|name| Cow::Borrowed(name.as_str()));
                let cells = cells.into_iter().map(Value::String);
                Ok(Value::Object(names.zip(cells).collect()))
            }
            Format::JsonKeyed => Ok(self.schema.value_of(row)?.value),
            _ => {
                let text = row_text(row)?;
                Ok(json::parse(text).map_err(|error| not_json(text, &error))?.value)
            }
        }
    }
}
