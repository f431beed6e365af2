//! Rows read again by their places, after all rows were read once.

use super::{Input, ReadError, Row, RowReader, RowRef};

/// Reads rows of a run's inputs again. The last file stays open, because formats without random access continue where they
/// are: rows in the order of the inputs cost one pass at most.
pub struct Rereader<'i> {
    inputs: Vec<&'i Input>,
    max_row: usize,
    open: Option<(u32, Box<dyn RowReader>)>,
}

impl<'i> Rereader<'i> {
    /// Of the inputs of a run, in order; at most `max_row` bytes of a row are kept.
    pub fn new(inputs: Vec<&'i Input>, max_row: usize) -> Rereader<'i> {
        Rereader { inputs, max_row, open: None }
    }

    /// The row at a place. The file may have changed since, see [`RowReader::reread`].
    pub fn row(&mut self, at: RowRef) -> Result<Row, ReadError> {
        let reader = match self.open.take() {
            Some((file, reader)) if file == at.file => reader,
            _ => self.inputs[at.file as usize].open(at.file, self.max_row)?,
        };
        self.open.insert((at.file, reader)).1.reread(at)
    }
}
