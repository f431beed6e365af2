//! NF4 and FP4 of bitsandbytes: two elements per byte, a scale per block of elements.
//!
//! An element is the value of its code times the scale of its block, in f32, rounded once to the data type of the weight
//! (bitsandbytes 0.50.2 `backends/default/ops.py`). With double quantization a scale is itself the value of a code times a
//! scale, plus an offset.

use pixtune_files::direct::Window;

use super::codes::FourBitType;
use super::matrix::{FourBitMatrix, Scales};
use super::rounding::{self, Rounding};
use super::{Buffers, Place};
use crate::weights::dtype::{self, Dtype};
use crate::weights::safetensors::{SafetensorsError, SafetensorsFile};

/// How a 4-bit weight is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct FourBit {
    pub(super) kind: FourBitType,
    /// Two codes per byte, the first in the upper half.
    pub(super) codes: Place,
    /// Elements of a block; even.
    pub(super) block: usize,
    /// The scale of each block: f32, or u8 with double quantization.
    pub(super) absmax: Place,
    pub(super) nested: Option<Nested>,
}

/// How scales are quantized.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Nested {
    /// The value of each code.
    pub(super) map: Box<[f32; 256]>,
    /// The scale of each block of scales, f32.
    pub(super) absmax: Place,
    /// Scales of a block.
    pub(super) block: usize,
    pub(super) offset: f32,
}

impl FourBit {
    pub(super) fn method(&self) -> String {
        let name = match self.kind {
            FourBitType::Nf4 => "NF4",
            FourBitType::Fp4 => "FP4",
        };
        let double = if self.nested.is_some() { " and double quantization" } else { "" };
        format!("{name} with blocks of {}{double}", self.block)
    }

    pub(super) fn read(
        &self,
        files: &[SafetensorsFile],
        (window, buffers): (&mut Window, &mut Buffers),
        first: u64,
        dtype: Dtype,
        bytes: &mut [u8],
    ) -> Result<(), SafetensorsError> {
        let count = (bytes.len() / dtype.size()) as u64;
        let (start, end) = (first / 2, (first + count).div_ceil(2));
        buffers.codes.resize((end - start) as usize, 0);
        self.codes.of(files).stream_at(window, &mut buffers.codes, start)?;
        let block = self.block as u64;
        let (first_block, end_block) = (first / block, (first + count).div_ceil(block));
        self.scales(files, first_block as usize, (end_block - first_block) as usize, buffers)?;
        let skipped = (first - first_block * block) as usize;
        let codes = Codes { bytes: &buffers.codes, odd: (first % 2) as usize };
        match dtype.size() {
            2 => self.expand::<2>(codes, &buffers.scales, skipped, dtype, bytes),
            _ => self.expand::<4>(codes, &buffers.scales, skipped, dtype, bytes),
        }
        Ok(())
    }

    /// The whole matrix, with its codes and scales as they are stored.
    pub(super) fn matrix(
        &self,
        files: &[SafetensorsFile],
        shape: [usize; 2],
    ) -> Result<FourBitMatrix, SafetensorsError> {
        let count = shape[0] * shape[1];
        let mut codes = vec![0; count.div_ceil(2)];
        self.codes.of(files).read_at(&mut codes, 0)?;
        let blocks = count.div_ceil(self.block);
        let absmax = self.absmax.of(files);
        let scales = match &self.nested {
            None => {
                let mut scales = Vec::new();
                absmax.values(0, blocks, &mut scales)?;
                Scales::Plain(scales)
            }
            Some(nested) => {
                let (mut codes, mut outer) = (vec![0; blocks], Vec::new());
                absmax.read_at(&mut codes, 0)?;
                nested.absmax.of(files).values(0, blocks.div_ceil(nested.block), &mut outer)?;
                let Nested { map, block, offset, .. } = nested.clone();
                Scales::Double { codes, map, outer, block, offset }
            }
        };
        Ok(FourBitMatrix { shape, kind: self.kind, codes, block: self.block, scales })
    }

    /// Adds the rounding of the elements that were read last, from the first of a block on.
    pub(super) fn add_rounding(&self, buffers: &Buffers, sums: &mut Rounding) {
        let table = rounding::of_codes(self.kind.values());
        for (codes, scale) in buffers.codes.chunks(self.block / 2).zip(&buffers.scales) {
            let codes = codes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(usize::from);
            sums.add(codes, &table, *scale);
        }
    }

    /// The scales of some blocks.
    fn scales(
        &self,
        files: &[SafetensorsFile],
        first: usize,
        count: usize,
        buffers: &mut Buffers,
    ) -> Result<(), SafetensorsError> {
        let absmax = self.absmax.of(files);
        let Some(nested) = &self.nested else { return absmax.values(first, count, &mut buffers.scales) };
        let mut codes = vec![0; count];
        absmax.read_at(&mut codes, first as u64)?;
        let (first_outer, end_outer) = (first / nested.block, (first + count).div_ceil(nested.block));
        nested.absmax.of(files).values(first_outer, end_outer - first_outer, &mut buffers.values)?;
        buffers.scales.clear();
        buffers.scales.extend(codes.iter().enumerate().map(|(index, code)| {
            let outer = buffers.values[(first + index) / nested.block - first_outer];
            nested.map[*code as usize] * outer + nested.offset
        }));
        Ok(())
    }

    /// Writes the elements as stored numbers of `SIZE` bytes. `skipped` elements of the first block come before them.
    fn expand<const SIZE: usize>(
        &self,
        codes: Codes<'_>,
        scales: &[f32],
        skipped: usize,
        dtype: Dtype,
        bytes: &mut [u8],
    ) {
        let elements = bytes.as_chunks_mut::<SIZE>().0;
        let (mut at, mut left) = (0, self.block - skipped);
        for scale in scales {
            // Sixteen products per block instead of one per element: rounding does not depend on the position.
            let products = self.kind.values().map(|value| value * scale);
            let mut table = [[0; SIZE]; 16];
            dtype::write_f32(dtype, &products, table.as_flattened_mut()).expect("weights are floats");
            let end = elements.len().min(at + left);
            codes.expand(at, &table, &mut elements[at..end]);
            (at, left) = (end, self.block);
        }
    }
}

/// Codes, two per byte.
#[derive(Clone, Copy)]
struct Codes<'c> {
    bytes: &'c [u8],
    /// Codes of the first byte that come before the first.
    odd: usize,
}

impl Codes<'_> {
    /// Replaces the codes from `first` on by the numbers of a table.
    fn expand<const SIZE: usize>(self, first: usize, table: &[[u8; SIZE]; 16], out: &mut [[u8; SIZE]]) {
        let start = first + self.odd;
        if !start.is_multiple_of(2) {
            for (index, out) in out.iter_mut().enumerate() {
                let at = start + index;
                let byte = self.bytes[at / 2];
                *out = table[usize::from(if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 })];
            }
            return;
        }
        let bytes = &self.bytes[start / 2..];
        let (pairs, rest) = out.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(bytes) {
            *pair = [table[usize::from(byte >> 4)], table[usize::from(byte & 15)]];
        }
        if let ([last], Some(byte)) = (rest, bytes.get(pairs.len())) {
            *last = table[usize::from(byte >> 4)];
        }
    }
}
