//! Right factors that are packed once and read by many small products.

use super::matrix::{Matrix, MatrixMut};
use super::pack::pack;
use super::product::{Precision, Products, blocks};
use super::tile::{Instructions, Stretch};
use crate::kernels::Write;

/// A matrix as tiles read it: panel after panel as wide as a tile, each row by row, the last no wider than its vectors. Or
/// what follows a row and a panel of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed<'a> {
    values: &'a [f32],
    instructions: Instructions,
    rows: usize,
    columns: usize,
    first_row: usize,
    first_column: usize,
}

impl<'a> Packed<'a> {
    /// How many numbers a matrix takes.
    pub(super) fn len(instructions: Instructions, rows: usize, columns: usize) -> usize {
        rows * columns.next_multiple_of(instructions.lanes())
    }

    /// Packs a matrix into the front of `to`.
    pub(super) fn new(instructions: Instructions, from: Matrix, to: &'a mut [f32]) -> Packed<'a> {
        let Matrix { rows, columns, .. } = from;
        let mut rest = &mut to[..Packed::len(instructions, rows, columns)];
        for part in blocks(columns, instructions.columns()) {
            let width = part.len().next_multiple_of(instructions.lanes());
            let panel = rest.split_off_mut(..rows * width).unwrap_or_default();
            pack(instructions, from.columns(part), 1.0, width, panel);
        }
        Packed::view(instructions, (rows, columns), to)
    }

    /// A matrix of this size that was packed into the front of `values`.
    pub(super) fn view(
        instructions: Instructions,
        (rows, columns): (usize, usize),
        values: &'a [f32],
    ) -> Packed<'a> {
        let values = &values[..Packed::len(instructions, rows, columns)];
        Packed { values, instructions, rows, columns, first_row: 0, first_column: 0 }
    }

    /// From this row on.
    pub(super) fn rows_from(self, row: usize) -> Packed<'a> {
        Packed { first_row: self.first_row + row, ..self }
    }

    /// From this column on, the first of a panel.
    pub(super) fn columns_from(self, column: usize) -> Packed<'a> {
        debug_assert!(column.is_multiple_of(self.instructions.columns()));
        Packed { first_column: self.first_column + column, ..self }
    }

    /// Where a panel begins, and how far its rows are apart.
    fn panel(&self, column: usize) -> (usize, usize) {
        let first = self.first_column + column;
        let width = self.instructions.columns();
        let columns = self.columns.saturating_sub(first).min(width);
        let width = columns.next_multiple_of(self.instructions.lanes());
        (first * self.rows + self.first_row * width, width)
    }

    /// One number; zero right of the last column.
    fn number(&self, row: usize, column: usize) -> f32 {
        let panel = column / self.instructions.columns() * self.instructions.columns();
        let (start, width) = self.panel(panel);
        self.values[start + row * width + column - panel]
    }
}

impl Products {
    /// `out = alpha * left right`, set or added, for no more rows than a tile has and as many columns as `out` has, which may
    /// be more than `right` up to whole vectors.
    pub(super) fn times_packed(
        self,
        mut out: MatrixMut,
        write: Write,
        alpha: f32,
        (left, right): (Matrix, Packed),
    ) {
        let depth = left.columns;
        assert!(left.rows == out.rows && out.rows <= self.instructions.rows() && out.column_stride == 1);
        assert!(right.instructions == self.instructions && right.first_row + depth <= right.rows);
        if self.precision == Precision::Double {
            return double(out, write, alpha, (left, right));
        }
        for columns in blocks(out.columns, self.instructions.columns()) {
            let (start, width) = right.panel(columns.start);
            let vectors = columns.len().div_ceil(self.instructions.lanes());
            assert!(vectors * self.instructions.lanes() <= width);
            let stretch = Stretch {
                left: left.at,
                left_row: left.row_stride,
                left_inner: left.column_stride,
                right: right.values[start..][..depth * width].as_ptr(),
                right_inner: width,
                depth,
            };
            self.tile(out.again().columns(columns), vectors, &[stretch], (alpha, write));
        }
    }
}

/// Each sum rounded once.
fn double(mut out: MatrixMut, write: Write, alpha: f32, (left, right): (Matrix, Packed)) {
    for row in 0..out.rows {
        for (column, out) in out.row(row).iter_mut().enumerate() {
            let products = (0..left.columns)
                .map(|inner| f64::from(left.number(row, inner)) * f64::from(right.number(inner, column)));
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

    /// Small whole numbers: their sums are exact in any order.
    #[test]
    fn a_product_is_that_of_the_definition() {
        for instructions in Instructions::every() {
            for precision in [Precision::Single, Precision::Double] {
                let products = Products { instructions, precision };
                for (rows, depth, columns) in [(1, 1, 1), (3, 20, 17), (4, 70, 100), (4, 5, 48)] {
                    let (left, right) = (numbers(rows * depth), numbers(depth * columns));
                    let right = Matrix::new(&right, columns);
                    let mut space = vec![f32::NAN; Packed::len(instructions, depth, columns)];
                    let packed = Packed::new(instructions, right, &mut space);
                    let (skipped, panel) = (depth / 2, instructions.columns());
                    let first = if columns > panel { panel } else { 0 };
                    let room = (columns - first).next_multiple_of(instructions.lanes());
                    for columns_out in [columns - first, room] {
                        let mut out = vec![1.0; rows * columns_out];
                        let view = MatrixMut::new(&mut out, columns_out);
                        let part = packed.rows_from(skipped).columns_from(first);
                        let left = Matrix::new(&left, depth).columns(skipped..depth);
                        products.times_packed(view, Write::Add, 2.0, (left, part));
                        for (row, out) in out.chunks(columns_out).enumerate() {
                            for (column, out) in out.iter().enumerate() {
                                let inside = first + column < columns;
                                let product =
                                    |k| left.number(row, k) * right.number(skipped + k, first + column);
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
