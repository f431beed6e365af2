//! FP8: one byte per element (e4m3), with a scale for the weight, for each row, or for each block of rows and columns.
//!
//! An element is its value times its scale, in f32, rounded once to the data type of the model (transformers 5.23.0
//! `integrations/finegrained_fp8.py` `Fp8Dequantize`).

use pixtune_files::direct::Window;

use super::rounding::{self, Rounding};
use super::{Buffers, Place};
use crate::weights::dtype::{self, Dtype};
use crate::weights::safetensors::{SafetensorsError, SafetensorsFile};

/// How an FP8 weight is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Fp8 {
    pub(super) codes: Place,
    /// A grid of scales, row by row.
    pub(super) scales: Place,
    /// Blocks side by side in the columns.
    pub(super) grid_columns: usize,
    /// Rows and columns of a block.
    pub(super) block: [usize; 2],
    /// What the scales belong to.
    pub(super) granularity: Granularity,
}

/// What shares a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granularity {
    Tensor,
    Row,
    Block,
}

/// The value of every code: a sign, four bits of exponent with bias 7, three of mantissa. There are no infinities, and one
/// NaN of each sign.
const E4M3: [f32; 256] = {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = e4m3(code as u8);
        code += 1;
    }
    values
};

const fn e4m3(code: u8) -> f32 {
    let sign = (code as u32 >> 7) << 31;
    let (exponent, mantissa) = ((code as u32 >> 3) & 15, code as u32 & 7);
    let bits = match (exponent, mantissa) {
        (15, 7) => f32::NAN.to_bits(),
        (0, mantissa) => {
            // A multiple of 2^-9.
            let magnitude = mantissa as f32 * f32::from_bits((127 - 9) << 23);
            magnitude.to_bits()
        }
        (exponent, mantissa) => (exponent + 120) << 23 | mantissa << 20,
    };
    f32::from_bits(sign | bits)
}

impl Fp8 {
    pub(super) fn method(&self) -> String {
        match self.granularity {
            Granularity::Tensor => "FP8 (e4m3) with one scale".to_owned(),
            Granularity::Row => "FP8 (e4m3) with a scale per row".to_owned(),
            Granularity::Block => {
                format!("FP8 (e4m3) with a scale per block of {}×{}", self.block[0], self.block[1])
            }
        }
    }

    pub(super) fn read(
        &self,
        files: &[SafetensorsFile],
        (window, buffers): (&mut Window, &mut Buffers),
        columns: usize,
        first: u64,
        dtype: Dtype,
        bytes: &mut [u8],
    ) -> Result<(), SafetensorsError> {
        let count = bytes.len() / dtype.size();
        buffers.codes.resize(count, 0);
        self.codes.of(files).stream_at(window, &mut buffers.codes, first)?;
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let (first_row, end_row) = (first / columns, (first + count).div_ceil(columns));
        let [rows, _] = self.block;
        let (first_grid, end_grid) = (first_row / rows, end_row.div_ceil(rows));
        let scales = (end_grid - first_grid) * self.grid_columns;
        self.scales.of(files).values(first_grid * self.grid_columns, scales, &mut buffers.scales)?;
        buffers.values.resize(count, 0.0);
        self.each_run((columns, first, count), |at, scale| {
            let (scale, codes) = (buffers.scales[scale], &buffers.codes[at.clone()]);
            for (value, code) in buffers.values[at].iter_mut().zip(codes) {
                *value = E4M3[usize::from(*code)] * scale;
            }
        });
        dtype::write_f32(dtype, &buffers.values, bytes).expect("weights are floats");
        Ok(())
    }

    /// Calls `work` for every run of elements with one scale: which of the elements, and which of the scales that were read.
    fn each_run(
        &self,
        (columns, first, count): (usize, usize, usize),
        mut work: impl FnMut(std::ops::Range<usize>, usize),
    ) {
        let [rows, width] = self.block;
        let first_grid = first / columns / rows;
        let mut at = 0;
        while at < count {
            let (row, column) = ((first + at) / columns, (first + at) % columns);
            let end = count.min(at + (width - column % width).min(columns - column));
            work(at..end, (row / rows - first_grid) * self.grid_columns + column / width);
            at = end;
        }
    }

    /// Adds the rounding of the elements that were read last.
    pub(super) fn add_rounding(
        &self,
        buffers: &Buffers,
        (columns, first): (usize, usize),
        sums: &mut Rounding,
    ) {
        let table = rounding::of_codes(&E4M3);
        self.each_run((columns, first, buffers.codes.len()), |at, scale| {
            let codes = buffers.codes[at].iter().map(|code| usize::from(*code));
            sums.add(codes, &table, buffers.scales[scale]);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_values_of_e4m3() {
        for (code, value) in [(0x01, 1.0 / 512.0), (0x07, 7.0 / 512.0), (0x08, 1.0 / 64.0), (0x38, 1.0)] {
            assert_eq!((E4M3[code], E4M3[code | 0x80]), (value, -value));
        }
        assert_eq!((E4M3[0x7e], E4M3[0x40], E4M3[0x3c]), (448.0, 2.0, 1.5));
        assert!(E4M3[0x7f].is_nan() && E4M3[0xff].is_nan());
        assert_eq!(E4M3.iter().filter(|value| !value.is_finite()).count(), 2);
    }
}
