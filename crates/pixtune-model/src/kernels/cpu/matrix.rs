//! Views of matrices, and their product.

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;

use crate::kernels::Write;

/// A matrix that is read: any strides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    at: *const f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    life: PhantomData<&'a [f32]>,
}

/// A matrix that is written. Views made by splitting share no number.
#[derive(Debug)]
pub(super) struct MatrixMut<'a> {
    at: *mut f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: a view is a shared slice with gaps.
unsafe impl Send for Matrix<'_> {}
// SAFETY: as above.
unsafe impl Sync for Matrix<'_> {}
// SAFETY: a view is an exclusive slice with gaps; splitting gives views without a common number.
unsafe impl Send for MatrixMut<'_> {}

impl<'a> Matrix<'a> {
    /// The rows of a buffer.
    pub(super) fn new(values: &'a [f32], columns: usize) -> Matrix<'a> {
        let rows = values.len() / columns.max(1);
        Matrix {
            at: values.as_ptr(),
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
            life: PhantomData,
        }
    }

    /// Mirrored: rows become columns.
    pub(super) fn transposed(self) -> Matrix<'a> {
        let Matrix { rows, columns, row_stride, column_stride, .. } = self;
        Matrix { rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride, ..self }
    }

    /// Some of its rows.
    pub(super) fn rows(self, range: Range<usize>) -> Matrix<'a> {
        assert!(range.start <= range.end && range.end <= self.rows);
        // An empty range may start beyond the buffer; it is never read.
        Matrix { at: self.at.wrapping_add(range.start * self.row_stride), rows: range.len(), ..self }
    }

    /// Some of its columns.
    pub(super) fn columns(self, range: Range<usize>) -> Matrix<'a> {
        self.transposed().rows(range).transposed()
    }

    /// One number, widened.
    fn at(&self, row: usize, column: usize) -> f64 {
        debug_assert!(row < self.rows && column < self.columns);
        // SAFETY: a number of the matrix.
        f64::from(unsafe { *self.at.add(row * self.row_stride + column * self.column_stride) })
    }

    /// One row of a matrix that lies row by row.
    pub(super) fn row(self, row: usize) -> &'a [f32] {
        assert!(row < self.rows && self.column_stride == 1);
        // SAFETY: a row within the matrix; its numbers lie side by side.
        unsafe { std::slice::from_raw_parts(self.at.add(row * self.row_stride), self.columns) }
    }
}

impl<'a> MatrixMut<'a> {
    /// The rows of a buffer.
    pub(super) fn new(values: &'a mut [f32], columns: usize) -> MatrixMut<'a> {
        let rows = values.len() / columns.max(1);
        MatrixMut {
            at: values.as_mut_ptr(),
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
            life: PhantomData,
        }
    }

    /// The same numbers for a shorter time.
    pub(super) fn again(&mut self) -> MatrixMut<'_> {
        MatrixMut { life: PhantomData, ..*self }
    }

    /// Mirrored.
    pub(super) fn transposed(self) -> MatrixMut<'a> {
        let MatrixMut { rows, columns, row_stride, column_stride, .. } = self;
        MatrixMut {
            rows: columns,
            columns: rows,
            row_stride: column_stride,
            column_stride: row_stride,
            ..self
        }
    }

    /// Its first `count` rows, and the rest.
    pub(super) fn split_rows(self, count: usize) -> (MatrixMut<'a>, MatrixMut<'a>) {
        assert!(count <= self.rows);
        let below = self.at.wrapping_add(count * self.row_stride);
        let rest = MatrixMut { at: below, rows: self.rows - count, ..self };
        (MatrixMut { rows: count, ..self }, rest)
    }

    /// Its first `count` columns, and the rest.
    pub(super) fn split_columns(self, count: usize) -> (MatrixMut<'a>, MatrixMut<'a>) {
        let (left, right) = self.transposed().split_rows(count);
        (left.transposed(), right.transposed())
    }

    /// Some of its rows.
    pub(super) fn rows(self, range: Range<usize>) -> MatrixMut<'a> {
        self.split_rows(range.end).0.split_rows(range.start).1
    }

    /// Some of its columns.
    pub(super) fn columns(self, range: Range<usize>) -> MatrixMut<'a> {
        self.split_columns(range.end).0.split_columns(range.start).1
    }

    /// One row of a matrix that lies row by row.
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows && self.column_stride == 1);
        // SAFETY: a row within the matrix; its numbers lie side by side, and no other view has them.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(row * self.row_stride), self.columns) }
    }
}

/// How sums of products are formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// In single precision, by the fastest kernels of the processor.
    #[default]
    Single,
    /// In double precision, each sum rounded once: two orders slower, to tell a wrong formula from rounding.
    Double,
}

/// How products are computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Products {
    /// Threads of the pool they run in.
    pub(super) threads: usize,
    pub(super) precision: Precision,
}

impl Products {
    /// The same on the thread that asks.
    pub(super) fn alone(self) -> Products {
        Products { threads: 1, ..self }
    }

    /// `out = alpha * left right`, set or added. The sum over the inner axis is cut by the sizes alone, so the threads do
    /// not change a bit.
    pub(super) fn product(
        self,
        out: MatrixMut<'_>,
        write: Write,
        alpha: f32,
        (left, right): (Matrix<'_>, Matrix<'_>),
    ) {
        assert!(left.columns == right.rows && out.rows == left.rows && out.columns == right.columns);
        if self.precision == Precision::Double {
            return product_double(out, write, alpha, (left, right));
        }
        let parallelism = if self.threads > 1 { Parallelism::Rayon(self.threads) } else { Parallelism::None };
        // SAFETY: the sizes agree, and every view covers numbers that live as long as it.
        unsafe {
            gemm::gemm(
                out.rows,
                out.columns,
                left.columns,
                out.at,
                out.column_stride as isize,
                out.row_stride as isize,
                write == Write::Add,
                left.at,
                left.column_stride as isize,
                left.row_stride as isize,
                right.at,
                right.column_stride as isize,
                right.row_stride as isize,
                1.0,
                alpha,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

fn product_double(out: MatrixMut<'_>, write: Write, alpha: f32, (left, right): (Matrix<'_>, Matrix<'_>)) {
    for row in 0..out.rows {
        for column in 0..out.columns {
            let terms = (0..left.columns).map(|inner| left.at(row, inner) * right.at(inner, column));
            let sum = f64::from(alpha) * terms.sum::<f64>();
            // SAFETY: a number of the matrix, which no other view has.
            let out = unsafe { &mut *out.at.add(row * out.row_stride + column * out.column_stride) };
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

    #[test]
    fn products_of_views_are_those_of_the_definition() {
        let (left, right) = (numbers(5 * 9), numbers(6 * 9));
        let (left, right) = (Matrix::new(&left, 9), Matrix::new(&right, 9));
        let mut out = vec![1.0; 7 * 8];
        for precision in [Precision::Single, Precision::Double] {
            out.fill(1.0);
            let products = Products { threads: 1, precision };
            let view = MatrixMut::new(&mut out, 8).rows(1..4).columns(2..6);
            products.product(
                view,
                Write::Add,
                0.5,
                (left.rows(1..4).columns(2..7), right.rows(0..4).columns(2..7).transposed()),
            );
            for row in 0..7 {
                for column in 0..8 {
                    let inside = (1..4).contains(&row) && (2..6).contains(&column);
                    let sum: f32 =
                        (2..7).map(|k| left.row(row.min(4))[k] * right.row(column.max(2) - 2)[k]).sum();
                    assert_eq!(out[row * 8 + column], if inside { 1.0 + 0.5 * sum } else { 1.0 });
                }
            }
        }
    }
}
