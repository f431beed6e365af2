//! A tensor of a checkpoint, as stored or dequantized.

use std::borrow::Cow;
use std::ops::Range;

use pixtune_files::direct::Window;

use super::Checkpoint;
use crate::weights::dtype::{self, Dtype};
use crate::weights::names::{Spelling, TensorName};
use crate::weights::quantized::{Buffers, FourBitMatrix, Quantized, Rounding, Stored};
use crate::weights::rows::RowOrder;
use crate::weights::safetensors::{SafetensorsError, SafetensorsFile, TensorInfo};

/// A tensor of a checkpoint. A quantized weight has the data type and shape that it has after dequantization.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'c> {
    checkpoint: &'c Checkpoint,
    /// Which it is.
    pub name: TensorName,
    /// How its file spells the name.
    pub spelling: Spelling,
    /// Its entry in the file's header; of a quantized weight, that of its codes.
    pub info: &'c TensorInfo,
    file: &'c SafetensorsFile,
    quantized: Option<&'c Quantized>,
}

/// Buffers for reading tensors, one after the other.
#[derive(Debug, Default)]
pub struct Reader {
    /// What was read of the file around the last bytes.
    pub window: Window,
    buffers: Buffers,
}

impl<'c> Tensor<'c> {
    pub(super) fn new(
        checkpoint: &'c Checkpoint,
        name: TensorName,
        spelling: Spelling,
        stored: Stored<'c>,
        quantized: Option<&'c Quantized>,
    ) -> Tensor<'c> {
        Tensor { checkpoint, name, spelling, info: stored.info, file: stored.file, quantized }
    }

    /// Type of its elements: one of bf16, f16 and f32.
    pub fn dtype(&self) -> Dtype {
        self.quantized.map_or(self.info.dtype, |quantized| quantized.dtype)
    }

    /// Its sides: rows (outputs) first, columns (inputs) second for a linear layer.
    pub fn shape(&self) -> &'c [usize] {
        self.quantized.map_or(&self.info.shape, |quantized| &quantized.shape)
    }

    /// Width of a head in its rows, if it is a q or k weight.
    pub fn head_dim(&self) -> Option<usize> {
        self.checkpoint.rotary_head_dim(self.name.module)
    }

    /// How the rows of q and k are ordered in its checkpoint.
    pub fn row_order(&self) -> RowOrder {
        self.checkpoint.row_order()
    }

    /// Bytes of its elements, after dequantization.
    pub fn length(&self) -> u64 {
        match self.quantized {
            None => self.info.bytes(),
            Some(Quantized { shape, dtype, .. }) => {
                shape.iter().fold(dtype.size() as u64, |size, side| size.saturating_mul(*side as u64))
            }
        }
    }

    /// How it is stored, if it is quantized.
    pub fn quantized(&self) -> Option<&'c Quantized> {
        self.quantized
    }

    /// Its codes and scales, if it is a matrix that is stored in 4 bits.
    pub fn four_bit(&self) -> Result<Option<FourBitMatrix>, SafetensorsError> {
        self.quantized.map_or(Ok(None), |quantized| quantized.four_bit(&self.checkpoint.files))
    }

    /// The file and the range of its bytes, if they are stored as they are.
    pub fn stored(&self) -> Option<(&'c SafetensorsFile, Range<u64>)> {
        self.quantized.is_none().then(|| (self.file, self.info.range.clone()))
    }

    /// Its bytes in the checkpoint's own row order: memory-mapped as stored, or dequantized.
    pub fn bytes(&self) -> Result<Cow<'c, [u8]>, SafetensorsError> {
        if self.quantized.is_none() {
            return self.file.bytes(self.info).map(Cow::Borrowed);
        }
        let mut bytes = vec![0; usize::try_from(self.length()).unwrap_or(usize::MAX)];
        let mut reader = Reader::default();
        let (mut at, step) = (0, 1 << 20);
        for part in bytes.chunks_mut(step) {
            self.read_at(&mut reader, part, at)?;
            at += step as u64;
        }
        Ok(Cow::Owned(bytes))
    }

    /// Fills `buffer` with its bytes from an offset on. Offset and length are multiples of the size of an element.
    pub fn read_at(
        &self,
        reader: &mut Reader,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), SafetensorsError> {
        let Reader { window, buffers } = reader;
        match self.quantized {
            None => self.file.stream_at(window, buffer, self.info.range.start + offset),
            Some(quantized) => {
                let first = offset / quantized.dtype.size() as u64;
                quantized.read(&self.checkpoint.files, (window, buffers), first, buffer)
            }
        }
    }

    /// How far its elements are expected to be from those that were quantized; `None` if they are stored as they are.
    pub fn rounding(&self, reader: &mut Reader) -> Result<Option<Rounding>, SafetensorsError> {
        let Reader { window, buffers } = reader;
        let quantized =
            self.quantized.map(|weight| weight.rounding(&self.checkpoint.files, (window, buffers)));
        quantized.transpose()
    }

    /// Some of its rows as f32, with the rows of q and k in the given order; those are read in whole heads.
    pub fn read_rows(
        &self,
        reader: &mut Reader,
        order: RowOrder,
        (first, count): (usize, usize),
    ) -> Result<Vec<f32>, SafetensorsError> {
        let width = self.shape()[1..].iter().product::<usize>() * self.dtype().size();
        let mut bytes = vec![0; count * width];
        self.read_at(reader, &mut bytes, (first * width) as u64)?;
        let from = self.checkpoint.row_order();
        if let Some(head_dim) = self.head_dim().filter(|_| from != order) {
            let mut permuted = vec![0; bytes.len()];
            from.permute(order, head_dim, width, &bytes, &mut permuted);
            bytes = permuted;
        }
        Ok(dtype::to_f32(self.dtype(), &bytes).expect("a checkpoint only holds bf16, f16 and f32"))
    }

    /// Its elements, with the rows of q and k in the given order.
    pub fn to_f32(&self, order: RowOrder) -> Result<Vec<f32>, SafetensorsError> {
        let bytes = &*self.bytes()?;
        let from = self.checkpoint.row_order();
        let permuted = match self.head_dim() {
            Some(head_dim) if from != order => {
                let mut permuted = vec![0; bytes.len()];
                from.permute(order, head_dim, bytes.len() / self.shape()[0], bytes, &mut permuted);
                Some(permuted)
            }
            _ => None,
        };
        let values = dtype::to_f32(self.dtype(), permuted.as_deref().unwrap_or(bytes));
        Ok(values.expect("a checkpoint only holds bf16, f16 and f32"))
    }
}
