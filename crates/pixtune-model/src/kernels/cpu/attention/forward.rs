//! From queries, keys and values to attention's output.

use std::ops::Range;

use rayon::prelude::*;

use super::{Form, Input, KEYS, View, cut, scale};
use crate::kernels::cpu::CpuKernels;
use crate::kernels::cpu::matrix::{Matrix, MatrixMut};
use crate::kernels::cpu::packed::Packed;
use crate::kernels::cpu::product::{MOST_ROWS, Precision, Products, blocks};
use crate::kernels::cpu::simd::{LANES, dot, exp, sum_lanes, vectorised};
use crate::kernels::{AttentionShape, Segment, Write};

/// Queries of a task.
const QUERIES: usize = 64;

/// Up to so many queries, packing keys and values would take longer than all else: a text that grows by a token.
const FEW_QUERIES: usize = 4;

/// Where a task writes: `[queries, head_size]` and one sum for each query.
struct Out<'a> {
    rows: MatrixMut<'a>,
    log_sums: MatrixMut<'a>,
}

/// Some queries of one head.
struct Task<'a> {
    segment: usize,
    head: usize,
    queries: Range<usize>,
    out: Out<'a>,
}

impl CpuKernels {
    pub(in crate::kernels::cpu) fn attend(
        &self,
        shape: &AttentionShape,
        input: Input,
        out: &mut [f32],
        log_sums: &mut [f32],
    ) {
        let tasks = tasks(shape, out, log_sums);
        let many = |segment: &Segment| segment.queries.len() > FEW_QUERIES;
        if self.products.precision == Precision::Double || shape.segments.iter().any(many) {
            self.attend_many(shape, input, tasks);
        } else {
            self.attend_few(shape, input, tasks);
        }
    }

    fn attend_many(&self, shape: &AttentionShape, input: Input, tasks: Vec<Task>) {
        let keys = self.pack_heads(shape, input.keys, Form::Mirrored);
        let values = self.pack_heads(shape, input.values, Form::AsTheyLie);
        let group = shape.heads / shape.key_value_heads;
        self.run(|| {
            let scratch = || vec![0.0; MOST_ROWS * KEYS];
            tasks.into_par_iter().with_max_len(1).for_each_init(scratch, |scores, task| {
                let Task { segment, head, queries, out } = task;
                let rows = &shape.segments[segment].queries;
                let head = Head {
                    view: View::new(shape, &shape.segments[segment]),
                    queries: cut(input.queries, rows, (shape.heads, head), shape.head_size),
                    keys: keys.of(segment, head / group),
                    values: values.of(segment, head / group),
                    scale: scale(shape),
                    products: self.products,
                };
                head.attend(queries, out, scores);
            });
        });
    }

    fn attend_few(&self, shape: &AttentionShape, input: Input, tasks: Vec<Task>) {
        let (group, size) = (shape.heads / shape.key_value_heads, shape.head_size);
        self.run(|| {
            tasks.into_par_iter().with_max_len(1).for_each_init(Vec::new, |scores, task| {
                let Task { segment, head, queries, mut out } = task;
                let segment = &shape.segments[segment];
                let view = View::new(shape, segment);
                let key_head = (shape.key_value_heads, head / group);
                let rows = cut(input.queries, &segment.queries, (shape.heads, head), size);
                let keys = cut(input.keys, &segment.keys, key_head, size);
                let values = cut(input.values, &segment.keys, key_head, size);
                for query in queries {
                    scores.clear();
                    scores.extend(
                        (0..view.seen(query)).map(|key| scale(shape) * dot(rows.row(query), keys.row(key))),
                    );
                    let most = maximum(scores);
                    let sum = exponentials(scores, most);
                    let factors = (Matrix::new(scores, scores.len()), values.rows(0..scores.len()));
                    let row = out.rows.again().rows(query..query + 1);
                    self.products.product(row, Write::Set, 1.0 / sum, factors);
                    out.log_sums.row(0)[query] = most + sum.ln();
                }
            });
        });
    }
}

/// All queries, in the order of the rows that are written.
fn tasks<'a>(shape: &AttentionShape, out: &'a mut [f32], log_sums: &'a mut [f32]) -> Vec<Task<'a>> {
    let width = shape.heads * shape.head_size;
    let rows = out.len() / width;
    let mut out = MatrixMut::new(out, width);
    let mut log_sums = MatrixMut::new(log_sums, rows);
    let mut tasks = Vec::new();
    for (index, segment) in shape.segments.iter().enumerate() {
        for queries in blocks(segment.queries.len(), QUERIES) {
            let (mut block, below) = out.split_rows(queries.len());
            let (mut sums, after) = log_sums.split_columns(queries.len());
            (out, log_sums) = (below, after);
            for head in 0..shape.heads {
                let (rows, columns_after) = block.split_columns(shape.head_size);
                let (head_sums, sums_after) = sums.split_rows(1);
                (block, sums) = (columns_after, sums_after);
                let out = Out { rows, log_sums: head_sums };
                tasks.push(Task { segment: index, head, queries: queries.clone(), out });
            }
        }
    }
    tasks
}

/// One head of one segment.
struct Head<'a> {
    view: View,
    queries: Matrix<'a>,
    keys: Packed<'a>,
    values: Packed<'a>,
    scale: f32,
    products: Products,
}

impl Head<'_> {
    fn attend(&self, queries: Range<usize>, out: Out, scores: &mut [f32]) {
        let Out { mut rows, mut log_sums } = out;
        let (mut most, mut sums) = ([f32::NEG_INFINITY; QUERIES], [0.0f32; QUERIES]);
        (0..queries.len()).for_each(|row| rows.row(row).fill(0.0));
        for keys in blocks(self.view.seen(queries.end - 1), KEYS) {
            for tile in blocks(queries.len(), self.products.instructions.rows()) {
                let range = queries.start + tile.start..queries.start + tile.end;
                let state = (&mut most[tile.clone()], &mut sums[tile.clone()]);
                self.attend_tile(range, &keys, (rows.again().rows(tile), state), scores);
            }
        }
        for row in 0..queries.len() {
            let inverse = 1.0 / sums[row];
            rows.row(row).iter_mut().for_each(|out| *out *= inverse);
            log_sums.row(0)[row] = most[row] + sums[row].ln();
        }
    }

    /// Adds what a block of keys gives to the queries of a tile.
    fn attend_tile(
        &self,
        queries: Range<usize>,
        keys: &Range<usize>,
        (mut out, (most, sums)): (MatrixMut, (&mut [f32], &mut [f32])),
        scores: &mut [f32],
    ) {
        let products = self.products;
        let seen = self.view.seen_in(queries.end - 1, keys);
        if seen == 0 {
            return;
        }
        let row_len = seen.next_multiple_of(products.instructions.lanes());
        let scores = &mut scores[..queries.len() * row_len];
        let factors = (self.queries.rows(queries.clone()), self.keys.columns_from(keys.start));
        products.times_packed(MatrixMut::new(scores, row_len), Write::Set, self.scale, factors);
        for (row, scores) in scores.chunks_exact_mut(row_len).enumerate() {
            let (seen, hidden) = scores.split_at_mut(self.view.seen_in(queries.start + row, keys));
            hidden.fill(0.0);
            if seen.is_empty() {
                continue;
            }
            let before = most[row];
            most[row] = before.max(maximum(seen));
            let shrink = exp(before - most[row]);
            sums[row] = sums[row] * shrink + exponentials(seen, most[row]);
            if shrink != 1.0 {
                out.row(row).iter_mut().for_each(|out| *out *= shrink);
            }
        }
        let factors = (Matrix::new(scores, row_len).columns(0..seen), self.values.rows_from(keys.start));
        products.times_packed(out, Write::Add, 1.0, factors);
    }
}

vectorised! {
    fn maximum(values: &[f32]) -> f32 {
        let (chunks, rest) = values.as_chunks::<LANES>();
        let mut most = [f32::NEG_INFINITY; LANES];
        for chunk in chunks {
            for lane in 0..LANES {
                most[lane] = if chunk[lane] > most[lane] { chunk[lane] } else { most[lane] };
            }
        }
        most.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| a.max(*b))
    }
}

vectorised! {
    /// Replaces values by their exponentials below `most` and returns their sum.
    fn exponentials(values: &mut [f32], most: f32) -> f32 {
        let (chunks, rest) = values.as_chunks_mut::<LANES>();
        let mut sums = [0.0f32; LANES];
        for chunk in chunks {
            for lane in 0..LANES {
                chunk[lane] = exp(chunk[lane] - most);
                sums[lane] += chunk[lane];
            }
        }
        let mut sum = sum_lanes(sums);
        for value in rest {
            *value = exp(*value - most);
            sum += *value;
        }
        sum
    }
}
