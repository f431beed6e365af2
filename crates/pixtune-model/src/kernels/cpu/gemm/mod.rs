//! GEMM: the result is cut into tiles that stay in registers, and the right factor is packed so that a tile reads it as one
//! stream.

mod pack;
pub(super) mod packed;
mod pass;
#[cfg(test)]
mod tests;
pub(super) mod tile;

use std::cell::RefCell;
use std::ops::Range;

use pack::{Stored, pack};
use pass::{PANELS, Pass, passes};
use tile::{InstructionSet, TileOutput, TileTerm, VECTORS};

use super::matrix::{Matrix, MatrixMut, Parts};
use crate::kernels::Write;

/// The precision in which matrix products are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// In single precision, by the fastest instructions of the CPU.
    #[default]
    Single,
    /// In double precision, each sum rounded once: a hundred times slower, to tell a wrong formula from rounding.
    Double,
}

/// How matrix products are computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gemm {
    pub(super) instructions: InstructionSet,
    pub(super) precision: Precision,
}

/// One of the matrix products that are summed into a result: `left * (factor * right)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term<'a> {
    pub(super) left: Matrix<'a>,
    pub(super) right: RightFactor<'a>,
    pub(super) factor: f32,
}

/// A right factor in the dtype it is stored in.
#[derive(Debug, Clone, Copy)]
pub(super) enum RightFactor<'a> {
    F32(Matrix<'a>),
    Bf16(Matrix<'a, u16>),
}

impl<'a> Term<'a> {
    pub(super) fn new(left: Matrix<'a>, right: Matrix<'a>) -> Term<'a> {
        Term { left, right: RightFactor::F32(right), factor: 1.0 }
    }

    /// The term of these rows and columns of the result.
    pub(super) fn part(self, rows: Range<usize>, columns: Range<usize>) -> Term<'a> {
        Term { left: self.left.rows(rows), right: self.right.columns(columns), ..self }
    }
}

impl RightFactor<'_> {
    pub(super) fn transposed(self) -> Self {
        match self {
            RightFactor::F32(matrix) => RightFactor::F32(matrix.transposed()),
            RightFactor::Bf16(matrix) => RightFactor::Bf16(matrix.transposed()),
        }
    }

    fn columns(self, range: Range<usize>) -> Self {
        match self {
            RightFactor::F32(matrix) => RightFactor::F32(matrix.columns(range)),
            RightFactor::Bf16(matrix) => RightFactor::Bf16(matrix.columns(range)),
        }
    }

    fn size(&self) -> (usize, usize) {
        match self {
            RightFactor::F32(matrix) => (matrix.rows, matrix.columns),
            RightFactor::Bf16(matrix) => (matrix.rows, matrix.columns),
        }
    }

    /// Packs some of its rows and columns as a panel of this width.
    fn pack(
        &self,
        instructions: InstructionSet,
        factor: f32,
        (rows, columns): (Range<usize>, Range<usize>),
        (width, to): (usize, &mut [f32]),
    ) {
        match self {
            RightFactor::F32(matrix) => {
                pack(instructions, matrix.rows(rows).columns(columns), factor, width, to);
            }
            RightFactor::Bf16(matrix) => {
                pack(instructions, matrix.rows(rows).columns(columns), factor, width, to);
            }
        }
    }

    /// One number, widened.
    fn get(&self, row: usize, column: usize) -> f64 {
        match self {
            RightFactor::F32(matrix) => f64::from(matrix.get(row, column)),
            RightFactor::Bf16(matrix) => f64::from(matrix.get(row, column).widen()),
        }
    }
}

/// Parts per thread: small ones even out differences between threads at the end.
const PARTS: usize = 4;
/// Minimum rows of a part that spans all columns of another: each part packs its own right factor.
const ROWS_OF_PART: usize = 64;

thread_local! {
    static PACKED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Gemm {
    pub(super) fn new(precision: Precision) -> Gemm {
        Gemm { instructions: InstructionSet::detect(), precision }
    }

    /// Cuts a result into a few parts per thread, each of whole panels.
    pub(super) fn parts(&self, (rows, columns): (usize, usize), threads: usize) -> Parts {
        let wanted = if threads > 1 { PARTS * threads } else { 1 };
        let width = self.instructions.columns();
        let panels = columns.div_ceil(width);
        let across = panels.min(wanted);
        let down = wanted.div_ceil(across.max(1)).min(rows.div_ceil(ROWS_OF_PART)).max(1);
        let height = rows.div_ceil(down).max(1).next_multiple_of(self.instructions.rows());
        Parts {
            rows: blocks(rows, height).collect(),
            columns: even(panels, across)
                .map(|part| part.start * width..(part.end * width).min(columns))
                .collect(),
        }
    }

    /// `out = alpha * left right`, set or added.
    pub(super) fn multiply(self, out: MatrixMut, write: Write, alpha: f32, (left, right): (Matrix, Matrix)) {
        self.multiply_sum(out, write, alpha, &[Term::new(left, right)]);
    }

    /// `out = alpha * sum of terms`, set or added; `out` is read and written once. The inner axes are cut by their sizes
    /// alone, and each number of the result is a sum of its own: the bits are the same for any cut of the result into parts.
    pub(super) fn multiply_sum(self, mut out: MatrixMut, write: Write, alpha: f32, terms: &[Term]) {
        assert!(out.column_stride == 1, "results are stored row by row");
        for Term { left, right, .. } in terms {
            assert!((left.columns, out.columns) == right.size() && out.rows == left.rows);
        }
        if self.precision == Precision::Double {
            return multiply_sum_double(out, write, alpha, terms);
        }
        let passes = passes(terms);
        if passes.is_empty() && write == Write::Set {
            (0..out.rows).for_each(|row| out.row(row).fill(0.0));
        }
        PACKED.with_borrow_mut(|packed| {
            for columns in blocks(out.columns, PANELS * self.instructions.columns()) {
                let mut write = write;
                for blocks in &passes {
                    let pass = Pass { terms, blocks, gemm: self };
                    pass.run(
                        out.reborrow().columns(columns.clone()),
                        columns.clone(),
                        (alpha, write),
                        packed,
                    );
                    write = Write::Add;
                }
            }
        });
    }

    /// Computes one tile. A tile whose last vector extends past the result is computed into a buffer and copied.
    fn tile(self, mut out: MatrixMut, vectors: usize, terms: &[TileTerm], (alpha, write): (f32, Write)) {
        let instructions = self.instructions;
        let size = (out.rows, vectors);
        if out.columns == vectors * instructions.lanes() {
            let to = TileOutput { out: out.at, row_stride: out.row_stride, alpha, add: write == Write::Add };
            // SAFETY: the sizes agree, and every view covers numbers that live as long as it.
            return unsafe { instructions.tile(size, terms, to) };
        }
        let mut padded = [0.0; MOST_ROWS * VECTORS * MOST_LANES];
        let row_stride = vectors * instructions.lanes();
        let to = TileOutput { out: padded.as_mut_ptr(), row_stride, alpha, add: false };
        // SAFETY: as above, and a tile has at most as many numbers as `padded`.
        unsafe { instructions.tile(size, terms, to) };
        for (index, sums) in padded.chunks_exact(row_stride).take(out.rows).enumerate() {
            for (out, sum) in out.row(index).iter_mut().zip(sums) {
                *out = if write == Write::Add { *out + sum } else { *sum };
            }
        }
    }
}

/// Maximum rows of a tile on any instruction set.
pub(super) const MOST_ROWS: usize = 8;
const MOST_LANES: usize = 16;

fn multiply_sum_double(mut out: MatrixMut, write: Write, alpha: f32, terms: &[Term]) {
    for row in 0..out.rows {
        for (column, out) in out.row(row).iter_mut().enumerate() {
            let sums = terms.iter().map(|Term { left, right, factor }| {
                let products =
                    (0..left.columns).map(|inner| f64::from(left.get(row, inner)) * right.get(inner, column));
                f64::from(*factor) * products.sum::<f64>()
            });
            let sum = f64::from(alpha) * sums.sum::<f64>();
            *out = if write == Write::Add { f64::from(*out) + sum } else { sum } as f32;
        }
    }
}

/// Ranges of `step` from 0 to `len`; the last may be shorter.
pub(super) fn blocks(len: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(step.max(1)).map(move |start| start..(start + step).min(len))
}

/// `parts` ranges from 0 to `len` that differ by at most one.
fn even(len: usize, parts: usize) -> impl Iterator<Item = Range<usize>> {
    (0..parts).map(move |part| part * len / parts..(part + 1) * len / parts)
}
