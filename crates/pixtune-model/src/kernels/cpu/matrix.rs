//! Matrix views.

use std::marker::PhantomData;
use std::ops::Range;

/// A shared view of a matrix with any strides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a, T = f32> {
    pub(super) at: *const T,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
    lifetime: PhantomData<&'a [T]>,
}

/// An exclusive view of a matrix. Views made by splitting do not overlap.
#[derive(Debug)]
pub(super) struct MatrixMut<'a> {
    pub(super) at: *mut f32,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: a view is a shared slice with gaps.
unsafe impl<T: Sync> Send for Matrix<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<'_, T> {}
// SAFETY: a view is an exclusive slice with gaps; splitting gives views that do not overlap.
unsafe impl Send for MatrixMut<'_> {}

/// A cut of a matrix into a grid of parts.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) rows: Vec<Range<usize>>,
    pub(super) columns: Vec<Range<usize>>,
}

impl Parts {
    /// The number of parts.
    pub(super) fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

impl<'a, T> Matrix<'a, T> {
    /// A buffer as rows of `columns` numbers.
    pub(super) fn new(values: &'a [T], columns: usize) -> Matrix<'a, T> {
        let rows = values.len() / columns.max(1);
        Matrix {
            at: values.as_ptr(),
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
            lifetime: PhantomData,
        }
    }

    /// Transposed: rows become columns.
    pub(super) fn transposed(self) -> Matrix<'a, T> {
        let Matrix { rows, columns, row_stride, column_stride, .. } = self;
        Matrix { rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride, ..self }
    }

    /// Some of its rows.
    pub(super) fn rows(self, range: Range<usize>) -> Matrix<'a, T> {
        assert!(range.start <= range.end && range.end <= self.rows);
        // An empty range may start past the buffer; it is never read.
        Matrix { at: self.at.wrapping_add(range.start * self.row_stride), rows: range.len(), ..self }
    }

    /// Some of its columns.
    pub(super) fn columns(self, range: Range<usize>) -> Matrix<'a, T> {
        self.transposed().rows(range).transposed()
    }

    /// One of its numbers.
    pub(super) fn get(self, row: usize, column: usize) -> T
    where
        T: Copy,
    {
        debug_assert!(row < self.rows && column < self.columns);
        // SAFETY: a number of the matrix.
        unsafe { *self.at.add(row * self.row_stride + column * self.column_stride) }
    }

    /// One row of a matrix that is stored row by row.
    pub(super) fn row(self, row: usize) -> &'a [T] {
        assert!(row < self.rows && self.column_stride == 1);
        // SAFETY: a row within the matrix; its numbers are adjacent.
        unsafe { std::slice::from_raw_parts(self.at.add(row * self.row_stride), self.columns) }
    }
}

impl<'a> MatrixMut<'a> {
    /// A buffer as rows of `columns` numbers.
    pub(super) fn new(values: &'a mut [f32], columns: usize) -> MatrixMut<'a> {
        let rows = values.len() / columns.max(1);
        MatrixMut {
            at: values.as_mut_ptr(),
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
            lifetime: PhantomData,
        }
    }

    /// The same view with a shorter lifetime.
    pub(super) fn reborrow(&mut self) -> MatrixMut<'_> {
        MatrixMut { lifetime: PhantomData, ..*self }
    }

    /// Transposed.
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

    /// Splits into non-overlapping parts: the same ranges of rows for all ranges of columns, both without gaps.
    pub(super) fn split(self, parts: Parts) -> Vec<(Range<usize>, Range<usize>, MatrixMut<'a>)> {
        let mut views = Vec::with_capacity(parts.len());
        let mut rest = self;
        for columns in &parts.columns {
            let (mut here, right) = rest.split_columns(columns.len());
            rest = right;
            for rows in &parts.rows {
                let (view, below) = here.split_rows(rows.len());
                here = below;
                views.push((rows.clone(), columns.clone(), view));
            }
        }
        views
    }

    /// One row of a matrix that is stored row by row.
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows && self.column_stride == 1);
        // SAFETY: a row within the matrix; its numbers are adjacent, and no other view covers them.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(row * self.row_stride), self.columns) }
    }
}
