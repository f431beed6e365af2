//! Frozen matrices: kept in the dtype they are stored in, widened to f32 when GEMM packs them.

use std::borrow::Cow;

use rayon::prelude::*;

use super::CpuKernels;
use super::gemm::{Precision, RightFactor, Term};
use super::matrix::{Matrix, MatrixMut};
use super::simd::{dot, sum_lanes};
use crate::kernels::{FrozenTensor, UnsupportedDtype, Write};
use crate::simd::vectorized;
use crate::weights::Dtype;
use crate::weights::dtype::{bf16_to_f32, f16_to_f32};
use crate::weights::quantized::FourBitMatrix;

/// A frozen matrix, borrowed where it is in memory in a form that the CPU can read.
#[derive(Debug)]
pub struct CpuWeight<'w> {
    /// The first axis of the tensor.
    pub(super) rows: usize,
    /// All other axes of the tensor.
    pub(super) columns: usize,
    numbers: Numbers<'w>,
}

#[derive(Debug)]
enum Numbers<'w> {
    F32(Cow<'w, [f32]>),
    Bf16(Cow<'w, [u16]>),
}

/// With at most this many rows of `x`, reading the weight from memory takes longer than the arithmetic.
const FEW_ROWS: usize = 4;

impl<'w> CpuWeight<'w> {
    pub(super) fn new(tensor: FrozenTensor<'w>) -> Result<CpuWeight<'w>, UnsupportedDtype> {
        let rows = tensor.shape.first().copied().unwrap_or(1);
        let columns = tensor.shape.iter().skip(1).product();
        let numbers = match tensor.dtype {
            Dtype::F32 => Numbers::F32(view(tensor.bytes, f32::from_le_bytes)),
            Dtype::BF16 => Numbers::Bf16(view(tensor.bytes, u16::from_le_bytes)),
            Dtype::F16 => {
                let halves = tensor.bytes.as_chunks().0.iter();
                Numbers::F32(halves.map(|half| f16_to_f32(u16::from_le_bytes(*half))).collect())
            }
            other => return Err(UnsupportedDtype(other)),
        };
        Ok(CpuWeight { rows, columns, numbers })
    }

    /// A matrix in 4 bits, in bf16 from the start: on the CPU it saves no memory, and gives the results of other devices.
    pub(super) fn dequantized(matrix: &FourBitMatrix) -> CpuWeight<'w> {
        let [rows, columns] = matrix.shape;
        let numbers = Numbers::Bf16(view(Cow::Owned(matrix.dequantize(Dtype::BF16)), u16::from_le_bytes));
        CpuWeight { rows, columns, numbers }
    }

    /// Its bytes, in memory or in the file that it is borrowed from.
    pub(super) fn bytes(&self) -> u64 {
        match &self.numbers {
            Numbers::F32(numbers) => size_of_val::<[f32]>(numbers) as u64,
            Numbers::Bf16(numbers) => size_of_val::<[u16]>(numbers) as u64,
        }
    }

    /// One row, widened.
    pub(super) fn widen_row(&self, row: usize, out: &mut [f32]) {
        let range = row * self.columns..(row + 1) * self.columns;
        match &self.numbers {
            Numbers::F32(numbers) => out.copy_from_slice(&numbers[range]),
            Numbers::Bf16(numbers) => widen(&numbers[range], out),
        }
    }

    /// All numbers, widened.
    pub(super) fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.columns];
        for (row, out) in out.chunks_exact_mut(self.columns.max(1)).enumerate() {
            self.widen_row(row, out);
        }
        out
    }

    /// `[rows, columns]`, as the right factor of a GEMM.
    pub(super) fn right(&self) -> RightFactor<'_> {
        match &self.numbers {
            Numbers::F32(numbers) => RightFactor::F32(Matrix::new(numbers, self.columns)),
            Numbers::Bf16(numbers) => RightFactor::Bf16(Matrix::new(numbers, self.columns)),
        }
    }

    fn dot_row(&self, row: usize, x: &[f32]) -> f32 {
        let range = row * self.columns..(row + 1) * self.columns;
        match &self.numbers {
            Numbers::F32(numbers) => dot(&numbers[range], x),
            Numbers::Bf16(numbers) => dot_bf16(&numbers[range], x),
        }
    }
}

/// The bytes as numbers: the same memory where it is aligned and the CPU is little-endian, a copy otherwise.
fn view<'w, T, const N: usize>(bytes: Cow<'w, [u8]>, read: fn([u8; N]) -> T) -> Cow<'w, [T]>
where
    T: Plain + Clone,
{
    if let Cow::Borrowed(bytes) = bytes
        && cfg!(target_endian = "little")
    {
        // SAFETY: every bit pattern is a value of these types.
        let (before, numbers, after) = unsafe { bytes.align_to::<T>() };
        if before.is_empty() && after.is_empty() {
            return Cow::Borrowed(numbers);
        }
    }
    Cow::Owned(bytes.as_chunks().0.iter().map(|chunk| read(*chunk)).collect())
}

/// Types for which every bit pattern is a value.
trait Plain {}
impl Plain for f32 {}
impl Plain for u16 {}

vectorized! {
    fn widen(halves: &[u16], out: &mut [f32]) {
        for (out, half) in out.iter_mut().zip(halves) {
            *out = bf16_to_f32(*half);
        }
    }
}

vectorized! {
    fn dot_bf16(halves: &[u16], x: &[f32]) -> f32 {
        let (halves, halves_rest) = halves.as_chunks::<16>();
        let (x, x_rest) = x.as_chunks::<16>();
        let mut sums = [0.0f32; 16];
        for (halves, x) in halves.iter().zip(x) {
            for lane in 0..16 {
                sums[lane] += bf16_to_f32(halves[lane]) * x[lane];
            }
        }
        let rest = halves_rest.iter().zip(x_rest).map(|(half, x)| bf16_to_f32(*half) * x);
        sum_lanes(sums) + rest.sum::<f32>()
    }
}

impl CpuKernels {
    /// `y = x W^T`, plus one more term.
    pub(super) fn weight_times(
        &self,
        x: &[f32],
        weight: &CpuWeight,
        more: Option<Term>,
        y: &mut [f32],
        write: Write,
    ) {
        let (inputs, outputs) = (weight.columns, weight.rows);
        let rows = x.len() / inputs.max(1);
        assert!(
            x.len() == rows * inputs && y.len() == rows * outputs,
            "the buffers have the shape of the weight"
        );
        if rows <= FEW_ROWS && self.gemm.precision == Precision::Single {
            self.few_rows_times(x, weight, y, write);
            return self.multiply_sum(MatrixMut::new(y, outputs), Write::Add, 1.0, more.as_slice());
        }
        let term = Term { left: Matrix::new(x, inputs), right: weight.right().transposed(), factor: 1.0 };
        let terms: Vec<Term> = std::iter::once(term).chain(more).collect();
        self.multiply_sum(MatrixMut::new(y, outputs), write, 1.0, &terms);
    }

    /// `dx = dy W`, plus one more term.
    pub(super) fn weight_transposed_times(
        &self,
        dy: &[f32],
        weight: &CpuWeight,
        more: Option<Term>,
        dx: &mut [f32],
        write: Write,
    ) {
        let (inputs, outputs) = (weight.columns, weight.rows);
        let rows = dy.len() / outputs.max(1);
        assert!(
            dx.len() == rows * inputs && dy.len() == rows * outputs,
            "the buffers have the shape of the weight"
        );
        let term = Term { left: Matrix::new(dy, outputs), right: weight.right(), factor: 1.0 };
        let terms: Vec<Term> = std::iter::once(term).chain(more).collect();
        self.multiply_sum(MatrixMut::new(dx, inputs), write, 1.0, &terms);
    }

    fn few_rows_times(&self, x: &[f32], weight: &CpuWeight, y: &mut [f32], write: Write) {
        let (inputs, outputs) = (weight.columns, weight.rows);
        for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
            self.run(|| {
                y.par_chunks_mut(64).enumerate().for_each(|(block, y)| {
                    for (row, y) in y.iter_mut().enumerate() {
                        let value = weight.dot_row(block * 64 + row, x);
                        *y = if write == Write::Set { value } else { *y + value };
                    }
                });
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_dtype_changes_no_bit() {
        let kernels = CpuKernels::new(2).unwrap();
        let (rows, inputs, outputs) = (7, 24, 40);
        let numbers: Vec<f32> = (0..inputs * outputs).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
        let wide: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let narrow: Vec<u8> =
            numbers.iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect();
        let tensor =
            |dtype, bytes| FrozenTensor { dtype, shape: vec![outputs, inputs], bytes: Cow::Borrowed(bytes) };
        let wide = CpuWeight::new(tensor(Dtype::F32, &wide)).unwrap();
        let narrow = CpuWeight::new(tensor(Dtype::BF16, &narrow)).unwrap();
        let x: Vec<f32> = (0..rows * inputs).map(|i| (i % 13) as f32 - 6.0).collect();
        let dy: Vec<f32> = (0..rows * outputs).map(|i| (i % 7) as f32 - 3.0).collect();
        for few in [1, rows] {
            let (mut a, mut b) = (vec![1.0; few * outputs], vec![1.0; few * outputs]);
            kernels.weight_times(&x[..few * inputs], &wide, None, &mut a, Write::Add);
            kernels.weight_times(&x[..few * inputs], &narrow, None, &mut b, Write::Add);
            assert_eq!(a, b);
            let expected = 1.0 + (0..inputs).map(|i| x[i] * numbers[inputs + i]).sum::<f32>();
            assert_eq!(a[1], expected);
        }
        let (mut a, mut b) = (vec![0.0; rows * inputs], vec![0.0; rows * inputs]);
        kernels.weight_transposed_times(&dy, &wide, None, &mut a, Write::Set);
        kernels.weight_transposed_times(&dy, &narrow, None, &mut b, Write::Set);
        assert_eq!(a, b);
    }
}
