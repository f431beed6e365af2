//! From the gradient of attention's output to those of queries, keys and values.

use std::ops::Range;

use rayon::prelude::*;

use super::{Form, Input, KEYS, View, cut, scale};
use crate::kernels::cpu::CpuKernels;
use crate::kernels::cpu::matrix::{Matrix, MatrixMut};
use crate::kernels::cpu::packed::Packed;
use crate::kernels::cpu::product::{Products, blocks};
use crate::kernels::cpu::simd::{dot, exp, vectorised};
use crate::kernels::{AttentionShape, Mask, Write};

/// Queries of a block.
const QUERIES: usize = 64;

/// Buffers that a thread uses for one task after another.
struct Scratch {
    /// `[queries, keys]` of a block, and their gradients.
    weights: Vec<f32>,
    slopes: Vec<f32>,
    /// Packed queries of a block, and the gradients of their output.
    queries: Vec<f32>,
    dout: Vec<f32>,
}

impl Scratch {
    fn new(products: Products, head_size: usize) -> Scratch {
        let packed = Packed::len(products.instructions, QUERIES, head_size);
        let scores = vec![0.0; QUERIES * KEYS];
        Scratch {
            weights: scores.clone(),
            slopes: scores,
            queries: vec![0.0; packed],
            dout: vec![0.0; packed],
        }
    }
}

/// The heads that share keys and values, in one segment.
struct Task<'a> {
    segment: usize,
    key_head: usize,
    dq: MatrixMut<'a>,
    dk: MatrixMut<'a>,
    dv: MatrixMut<'a>,
}

impl CpuKernels {
    pub(in crate::kernels::cpu) fn attend_backward(
        &self,
        shape: &AttentionShape,
        input: Input,
        (out, log_sums, dout): (&[f32], &[f32], &[f32]),
        gradients: (&mut [f32], &mut [f32], &mut [f32]),
    ) {
        let (heads, size) = (shape.heads, shape.head_size);
        let group = heads / shape.key_value_heads;
        let log_sums = Matrix::new(log_sums, log_sums.len() / heads);
        let keys_mirrored = self.pack_heads(shape, input.keys, Form::Mirrored);
        let keys = self.pack_heads(shape, input.keys, Form::AsTheyLie);
        let values_mirrored = self.pack_heads(shape, input.values, Form::Mirrored);
        let tasks = tasks(shape, gradients);
        let scratch = || Scratch::new(self.products, size);
        self.run(|| {
            tasks.into_par_iter().with_max_len(1).for_each_init(scratch, |scratch, task| {
                let Task { segment, key_head, mut dq, mut dk, mut dv } = task;
                let rows = &shape.segments[segment].queries;
                for member in 0..group {
                    let head = key_head * group + member;
                    let of_head = |values| cut(values, rows, (heads, head), size);
                    let head = Head {
                        view: View::new(shape, &shape.segments[segment]),
                        queries: of_head(input.queries),
                        keys_mirrored: keys_mirrored.of(segment, key_head),
                        keys: keys.of(segment, key_head),
                        values_mirrored: values_mirrored.of(segment, key_head),
                        out: of_head(out),
                        dout: of_head(dout),
                        log_sums: &log_sums.row(head)[rows.clone()],
                        scale: scale(shape),
                        products: self.products,
                    };
                    let dq = dq.again().columns(member * size..(member + 1) * size);
                    head.run(scratch, dq, (dk.again(), dv.again()));
                }
            });
        });
    }
}

fn tasks<'a>(
    shape: &AttentionShape,
    (dq, dk, dv): (&'a mut [f32], &'a mut [f32], &'a mut [f32]),
) -> Vec<Task<'a>> {
    let group = shape.heads / shape.key_value_heads;
    dk.fill(0.0);
    dv.fill(0.0);
    let key_width = shape.key_value_heads * shape.head_size;
    let mut dq = MatrixMut::new(dq, shape.heads * shape.head_size);
    let (mut dk, mut dv) = (MatrixMut::new(dk, key_width), MatrixMut::new(dv, key_width));
    let mut tasks = Vec::new();
    for (index, segment) in shape.segments.iter().enumerate() {
        debug_assert_eq!(segment.queries, segment.keys, "only whole sequences are differentiated");
        let count = segment.queries.len();
        let (mut dq_rows, mut dk_rows, mut dv_rows);
        (dq_rows, dq) = dq.split_rows(count);
        (dk_rows, dk) = dk.split_rows(count);
        (dv_rows, dv) = dv.split_rows(count);
        for key_head in 0..shape.key_value_heads {
            let (dq, dk, dv);
            (dq, dq_rows) = dq_rows.split_columns(group * shape.head_size);
            (dk, dk_rows) = dk_rows.split_columns(shape.head_size);
            (dv, dv_rows) = dv_rows.split_columns(shape.head_size);
            tasks.push(Task { segment: index, key_head, dq, dk, dv });
        }
    }
    // The longest first: what is left at the end is short.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.dq.rows));
    tasks
}

/// One head of one segment.
struct Head<'a> {
    view: View,
    queries: Matrix<'a>,
    keys_mirrored: Packed<'a>,
    keys: Packed<'a>,
    values_mirrored: Packed<'a>,
    out: Matrix<'a>,
    dout: Matrix<'a>,
    log_sums: &'a [f32],
    scale: f32,
    products: Products,
}

impl Head<'_> {
    /// With `P = softmax(S)`: `dV = P^T dO`, `dP = dO V^T`, `dS = P (dP - rowsum(dO O))`, `dQ = dS K`, `dK = dS^T Q`.
    fn run(&self, scratch: &mut Scratch, mut dq: MatrixMut, (mut dk, mut dv): (MatrixMut, MatrixMut)) {
        let instructions = self.products.instructions;
        for queries in blocks(self.view.query_count, QUERIES) {
            let Scratch { weights, slopes, queries: packed_queries, dout } = &mut *scratch;
            let packed_queries =
                Packed::new(instructions, self.queries.rows(queries.clone()), packed_queries);
            let dout = Packed::new(instructions, self.dout.rows(queries.clone()), dout);
            for keys in blocks(self.view.seen(queries.end - 1), KEYS) {
                let block = Block { queries: queries.clone(), keys: keys.clone() };
                self.query_gradients(&block, (weights, slopes), dq.again().rows(queries.clone()));
                let dv = dv.again().rows(keys.clone());
                self.transposed_times(&block, weights, dout, dv);
                self.transposed_times(&block, slopes, packed_queries, dk.again().rows(keys));
            }
        }
    }

    /// Makes the weights of a block and their gradients, a tile of queries after another, and sets or adds those of the
    /// queries. Weights beyond what a query sees are 0 as far as those of its tile are made.
    fn query_gradients(
        &self,
        Block { queries, keys }: &Block,
        (weights, slopes): (&mut [f32], &mut [f32]),
        mut dq: MatrixMut,
    ) {
        let products = self.products;
        for tile in blocks(queries.len(), products.instructions.rows()) {
            let rows = queries.start + tile.start..queries.start + tile.end;
            let seen = self.view.seen_in(rows.end - 1, keys);
            let made = seen.next_multiple_of(products.instructions.lanes());
            let part = tile.start * KEYS..tile.end * KEYS;
            let (weights, slopes) = (&mut weights[part.clone()], &mut slopes[part]);
            let factors = (self.queries.rows(rows.clone()), self.keys_mirrored.columns_from(keys.start));
            let out = MatrixMut::new(weights, KEYS).columns(0..made);
            products.times_packed(out, Write::Set, self.scale, factors);
            let factors = (self.dout.rows(rows.clone()), self.values_mirrored.columns_from(keys.start));
            let out = MatrixMut::new(slopes, KEYS).columns(0..made);
            products.times_packed(out, Write::Set, 1.0, factors);
            let both = weights.chunks_exact_mut(KEYS).zip(slopes.chunks_exact_mut(KEYS));
            for (query, (weights, slopes)) in rows.zip(both) {
                let seen = self.view.seen_in(query, keys);
                weights[seen..made].fill(0.0);
                slopes[seen..made].fill(0.0);
                let pull = dot(self.out.row(query), self.dout.row(query));
                let place = (self.log_sums[query], pull, self.scale);
                softmax_gradient(&mut weights[..seen], &mut slopes[..seen], place);
            }
            let write = if keys.start == 0 { Write::Set } else { Write::Add };
            let factors = (Matrix::new(slopes, KEYS).columns(0..seen), self.keys.rows_from(keys.start));
            products.times_packed(dq.again().rows(tile), write, 1.0, factors);
        }
    }

    /// `out += left^T right` for the keys of a block; `right` is of its queries.
    fn transposed_times(&self, block: &Block, left: &[f32], right: Packed, mut out: MatrixMut) {
        let Block { queries, keys } = block;
        let rows = self.products.instructions.rows();
        let left = Matrix::new(left, KEYS).rows(0..queries.len());
        let seen = self.view.seen_in(queries.end - 1, keys);
        for tile in blocks(seen, rows) {
            // The tile of queries with the first that sees any of these keys.
            let first = match self.view.mask {
                Mask::Full => 0,
                Mask::Causal => {
                    let hidden = (keys.start + tile.start).saturating_sub(queries.start);
                    hidden / rows * rows
                }
            };
            let left = left.rows(first..queries.len()).columns(tile.clone()).transposed();
            self.products.times_packed(
                out.again().rows(tile),
                Write::Add,
                1.0,
                (left, right.rows_from(first)),
            );
        }
    }
}

/// Some queries by some keys.
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
}

vectorised! {
    /// Scores become weights, gradients of weights become gradients of scores.
    fn softmax_gradient(weights: &mut [f32], slopes: &mut [f32], place: (f32, f32, f32)) {
        let (log_sum, pull, scale) = place;
        for (weight, slope) in weights.iter_mut().zip(slopes) {
            *weight = exp(*weight - log_sum);
            *slope = *weight * (*slope - pull) * scale;
        }
    }
}
