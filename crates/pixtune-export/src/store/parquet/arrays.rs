//! Columns that all layouts have: lists, structs, and images with their bytes.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, ListArray, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, Field, Fields};

use super::ParquetRow;

/// A column of lists; `valid` tells which of them are there.
pub(super) fn lists(
    lengths: impl IntoIterator<Item = usize>,
    values: ArrayRef,
    valid: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let field = Arc::new(Field::new("element", values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, valid)?))
}

/// A column of structs.
pub(super) fn structs(columns: Vec<(&str, ArrayRef)>) -> Result<StructArray, ArrowError> {
    let fields: Fields =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    StructArray::try_new(fields, columns.into_iter().map(|(_, column)| column).collect(), None)
}

/// The images of each row.
pub(super) fn image_bytes(rows: &[ParquetRow]) -> Result<ArrayRef, ArrowError> {
    let images = || rows.iter().flat_map(|row| &row.sample.images);
    let bytes = BinaryArray::from_iter_values(images().map(|image| &image.bytes));
    let paths = StringArray::new_null(images().count());
    let files = structs(vec![("bytes", Arc::new(bytes)), ("path", Arc::new(paths))])?;
    lists(rows.iter().map(|row| row.sample.images.len()), Arc::new(files), None)
}
