//! The writer: a header made from names, types and shapes, then bytes as they come.

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::Range;

use pixtune_core::json::{self, list, members, object};

use super::header::{Header, TensorInfo, size_of};
use crate::weights::dtype::Dtype;

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its sides.
    pub shape: Vec<usize>,
}

/// Where everything of a file goes: its first bytes, and the place of each tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Length, JSON and padding: the file up to its data.
    pub head: Vec<u8>,
    /// The tensors with their places.
    pub header: Header,
}

impl Layout {
    /// Lays tensors out one after the other, in the order given; `__metadata__` says `{"format":"pt"}`, which older
    /// loaders ask for. Types of 8, 4, 2 and 1 bytes do not mix in our files in an order that would misalign them, as long
    /// as the caller puts wide ones first.
    ///
    /// `None` where two names are equal or a size does not fit into 63 bits.
    pub fn new(tensors: &[TensorSpec]) -> Option<Layout> {
        let metadata = vec![("format".to_owned(), "pt".to_owned())];
        let mut names = HashSet::new();
        let mut places: Vec<Range<u64>> = Vec::with_capacity(tensors.len());
        let mut at = 0u64;
        for tensor in tensors {
            if !names.insert(tensor.name.as_str()) || tensor.name == "__metadata__" {
                return None;
            }
            let end = at.checked_add(size_of(tensor.dtype, &tensor.shape)?)?;
            places.push(at..end);
            at = end;
        }
        let mut json = header_json(tensors, &places, &metadata);
        // Data that begins at a multiple of eight can be mapped and used in place.
        while !json.len().is_multiple_of(8) {
            json.push(' ');
        }
        let data_start = 8 + json.len() as u64;
        let mut head = (json.len() as u64).to_le_bytes().to_vec();
        head.extend_from_slice(json.as_bytes());
        let place = |(tensor, range): (&TensorSpec, Range<u64>)| TensorInfo {
            name: tensor.name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            range: data_start + range.start..data_start + range.end,
        };
        let tensors = tensors.iter().zip(places).map(place).collect();
        Some(Layout { head, header: Header { tensors, metadata, data_start } })
    }

    /// Bytes the whole file will have.
    pub fn file_length(&self) -> u64 {
        self.header.tensors.last().map_or(self.header.data_start, |tensor| tensor.range.end)
    }
}

fn header_json(tensors: &[TensorSpec], places: &[Range<u64>], metadata: &[(String, String)]) -> String {
    json::text(object(|header| {
        header.field("__metadata__", members(metadata.iter().map(|(key, value)| (key, value))));
        for (TensorSpec { name, dtype, shape }, place) in tensors.iter().zip(places) {
            let tensor = object(|tensor| {
                tensor.field("dtype", dtype.as_str()).field("shape", list(shape));
                tensor.field("data_offsets", list([place.start, place.end]));
            });
            header.field(name, tensor);
        }
    }))
}

/// Writes tensors in the order of their layout.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    left: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn new(mut out: W, layout: &Layout) -> io::Result<Writer<W>> {
        out.write_all(&layout.head)?;
        Ok(Writer { out, left: layout.file_length() - layout.header.data_start })
    }

    /// Writes the next bytes of the data.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "more bytes than the header announces")
        })?;
        self.out.write_all(bytes)
    }

    /// Gives the output back once everything announced was written.
    pub fn finish(self) -> io::Result<W> {
        match self.left {
            0 => Ok(self.out),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "fewer bytes than the header announces")),
        }
    }
}
