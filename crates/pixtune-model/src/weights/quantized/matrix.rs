//! A 4-bit matrix in memory: one that bitsandbytes stored, or one that is quantized here as bitsandbytes does it.

use super::codes::FourBitType;
use crate::simd::vectorized;
use crate::weights::dtype::{self, Dtype};

/// Elements of a block, and scales of a block of scales: the defaults of bitsandbytes (0.50.2 `functional.py`).
const BLOCK: usize = 64;
const SCALES_BLOCK: usize = 256;

/// A matrix with two codes per byte, and a scale for each block of elements.
#[derive(Debug, Clone, PartialEq)]
pub struct FourBitMatrix {
    /// `[rows, columns]`.
    pub shape: [usize; 2],
    /// The type of the codes.
    pub kind: FourBitType,
    /// Two codes per byte, row by row, the first in the upper half.
    pub codes: Vec<u8>,
    /// Elements of a block; a power of two of at least 32. The last block may be shorter.
    pub block: usize,
    /// A scale per block.
    pub scales: Scales,
}

/// Why a matrix cannot be quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotQuantizable {
    /// Its numbers are no floats.
    #[error("{0} cannot be quantized to 4 bits")]
    Dtype(Dtype),
    /// It has infinite numbers, or some that are none.
    #[error("it has NaN or infinite numbers, which cannot be quantized to 4 bits")]
    NotFinite,
}

/// The scales of the blocks of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub enum Scales {
    /// As they are.
    Plain(Vec<f32>),
    /// Quantized (double quantization): a scale is `map[code] * outer[index / block] + offset`.
    Double {
        /// A code per scale.
        codes: Vec<u8>,
        /// The value of each code.
        map: Box<[f32; 256]>,
        /// A scale per block of scales.
        outer: Vec<f32>,
        /// Scales of a block; a power of two of at least 32.
        block: usize,
        /// What is added to each scale.
        offset: f32,
    },
}

impl FourBitMatrix {
    /// Quantizes a matrix to NF4 with blocks of 64 and double quantization, with the arithmetic of bitsandbytes 0.50.2
    /// (`backends/default/ops.py`) but for the mean of the scales, which is exact here. Its kernels for GPUs take the nearest code as well;
    /// its kernel for CPUs takes a neighbor for some scales.
    pub fn quantize(shape: [usize; 2], dtype: Dtype, bytes: &[u8]) -> Result<FourBitMatrix, NotQuantizable> {
        let size = dtype.size();
        let count = bytes.len() / size;
        let mut codes = vec![0; count.div_ceil(2)];
        let mut scales = Vec::with_capacity(count.div_ceil(BLOCK));
        let mut values = [0.0; BLOCK];
        for (bytes, codes) in bytes.chunks(BLOCK * size).zip(codes.chunks_mut(BLOCK / 2)) {
            let values = &mut values[..bytes.len() / size];
            dtype::read_f32(dtype, bytes, values).ok_or(NotQuantizable::Dtype(dtype))?;
            if !values.iter().all(|value| value.is_finite()) {
                return Err(NotQuantizable::NotFinite);
            }
            scales.push(normalize(BLOCK, values));
            pack(values, codes);
        }
        let kind = FourBitType::Nf4;
        Ok(FourBitMatrix { shape, kind, codes, block: BLOCK, scales: Scales::quantize(&scales) })
    }

    /// The elements in a data type, as bytes.
    pub fn dequantize(&self, dtype: Dtype) -> Vec<u8> {
        let count = self.shape[0] * self.shape[1];
        let mut bytes = vec![0; count * dtype.size()];
        let mut values = Vec::with_capacity(self.block);
        let blocks = bytes.chunks_mut(self.block * dtype.size()).zip(self.codes.chunks(self.block / 2));
        for (index, (bytes, codes)) in blocks.enumerate() {
            let scale = self.scales.get(index);
            let table = self.kind.values();
            let codes = codes.iter().flat_map(|pair| [pair >> 4, pair & 15]);
            values.clear();
            values.extend(codes.map(|code| table[usize::from(code)] * scale));
            values.truncate(bytes.len() / dtype.size());
            dtype::write_f32(dtype, &values, bytes);
        }
        bytes
    }

    /// Bytes of codes and scales.
    pub fn bytes(&self) -> usize {
        let scales = match &self.scales {
            Scales::Plain(scales) => scales.len() * 4,
            Scales::Double { codes, outer, .. } => codes.len() + outer.len() * 4,
        };
        self.codes.len() + scales
    }
}

impl Scales {
    fn quantize(scales: &[f32]) -> Scales {
        let mean = scales.iter().map(|scale| f64::from(*scale)).sum::<f64>() / scales.len().max(1) as f64;
        let (offset, map) = (mean as f32, dynamic_map());
        let bounds: Vec<f32> = map.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
        let mut codes = Vec::with_capacity(scales.len());
        let mut outer = Vec::with_capacity(scales.len().div_ceil(SCALES_BLOCK));
        for scales in scales.chunks(SCALES_BLOCK) {
            let mut values: Vec<f32> = scales.iter().map(|scale| scale - offset).collect();
            outer.push(normalize(SCALES_BLOCK, &mut values));
            codes.extend(values.iter().map(|value| bounds.partition_point(|bound| bound < value) as u8));
        }
        Scales::Double { codes, map, outer, block: SCALES_BLOCK, offset }
    }

    /// The scale of a block.
    pub fn get(&self, index: usize) -> f32 {
        match self {
            Scales::Plain(scales) => scales[index],
            Scales::Double { codes, map, outer, block, offset } => {
                map[usize::from(codes[index])] * outer[index / block] + offset
            }
        }
    }
}

/// Divides numbers by the largest magnitude among them, which is returned. A whole block is multiplied by its inverse, the rest at
/// the end of a tensor divided, as bitsandbytes does: the two differ in the last bit.
fn normalize(block: usize, values: &mut [f32]) -> f32 {
    const SMALLEST: f32 = 1e-38;
    let largest = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    if values.len() == block {
        let inverse = 1.0 / largest.max(SMALLEST);
        values.iter_mut().for_each(|value| *value = (*value * inverse).clamp(-1.0, 1.0));
        return largest;
    }
    let largest = largest.max(SMALLEST);
    values.iter_mut().for_each(|value| *value = (*value / largest).clamp(-1.0, 1.0));
    largest
}

vectorized! {
    /// The nearest codes of NF4, two per byte. Between two values, the midpoint belongs to the lower.
    fn pack(values: &[f32], codes: &mut [u8]) {
        let table = FourBitType::Nf4.values();
        let mut bounds = [0.0; 15];
        for (index, bound) in bounds.iter_mut().enumerate() {
            *bound = (table[index] + table[index + 1]) / 2.0;
        }
        // What is missing in the last byte is a zero.
        let mut found = [0u8; BLOCK];
        for (found, value) in found.iter_mut().zip(values.iter().chain(std::iter::repeat(&0.0))) {
            *found = bounds.iter().map(|bound| u8::from(*bound < *value)).sum();
        }
        for (pair, byte) in found.as_chunks::<2>().0.iter().zip(codes) {
            *byte = pair[0] << 4 | pair[1];
        }
    }
}

/// The values of the codes of scales: "dynamic tree" quantization with a sign and up to seven bits of exponent (Dettmers et al.,
/// arXiv:2110.02861; bitsandbytes 0.50.2 `functional.py` `create_dynamic_map`), in order.
fn dynamic_map() -> Box<[f32; 256]> {
    const EXPONENTS: i32 = 7;
    let mut map = Box::new([0.0f32; 256]);
    let mut at = 0;
    for exponent in 0..EXPONENTS {
        let parts = 1 << exponent;
        let edge = |index: i32| linspace(0.1, 1.0, parts + 1, index);
        for index in 0..parts {
            let mean = (edge(index) + edge(index + 1)) / 2.0;
            let value = (10f64.powi(exponent + 1 - EXPONENTS) as f32) * mean;
            map[at] = value;
            map[at + 1] = -value;
            at += 2;
        }
    }
    // 254 values, a zero and a one.
    map[at + 1] = 1.0;
    map.sort_by(f32::total_cmp);
    map
}

/// Number `index` of `count` evenly spaced ones as PyTorch computes it in f32: from both ends, each rounded once.
fn linspace(first: f32, last: f32, count: i32, index: i32) -> f32 {
    let step = (last - first) / (count - 1) as f32;
    match index < count / 2 {
        true => step.mul_add(index as f32, first),
        false => (-step).mul_add((count - index - 1) as f32, last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_own_code() {
        let values = FourBitType::Nf4.values();
        let numbers: Vec<f32> = (0..4).flat_map(|_| values.map(|value| value * 3.5)).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let matrix = FourBitMatrix::quantize([2, 32], Dtype::F32, &bytes).unwrap();
        let expected: Vec<u8> = (0..32).map(|pair| (pair % 8 * 2) << 4 | (pair % 8 * 2 + 1)).collect();
        assert_eq!(matrix.codes, expected);
        assert_eq!(matrix.bytes(), 32 + 1 + 4);
    }

    #[test]
    fn short_blocks_and_zeros_stay() {
        for (count, value) in [(1, 0.0f32), (63, 0.0), (65, 1.5), (3, -2.0), (128, 0.0)] {
            let bytes: Vec<u8> = (0..count).flat_map(|_| value.to_le_bytes()).collect();
            let matrix = FourBitMatrix::quantize([1, count], Dtype::F32, &bytes).unwrap();
            assert_eq!(matrix.dequantize(Dtype::F32), bytes, "{count} {value}");
        }
        let refused = |dtype, bytes: &[u8]| FourBitMatrix::quantize([1, 2], dtype, bytes).unwrap_err();
        assert_eq!(refused(Dtype::I32, &[0; 8]), NotQuantizable::Dtype(Dtype::I32));
        assert_eq!(refused(Dtype::BF16, &[0, 0, 0x80, 0x7f]), NotQuantizable::NotFinite);
    }

    #[test]
    fn the_map_of_scales_is_symmetric_but_for_its_end() {
        let map = dynamic_map();
        assert!(map.is_sorted());
        assert_eq!((map[127], map[255], map[0]), (0.0, 1.0, -map[254]));
    }
}
