//! Tables of Arrow from Python, through the C data interface: the values stay where they are.

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, RecordBatch};
use arrow_pyarrow::{FromPyArrow as _, Table};
use pixtune_io::read::{BatchRows, Row};
use pyo3::prelude::*;

use crate::errors::argument;

/// The columns of a conversation that is not one text.
const CONVERSATION: [&str; 5] = ["messages", "tools", "response_format", "reasoning_effort", "images"];

/// The rows of a table.
pub struct TableRows {
    batches: Vec<Batch>,
    /// The index of the row after each batch.
    ends: Vec<usize>,
}

enum Batch {
    /// A column of texts, each the JSON of a conversation.
    Texts(arrow_array::ArrayRef),
    /// Columns of conversations.
    Columns(BatchRows),
}

impl TableRows {
    /// The rows of anything with `__arrow_c_stream__`. A named column holds the JSON of conversations; without a name, the columns
    /// are those of conversations.
    pub fn new(table: &Bound<'_, PyAny>, column: Option<&str>) -> PyResult<TableRows> {
        let (batches, _) = batches(table)?;
        let (mut rows, mut ends, mut end) = (Vec::with_capacity(batches.len()), Vec::new(), 0);
        for batch in batches {
            end += batch.num_rows();
            ends.push(end);
            let picked = match column {
                Some(name) => texts(&batch, name),
                None => columns(&batch),
            };
            rows.push(picked.map_err(|message| argument(table.py(), message))?);
        }
        Ok(TableRows { batches: rows, ends })
    }

    /// Their number.
    pub fn count(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The row at an index.
    pub fn row(&self, at: usize) -> Row {
        let batch = self.ends.partition_point(|end| *end <= at);
        let first = if batch == 0 { 0 } else { self.ends[batch - 1] };
        match &self.batches[batch] {
            Batch::Columns(rows) => rows.row(at - first),
            Batch::Texts(array) => Row::whole(bytes_at(array.as_ref(), at - first).unwrap_or_default()),
        }
    }
}

/// The batches of a table, with the names of its columns.
fn batches(table: &Bound<'_, PyAny>) -> PyResult<(Vec<RecordBatch>, Vec<String>)> {
    let (batches, schema) = Table::from_pyarrow_bound(table)?.into_inner();
    Ok((batches, schema.fields().iter().map(|field| field.name().clone()).collect()))
}

fn texts(batch: &RecordBatch, name: &str) -> Result<Batch, String> {
    let array = batch.column_by_name(name).ok_or_else(|| missing(batch, name))?;
    if is_text(array.as_ref()) {
        return Ok(Batch::Texts(array.clone()));
    }
    Err(format!("the column `{name}` has the type {}, not strings or bytes", array.data_type()))
}

fn columns(batch: &RecordBatch) -> Result<Batch, String> {
    if batch.column_by_name("messages").is_none() {
        return Err(missing(batch, "messages"));
    }
    let schema = batch.schema();
    let wanted = schema.fields().iter().enumerate();
    let wanted = wanted.filter(|(_, field)| CONVERSATION.contains(&field.name().as_str()));
    let indices: Vec<usize> = wanted.map(|(index, _)| index).collect();
    let batch = batch.project(&indices).map_err(|error| error.to_string())?;
    Ok(Batch::Columns(BatchRows::new(batch)))
}

fn missing(batch: &RecordBatch, name: &str) -> String {
    let schema = batch.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
    format!("the table has no column `{name}`; it has {}", names.join(", "))
}

fn is_text(array: &dyn Array) -> bool {
    array.as_string_opt::<i32>().is_some()
        || array.as_string_opt::<i64>().is_some()
        || array.as_string_view_opt().is_some()
        || array.as_binary_opt::<i32>().is_some()
        || array.as_binary_opt::<i64>().is_some()
        || array.as_binary_view_opt().is_some()
}

/// The bytes of a text or of bytes, where they are; `None` for other types and for null.
pub fn bytes_at(array: &dyn Array, at: usize) -> Option<&[u8]> {
    if array.is_null(at) {
        return None;
    }
    if let Some(texts) = array.as_string_opt::<i32>() {
        return Some(texts.value(at).as_bytes());
    }
    if let Some(texts) = array.as_string_opt::<i64>() {
        return Some(texts.value(at).as_bytes());
    }
    if let Some(texts) = array.as_string_view_opt() {
        return Some(texts.value(at).as_bytes());
    }
    if let Some(bytes) = array.as_binary_opt::<i32>() {
        return Some(bytes.value(at));
    }
    if let Some(bytes) = array.as_binary_opt::<i64>() {
        return Some(bytes.value(at));
    }
    array.as_binary_view_opt().map(|bytes| bytes.value(at))
}

/// The arrays of a column of image files: bytes, or structs of `bytes` and `path` as `datasets` stores them.
pub fn image_arrays(table: &Bound<'_, PyAny>) -> PyResult<Vec<arrow_array::ArrayRef>> {
    let (batches, _) = batches(table)?;
    let array = |batch: &RecordBatch| {
        let column = batch.column(0);
        let found = match column.as_struct_opt() {
            Some(structs) => structs.column_by_name("bytes").cloned(),
            None => Some(column.clone()),
        };
        found
            .filter(|array| is_text(array.as_ref()))
            .ok_or_else(|| argument(table.py(), format!("image files are bytes, not {}", column.data_type())))
    };
    batches.iter().filter(|batch| batch.num_columns() > 0).map(array).collect()
}

/// The addresses of the values of each batch of the first column, which tests compare with those that Arrow's own library names.
#[pyfunction]
pub fn addresses(table: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
    let arrays = image_arrays(table)?;
    let address = |array: &arrow_array::ArrayRef| {
        array.to_data().buffers().last().map_or(0, |buffer| buffer.as_ptr() as usize)
    };
    Ok(arrays.iter().map(address).collect())
}
