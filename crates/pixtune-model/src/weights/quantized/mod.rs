//! Quantized weights, which are dequantized while they are read.
//!
//! [`Statistic`] recognizes the tensors beside a weight that its quantization needs, [`build`] checks that they fit together,
//! and [`Quantized::read`] computes some of the elements with the arithmetic of the library that quantized them: one
//! multiplication in f32, rounded once to the data type that the weight had.

mod build;
mod codes;
mod four_bit;
mod fp8;
mod matrix;
mod rounding;
mod state;

use pixtune_files::direct::Window;

use super::dtype::{self, Dtype};
use super::safetensors::{SafetensorsError, SafetensorsFile, TensorInfo};

pub use build::{Declared, Parts, Statistic, build};
pub use codes::FourBitType;
pub use four_bit::FourBit;
pub use fp8::Fp8;
pub use matrix::{FourBitMatrix, NotQuantizable, Scales};
pub use rounding::Rounding;
pub use state::{QuantState, StateError};

/// A tensor of a file.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'f> {
    /// The file.
    pub file: &'f SafetensorsFile,
    /// Its entry in the header.
    pub info: &'f TensorInfo,
}

impl Stored<'_> {
    /// Fills a buffer from an offset of the tensor, through the page cache.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SafetensorsError> {
        self.file.read_at(buffer, self.info.range.start + offset)
    }

    /// Fills a buffer from an offset of the tensor, past the page cache.
    fn stream_at(&self, window: &mut Window, buffer: &mut [u8], offset: u64) -> Result<(), SafetensorsError> {
        self.file.stream_at(window, buffer, self.info.range.start + offset)
    }

    /// Some of its elements as f32, from the element `first` on. It is of a weight type.
    fn values(&self, first: usize, count: usize, values: &mut Vec<f32>) -> Result<(), SafetensorsError> {
        let size = self.info.dtype.size();
        let mut bytes = vec![0; count * size];
        self.read_at(&mut bytes, (first * size) as u64)?;
        values.resize(count, 0.0);
        dtype::read_f32(self.info.dtype, &bytes, values).expect("statistics have been checked to be floats");
        Ok(())
    }
}

/// How many parts of a weight, and how many elements of each, show its rounding.
const PARTS: u64 = 16;
const PART: u64 = 1 << 15;

/// Where a tensor is: the index of its file, and its index in the header of that file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index among the files of a checkpoint.
    pub file: usize,
    /// Index among the tensors of the file.
    pub index: usize,
}

impl Place {
    /// The tensor at this place.
    pub fn of(self, files: &[SafetensorsFile]) -> Stored<'_> {
        let file = &files[self.file];
        Stored { file, info: &file.header().tensors[self.index] }
    }
}

/// A weight that is stored quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// The shape of the weight.
    pub shape: Vec<usize>,
    /// The data type of the weight after dequantization.
    pub dtype: Dtype,
    scheme: Scheme,
}

#[derive(Debug, Clone, PartialEq)]
enum Scheme {
    FourBit(FourBit),
    Fp8(Fp8),
}

/// Buffers of [`Quantized::read`], which are reused.
#[derive(Debug, Default)]
pub struct Buffers {
    /// The elements as stored.
    codes: Vec<u8>,
    /// Scales, one per block.
    scales: Vec<f32>,
    values: Vec<f32>,
}

impl Quantized {
    /// The name of the quantization: `NF4`, `FP4` or `FP8`, with a detail.
    pub fn method(&self) -> String {
        match &self.scheme {
            Scheme::FourBit(four) => four.method(),
            Scheme::Fp8(fp8) => fp8.method(),
        }
    }

    /// How far the elements are expected to be from those that were quantized, from some parts at equal distances.
    pub fn rounding(
        &self,
        files: &[SafetensorsFile],
        (window, buffers): (&mut Window, &mut Buffers),
    ) -> Result<Rounding, SafetensorsError> {
        let elements = self.shape.iter().fold(1u64, |all, side| all.saturating_mul(*side as u64));
        let part = PART.min(elements);
        let parts = (elements / part.max(1)).clamp(1, PARTS);
        let mut sums = Rounding::default();
        let mut bytes = vec![0; part as usize * self.dtype.size()];
        for index in 0..parts {
            // On whole blocks: their scales are known one by one.
            let first = (elements - part) / parts * index / self.unit() * self.unit();
            self.read(files, (&mut *window, &mut *buffers), first, &mut bytes)?;
            match &self.scheme {
                Scheme::FourBit(four) => four.add_rounding(buffers, &mut sums),
                Scheme::Fp8(fp8) => fp8.add_rounding(buffers, (self.columns(), first as usize), &mut sums),
            }
        }
        Ok(sums.times(elements as f64 / (parts * part).max(1) as f64))
    }

    /// Elements of a block of 4-bit codes, or of a row.
    fn unit(&self) -> u64 {
        match &self.scheme {
            Scheme::FourBit(four) => four.block as u64,
            Scheme::Fp8(_) => self.columns() as u64,
        }
    }

    fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1).max(1)
    }

    /// The codes and scales of a matrix in 4 bits; `None` for any other weight.
    pub fn four_bit(&self, files: &[SafetensorsFile]) -> Result<Option<FourBitMatrix>, SafetensorsError> {
        match (&self.scheme, &self.shape[..]) {
            (Scheme::FourBit(four), &[rows, columns]) => four.matrix(files, [rows, columns]).map(Some),
            _ => Ok(None),
        }
    }

    /// Computes the elements from `first` on, in the data type of the weight, as many as fit into `bytes`.
    pub fn read(
        &self,
        files: &[SafetensorsFile],
        (window, buffers): (&mut Window, &mut Buffers),
        first: u64,
        bytes: &mut [u8],
    ) -> Result<(), SafetensorsError> {
        match &self.scheme {
            Scheme::FourBit(four) => four.read(files, (window, buffers), first, self.dtype, bytes),
            Scheme::Fp8(fp8) => fp8.read(files, (window, buffers), self.columns(), first, self.dtype, bytes),
        }
    }
}
