//! Right factors that are packed once and read by many small GEMMs.

use super::pack::pack;
use super::tile::{InstructionSet, TileTerm};
use super::{Gemm, Precision, blocks};
use crate::kernels::Write;
use crate::kernels::cpu::matrix::{Matrix, MatrixMut};

/// A matrix as tiles read it: panels as wide as a tile, each stored row by row, the last no wider than its vectors. A view
/// may start at a later row and panel.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels::cpu) struct PackedMatrix<'a> {
    values: &'a [f32],
    instructions: InstructionSet,
    rows: usize,
    columns: usize,
    first_row: usize,
    first_column: usize,
}

impl<'a> PackedMatrix<'a> {
    /// The length of a packed matrix.
    pub(in crate::kernels::cpu) fn len(instructions: InstructionSet, rows: usize, columns: usize) -> usize {
        rows * columns.next_multiple_of(instructions.lanes())
    }

    /// Packs a matrix into the front of `to`.
    pub(in crate::kernels::cpu) fn new(
        instructions: InstructionSet,
        from: Matrix,
        to: &'a mut [f32],
    ) -> PackedMatrix<'a> {
        let Matrix { rows, columns, .. } = from;
        let mut rest = &mut to[..PackedMatrix::len(instructions, rows, columns)];
        for part in blocks(columns, instructions.columns()) {
            let width = part.len().next_multiple_of(instructions.lanes());
            let panel = rest.split_off_mut(..rows * width).unwrap_or_default();
            pack(instructions, from.columns(part), 1.0, width, panel);
        }
        PackedMatrix::view(instructions, (rows, columns), to)
    }

    /// A matrix of this size that is packed at the front of `values`.
    pub(in crate::kernels::cpu) fn view(
        instructions: InstructionSet,
        (rows, columns): (usize, usize),
        values: &'a [f32],
    ) -> PackedMatrix<'a> {
        let values = &values[..PackedMatrix::len(instructions, rows, columns)];
        PackedMatrix { values, instructions, rows, columns, first_row: 0, first_column: 0 }
    }

    /// The rows from this one on.
    pub(in crate::kernels::cpu) fn rows_from(self, row: usize) -> PackedMatrix<'a> {
        PackedMatrix { first_row: self.first_row + row, ..self }
    }

    /// The columns from this one on, which is the first of a panel.
    pub(in crate::kernels::cpu) fn columns_from(self, column: usize) -> PackedMatrix<'a> {
        debug_assert!(column.is_multiple_of(self.instructions.columns()));
        PackedMatrix { first_column: self.first_column + column, ..self }
    }

    /// The start of a panel and its row stride.
    fn panel(&self, column: usize) -> (usize, usize) {
        let first = self.first_column + column;
        let width = self.instructions.columns();
        let columns = self.columns.saturating_sub(first).min(width);
        let width = columns.next_multiple_of(self.instructions.lanes());
        (first * self.rows + self.first_row * width, width)
    }

    /// One number; zero past the last column.
    fn get(&self, row: usize, column: usize) -> f32 {
        let panel = column / self.instructions.columns() * self.instructions.columns();
        let (start, width) = self.panel(panel);
        self.values[start + row * width + column - panel]
    }
}

impl Gemm {
    /// `out = alpha * left right`, set or added, for at most the rows of one tile. `out` may have more columns than `right`,
    /// up to whole vectors.
    pub(in crate::kernels::cpu) fn multiply_packed(
        self,
        mut out: MatrixMut,
        write: Write,
        alpha: f32,
        (left, right): (Matrix, PackedMatrix),
    ) {
        let depth = left.columns;
        assert!(left.rows == out.rows && out.rows <= self.instructions.rows() && out.column_stride == 1);
        assert!(right.instructions == self.instructions && right.first_row + depth <= right.rows);
        if self.precision == Precision::Double {
            return multiply_packed_double(out, write, alpha, (left, right));
        }
        for columns in blocks(out.columns, self.instructions.columns()) {
            let (start, width) = right.panel(columns.start);
            let vectors = columns.len().div_ceil(self.instructions.lanes());
            assert!(vectors * self.instructions.lanes() <= width);
            let term = TileTerm {
                left: left.at,
                left_row_stride: left.row_stride,
                left_column_stride: left.column_stride,
                right: right.values[start..][..depth * width].as_ptr(),
                right_row_stride: width,
                depth,
            };
            self.tile(out.reborrow().columns(columns), vectors, &[term], (alpha, write));
        }
    }
}

/// Rounds each sum once.
fn multiply_packed_double(
    mut out: MatrixMut,
    write: Write,
    alpha: f32,
    (left, right): (Matrix, PackedMatrix),
) {
    for row in 0..out.rows {
        for (column, out) in out.row(row).iter_mut().enumerate() {
            let products = (0..left.columns)
                .map(|inner| f64::from(left.get(row, inner)) * f64::from(right.get(inner, column)));
            let sum = f64::from(alpha) * products.sum::<f64>();
            *out = if write == Write::Add { f64::from(*out) + sum } else { sum } as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i * 37 % 11) as f32 - 5.0).collect()
    }

    /// Small integers: their sums are exact in any order.
    #[test]
    fn agrees_with_the_definition() {
        for instructions in InstructionSet::every() {
            for precision in [Precision::Single, Precision::Double] {
                let gemm = Gemm { instructions, precision };
                for (rows, depth, columns) in [(1, 1, 1), (3, 20, 17), (4, 70, 100), (4, 5, 48)] {
                    let (left, right) = (numbers(rows * depth), numbers(depth * columns));
                    let right = Matrix::new(&right, columns);
                    let mut space = vec![f32::NAN; PackedMatrix::len(instructions, depth, columns)];
                    let packed = PackedMatrix::new(instructions, right, &mut space);
                    let (skipped, panel) = (depth / 2, instructions.columns());
                    let first = if columns > panel { panel } else { 0 };
                    let padded = (columns - first).next_multiple_of(instructions.lanes());
                    for columns_out in [columns - first, padded] {
                        let mut out = vec![1.0; rows * columns_out];
                        let view = MatrixMut::new(&mut out, columns_out);
                        let part = packed.rows_from(skipped).columns_from(first);
                        let left = Matrix::new(&left, depth).columns(skipped..depth);
                        gemm.multiply_packed(view, Write::Add, 2.0, (left, part));
                        for (row, out) in out.chunks(columns_out).enumerate() {
                            for (column, out) in out.iter().enumerate() {
                                let inside = first + column < columns;
                                let product = |k| left.get(row, k) * right.get(skipped + k, first + column);
                                let sum: f32 =
                                    if inside { (0..depth - skipped).map(product).sum() } else { 0.0 };
                                assert_eq!(*out, 1.0 + 2.0 * sum, "{instructions:?} {row} {column}");
                            }
                        }
                    }
                }
            }
        }
    }
}
