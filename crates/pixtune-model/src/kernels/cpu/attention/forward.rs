//! From queries, keys and values to attention's output.

use std::ops::Range;

use rayon::prelude::*;

use super::{Call, Form, KEYS, Visibility, head_rows, scale};
use crate::kernels::cpu::CpuKernels;
use crate::kernels::cpu::gemm::packed::PackedMatrix;
use crate::kernels::cpu::gemm::{Gemm, MOST_ROWS, Precision, blocks};
use crate::kernels::cpu::matrix::{Matrix, MatrixMut};
use crate::kernels::cpu::simd::{LANES, dot, exp, sum_lanes};
use crate::kernels::{Segment, Write};
use crate::simd::vectorized;

/// Maximum queries of a task.
const QUERIES: usize = 64;

/// With at max this many queries, packing keys and values would take longer than the attention: generation, one token at
/// a time.
const FEW_QUERIES: usize = 4;

/// The output of a task: `[queries, head_size]` and one log-sum-exp per query.
struct Out<'a> {
    rows: MatrixMut<'a>,
    log_sum_exp: MatrixMut<'a>,
}

/// Some queries of one head.
struct Task<'a> {
    segment: usize,
    head: usize,
    queries: Range<usize>,
    out: Out<'a>,
}

impl CpuKernels {
    pub(in crate::kernels::cpu) fn attend(&self, call: &Call, out: &mut [f32], log_sum_exp: &mut [f32]) {
        let tasks = tasks(call, out, log_sum_exp);
        let many = |segment: &Segment| segment.queries.len() > FEW_QUERIES;
        if self.gemm.precision == Precision::Double || call.segments.iter().any(many) {
            self.attend_packed(call, tasks);
        } else {
            self.attend_in_place(call, tasks);
        }
    }

    /// Reads keys and values from packed copies.
    fn attend_packed(&self, call: &Call, tasks: Vec<Task>) {
        let Call { shape, segments, .. } = *call;
        let keys = self.pack_heads(call, call.keys, Form::Transposed);
        let values = self.pack_heads(call, call.values, Form::RowMajor);
        let group = shape.heads / shape.key_value_heads;
        self.run(|| {
            let scratch = || vec![0.0; MOST_ROWS * KEYS];
            tasks.into_par_iter().with_max_len(1).for_each_init(scratch, |scores, task| {
                let Task { segment, head, queries, out } = task;
                let rows = &segments[segment].queries;
                let head = Head {
                    visibility: Visibility::new(shape, &segments[segment]),
                    queries: head_rows(call.queries, rows, (shape.heads, head), shape.head_size),
                    keys: keys.of(segment, head / group),
                    values: values.of(segment, head / group),
                    scale: scale(shape),
                    gemm: self.gemm,
                };
                head.attend(queries, out, scores);
            });
        });
    }

    /// Reads keys and values in place.
    fn attend_in_place(&self, call: &Call, tasks: Vec<Task>) {
        let Call { shape, segments, .. } = *call;
        let (group, size) = (shape.heads / shape.key_value_heads, shape.head_size);
        self.run(|| {
            tasks.into_par_iter().with_max_len(1).for_each_init(Vec::new, |scores, task| {
                let Task { segment, head, queries, mut out } = task;
                let segment = &segments[segment];
                let visibility = Visibility::new(shape, segment);
                let key_head = (shape.key_value_heads, head / group);
                let rows = head_rows(call.queries, &segment.queries, (shape.heads, head), size);
                let keys = head_rows(call.keys, &segment.keys, key_head, size);
                let values = head_rows(call.values, &segment.keys, key_head, size);
                for query in queries {
                    scores.clear();
                    scores.extend(
                        (0..visibility.visible(query))
                            .map(|key| scale(shape) * dot(rows.row(query), keys.row(key))),
                    );
                    let max = maximum(scores);
                    let sum = exponentials(scores, max);
                    let factors = (Matrix::new(scores, scores.len()), values.rows(0..scores.len()));
                    let row = out.rows.reborrow().rows(query..query + 1);
                    self.gemm.multiply(row, Write::Set, 1.0 / sum, factors);
                    out.log_sum_exp.row(0)[query] = max + sum.ln();
                }
            });
        });
    }
}

/// Tasks for all queries, in the order of the rows they write.
fn tasks<'a>(call: &Call, out: &'a mut [f32], log_sum_exp: &'a mut [f32]) -> Vec<Task<'a>> {
    let Call { shape, segments, .. } = *call;
    let width = shape.heads * shape.head_size;
    let rows = out.len() / width;
    let mut out = MatrixMut::new(out, width);
    let mut log_sum_exp = MatrixMut::new(log_sum_exp, rows);
    let mut tasks = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        for queries in blocks(segment.queries.len(), QUERIES) {
            let (mut block, below) = out.split_rows(queries.len());
            let (mut sums, after) = log_sum_exp.split_columns(queries.len());
            (out, log_sum_exp) = (below, after);
            for head in 0..shape.heads {
                let (rows, columns_after) = block.split_columns(shape.head_size);
                let (head_sums, sums_after) = sums.split_rows(1);
                (block, sums) = (columns_after, sums_after);
                let out = Out { rows, log_sum_exp: head_sums };
                tasks.push(Task { segment: index, head, queries: queries.clone(), out });
            }
        }
    }
    tasks
}

/// One head of one segment.
struct Head<'a> {
    visibility: Visibility,
    queries: Matrix<'a>,
    keys: PackedMatrix<'a>,
    values: PackedMatrix<'a>,
    scale: f32,
    gemm: Gemm,
}

impl Head<'_> {
    fn attend(&self, queries: Range<usize>, out: Out, scores: &mut [f32]) {
        let Out { mut rows, mut log_sum_exp } = out;
        let (mut max, mut sums) = ([f32::NEG_INFINITY; QUERIES], [0.0f32; QUERIES]);
        (0..queries.len()).for_each(|row| rows.row(row).fill(0.0));
        for keys in blocks(self.visibility.visible(queries.end - 1), KEYS) {
            for tile in blocks(queries.len(), self.gemm.instructions.rows()) {
                let range = queries.start + tile.start..queries.start + tile.end;
                let state = (&mut max[tile.clone()], &mut sums[tile.clone()]);
                self.attend_tile(range, &keys, (rows.reborrow().rows(tile), state), scores);
            }
        }
        for row in 0..queries.len() {
            let inverse = 1.0 / sums[row];
            rows.row(row).iter_mut().for_each(|out| *out *= inverse);
            log_sum_exp.row(0)[row] = max[row] + sums[row].ln();
        }
    }

    /// Adds the contribution of a block of keys to the queries of a tile.
    fn attend_tile(
        &self,
        queries: Range<usize>,
        keys: &Range<usize>,
        (mut out, (max, sums)): (MatrixMut, (&mut [f32], &mut [f32])),
        scores: &mut [f32],
    ) {
        let gemm = self.gemm;
        let visible = self.visibility.visible_in(queries.end - 1, keys);
        if visible == 0 {
            return;
        }
        let row_len = visible.next_multiple_of(gemm.instructions.lanes());
        let scores = &mut scores[..queries.len() * row_len];
        let factors = (self.queries.rows(queries.clone()), self.keys.columns_from(keys.start));
        gemm.multiply_packed(MatrixMut::new(scores, row_len), Write::Set, self.scale, factors);
        for (row, scores) in scores.chunks_exact_mut(row_len).enumerate() {
            let (visible, masked) =
                scores.split_at_mut(self.visibility.visible_in(queries.start + row, keys));
            masked.fill(0.0);
            if visible.is_empty() {
                continue;
            }
            let before = max[row];
            max[row] = before.max(maximum(visible));
            let rescale = exp(before - max[row]);
            sums[row] = sums[row] * rescale + exponentials(visible, max[row]);
            if rescale != 1.0 {
                out.row(row).iter_mut().for_each(|out| *out *= rescale);
            }
        }
        let factors = (Matrix::new(scores, row_len).columns(0..visible), self.values.rows_from(keys.start));
        gemm.multiply_packed(out, Write::Add, 1.0, factors);
    }
}

vectorized! {
    fn maximum(values: &[f32]) -> f32 {
        let (chunks, rest) = values.as_chunks::<LANES>();
        let mut max = [f32::NEG_INFINITY; LANES];
        for chunk in chunks {
            for lane in 0..LANES {
                max[lane] = if chunk[lane] > max[lane] { chunk[lane] } else { max[lane] };
            }
        }
        max.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| a.max(*b))
    }
}

vectorized! {
    /// Replaces each value with `exp(value - max)` and returns their sum.
    fn exponentials(values: &mut [f32], max: f32) -> f32 {
        let (chunks, rest) = values.as_chunks_mut::<LANES>();
        let mut sums = [0.0f32; LANES];
        for chunk in chunks {
            for lane in 0..LANES {
                chunk[lane] = exp(chunk[lane] - max);
                sums[lane] += chunk[lane];
            }
        }
        let mut sum = sum_lanes(sums);
        for value in rest {
            *value = exp(*value - max);
            sum += *value;
        }
        sum
    }
}
