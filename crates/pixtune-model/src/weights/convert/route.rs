//! How one tensor gets from the source to the output, a chunk at a time.

use super::layout::Piece;
use super::{Change, ConvertError};
use crate::weights::dtype::{self, Dtype};
use crate::weights::safetensors::{SafetensorsFile, TensorInfo};
use crate::weights::{Checkpoint, Reader, RowOrder, Tensor, TensorName};

/// Bytes of a chunk that is worked on: what is made of it stays in the second cache.
const CHUNK: usize = 512 << 10;

/// No model has heads of more bytes.
const MAX_HEAD: u64 = 64 << 20;

/// How a tensor gets from the source to the output.
#[derive(Debug, Clone)]
pub struct Route<'c> {
    tensor: Tensor<'c>,
    /// Which tensor it becomes.
    to: TensorName,
    /// Bytes of the output's rows in the type of the source: more than the source has if the vocabulary grows.
    bytes: u64,
    target: Dtype,
    row_bytes: usize,
    /// Rows of a chunk; whole heads where rows move.
    rows: usize,
    head_dim: Option<usize>,
    orders: (RowOrder, RowOrder),
}

/// A part of a tensor.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    first_row: usize,
    offset: u64,
    bytes: usize,
}

/// Buffers that are used for one chunk after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The chunk, at last as it is in the output.
    pub bytes: Vec<u8>,
    /// Buffers of the source's reader.
    pub reader: Reader,
    spare: Vec<u8>,
    values: Vec<f32>,
}

impl<'c> Route<'c> {
    /// The route of a piece into a place of a file.
    pub fn new(
        source: &'c Checkpoint,
        piece: Piece,
        place: &TensorInfo,
        to: RowOrder,
    ) -> Result<Route<'c>, ConvertError> {
        let tensor = source.tensor(piece.from).expect("pieces are made of tensors of the source");
        let orders = (source.row_order(), to);
        let head_dim = source.rotary_head_dim(piece.from.module).filter(|_| orders.0 != orders.1);
        let source_rows = tensor.shape().first().copied().unwrap_or(1).max(1);
        let row_bytes = usize::try_from(tensor.length()).map_err(|_| ConvertError::TooLarge)? / source_rows;
        let rows = match head_dim {
            Some(head_dim) => {
                let head = head_dim as u64 * row_bytes as u64;
                if head > MAX_HEAD {
                    return Err(ConvertError::HeadTooLarge { name: tensor.info.name.clone(), bytes: head });
                }
                head_dim * (CHUNK / (head as usize).max(1)).max(1)
            }
            None => (CHUNK / row_bytes.max(1)).max(1),
        };
        let all_rows = place.shape.first().copied().unwrap_or(1).max(1) as u64;
        let bytes = (row_bytes as u64).checked_mul(all_rows).ok_or(ConvertError::TooLarge)?;
        let bytes = if all_rows as usize > source_rows { bytes } else { tensor.length() };
        Ok(Route { tensor, to: piece.to, bytes, target: place.dtype, row_bytes, rows, head_dim, orders })
    }

    /// The tensor's name in the source.
    pub fn name(&self) -> &'c str {
        &self.tensor.info.name
    }

    /// The type of the output.
    pub fn target(&self) -> Dtype {
        self.target
    }

    /// Whether the bytes of the source can be restored from the output.
    pub fn is_exact(&self, change: Option<&dyn Change>) -> bool {
        let is_stored = self.tensor.quantized().is_none();
        is_stored && !self.is_computed(change)
    }

    /// Whether elements change on their way.
    fn is_computed(&self, change: Option<&dyn Change>) -> bool {
        self.tensor.dtype() != self.target || self.change(change).is_some()
    }

    /// Whether rows move.
    pub fn is_permuted(&self) -> bool {
        self.head_dim.is_some()
    }

    /// Where the bytes of the output are stored as they are, if they are.
    pub fn copied(&self, change: Option<&dyn Change>) -> Option<(&'c SafetensorsFile, std::ops::Range<u64>)> {
        let copied = self.is_exact(change) && self.head_dim.is_none();
        self.tensor.stored().filter(|_| copied)
    }

    /// The places of the chunks in the source: first row, offset and bytes.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> + use<> {
        let step = (self.rows * self.row_bytes).max(1);
        let (rows, total) = (self.rows, self.bytes);
        (0..total.div_ceil(step as u64)).map(move |index| {
            let start = index * step as u64;
            let bytes = (total - start).min(step as u64) as usize;
            Chunk { first_row: index as usize * rows, offset: start, bytes }
        })
    }

    /// Bytes of the chunks in the output.
    pub fn output_chunks(&self) -> impl Iterator<Item = usize> + use<> {
        let (from, to) = (self.tensor.dtype().size(), self.target.size());
        self.chunks().map(move |chunk| chunk.bytes / from * to)
    }

    /// Reads a chunk of the source.
    pub fn read(&self, chunk: Chunk, scratch: &mut Scratch) -> Result<(), ConvertError> {
        let Scratch { bytes, reader, .. } = scratch;
        bytes.resize(chunk.bytes, 0);
        // Rows that the source lacks start as zeros; a change fills them.
        let left = self.tensor.length().saturating_sub(chunk.offset);
        let present = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.bytes);
        bytes[present..].fill(0);
        match present {
            0 => Ok(()),
            _ => Ok(self.tensor.read_at(reader, &mut bytes[..present], chunk.offset)?),
        }
    }

    /// Converts a chunk that was read to a chunk of the output.
    pub fn apply(
        &self,
        change: Option<&dyn Change>,
        chunk: Chunk,
        scratch: &mut Scratch,
    ) -> Result<(), ConvertError> {
        if self.is_computed(change) {
            let Scratch { bytes, values, .. } = scratch;
            values.resize(bytes.len() / self.tensor.dtype().size(), 0.0);
            dtype::read_f32(self.tensor.dtype(), bytes, values)
                .expect("a checkpoint only holds bf16, f16 and f32");
            if let Some(change) = self.change(change) {
                change
                    .apply(self.to, chunk.first_row, values)
                    .map_err(|source| ConvertError::Change { name: self.name().to_owned(), source })?;
            }
            bytes.resize(values.len() * self.target.size(), 0);
            dtype::write_f32(self.target, values, bytes).expect("only weight types are asked for");
        }
        self.permute(self.orders, scratch);
        Ok(())
    }

    /// Permutes a chunk of the output back, if that is [exact](Route::is_exact).
    pub fn undo(&self, scratch: &mut Scratch) {
        self.permute((self.orders.1, self.orders.0), scratch);
    }

    fn permute(&self, (from, to): (RowOrder, RowOrder), scratch: &mut Scratch) {
        let Some(head_dim) = self.head_dim else { return };
        let Scratch { bytes, spare, .. } = scratch;
        let row_bytes = self.row_bytes / self.tensor.dtype().size() * self.target.size();
        spare.resize(bytes.len(), 0);
        from.permute(to, head_dim, row_bytes, bytes, spare);
        std::mem::swap(bytes, spare);
    }

    fn change<'a>(&self, change: Option<&'a dyn Change>) -> Option<&'a dyn Change> {
        change.filter(|change| change.concerns(self.to))
    }
}
