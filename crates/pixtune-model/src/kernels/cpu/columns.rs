//! Sums over the rows of a matrix: the gradients of biases and of the weights of norms.

use rayon::prelude::*;

use super::{CpuKernels, rowwise};

/// Columns that one thread sums: a few cache lines of each row.
const COLUMNS: usize = 256;

impl CpuKernels {
    /// Adds the sum of each column of `x` to `sums`.
    pub(super) fn add_column_sums(&self, x: &[f32], sums: &mut [f32]) {
        self.sum_columns(x, sums, |_, _, x| f64::from(x));
    }

    /// Adds `sum over rows of dy x / sqrt(mean(x^2) + epsilon)` to `gradient`.
    pub(super) fn norm_weight_gradient(&self, epsilon: f32, x: &[f32], dy: &[f32], gradient: &mut [f32]) {
        let columns = gradient.len();
        let mut inverses = self.pool.take(x.len() / columns.max(1));
        self.for_each_row(&mut inverses, 1, |row, inverse| {
            inverse[0] = 1.0 / (rowwise::mean_square(&x[row * columns..][..columns]) + epsilon).sqrt();
        });
        self.sum_columns(dy, gradient, |row, column, dy| {
            f64::from(dy) * f64::from(x[row * columns + column] * inverses[row])
        });
    }

    /// Adds to each of `sums` the terms of its column, in the order of the rows: a matrix may have thousands of rows, whose sum
    /// in single precision would lose digits.
    fn sum_columns(&self, x: &[f32], sums: &mut [f32], term: impl Fn(usize, usize, f32) -> f64 + Sync) {
        let columns = sums.len();
        self.run(|| {
            sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, sums)| {
                let first = chunk * COLUMNS;
                let mut totals = [0.0f64; COLUMNS];
                for (row, x) in x.chunks_exact(columns).enumerate() {
                    for (column, (total, x)) in totals.iter_mut().zip(&x[first..][..sums.len()]).enumerate() {
                        *total += term(row, first + column, *x);
                    }
                }
                for (sum, total) in sums.iter_mut().zip(totals) {
                    *sum = (f64::from(*sum) + total) as f32;
                }
            });
        });
    }
}
