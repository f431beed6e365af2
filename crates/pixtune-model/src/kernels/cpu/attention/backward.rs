//! The gradients of queries, keys and values.

use std::ops::Range;

use rayon::prelude::*;

use super::{Call, Form, KEYS, Visibility, head_rows, scale};
use crate::kernels::cpu::CpuKernels;
use crate::kernels::cpu::gemm::packed::PackedMatrix;
use crate::kernels::cpu::gemm::{Gemm, blocks};
use crate::kernels::cpu::matrix::{Matrix, MatrixMut};
use crate::kernels::cpu::simd::{dot, exp};
use crate::kernels::{Mask, Write};
use crate::simd::vectorized;

/// Maximum queries of a block.
const QUERIES: usize = 64;

/// Buffers that a thread reuses for all its tasks.
struct Scratch {
    /// Softmax weights of a block, `[queries, keys]`, and the gradients of its scores.
    weights: Vec<f32>,
    score_gradients: Vec<f32>,
    /// Packed queries of a block, and the gradients of their output.
    queries: Vec<f32>,
    out_gradient: Vec<f32>,
}

impl Scratch {
    fn new(gemm: Gemm, head_size: usize) -> Scratch {
        let packed = PackedMatrix::len(gemm.instructions, QUERIES, head_size);
        let scores = vec![0.0; QUERIES * KEYS];
        Scratch {
            weights: scores.clone(),
            score_gradients: scores,
            queries: vec![0.0; packed],
            out_gradient: vec![0.0; packed],
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
        call: &Call,
        (out, log_sum_exp, out_gradient): (&[f32], &[f32], &[f32]),
        gradients: (&mut [f32], &mut [f32], &mut [f32]),
    ) {
        let Call { shape, segments, .. } = *call;
        let (heads, size) = (shape.heads, shape.head_size);
        let group = heads / shape.key_value_heads;
        let log_sum_exp = Matrix::new(log_sum_exp, log_sum_exp.len() / heads);
        let keys_transposed = self.pack_heads(call, call.keys, Form::Transposed);
        let keys = self.pack_heads(call, call.keys, Form::RowMajor);
        let values_transposed = self.pack_heads(call, call.values, Form::Transposed);
        let tasks = tasks(call, gradients);
        let scratch = || Scratch::new(self.gemm, size);
        self.run(|| {
            tasks.into_par_iter().with_max_len(1).for_each_init(scratch, |scratch, task| {
                let Task { segment, key_head, mut dq, mut dk, mut dv } = task;
                let rows = &segments[segment].queries;
                for member in 0..group {
                    let head = key_head * group + member;
                    let of_head = |values| head_rows(values, rows, (heads, head), size);
                    let head = Head {
                        visibility: Visibility::new(shape, &segments[segment]),
                        queries: of_head(call.queries),
                        keys_transposed: keys_transposed.of(segment, key_head),
                        keys: keys.of(segment, key_head),
                        values_transposed: values_transposed.of(segment, key_head),
                        out: of_head(out),
                        out_gradient: of_head(out_gradient),
                        log_sum_exp: &log_sum_exp.row(head)[rows.clone()],
                        scale: scale(shape),
                        gemm: self.gemm,
                    };
                    let dq = dq.reborrow().columns(member * size..(member + 1) * size);
                    head.run(scratch, dq, (dk.reborrow(), dv.reborrow()));
                }
            });
        });
    }
}

fn tasks<'a>(call: &Call, (dq, dk, dv): (&'a mut [f32], &'a mut [f32], &'a mut [f32])) -> Vec<Task<'a>> {
    let Call { shape, segments, .. } = *call;
    let group = shape.heads / shape.key_value_heads;
    dk.fill(0.0);
    dv.fill(0.0);
    let key_width = shape.key_value_heads * shape.head_size;
    let mut dq = MatrixMut::new(dq, shape.heads * shape.head_size);
    let (mut dk, mut dv) = (MatrixMut::new(dk, key_width), MatrixMut::new(dv, key_width));
    let mut tasks = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        debug_assert_eq!(segment.queries, segment.keys, "only whole sequences have gradients");
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
    // The longest first, so that the last tasks are short.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.dq.rows));
    tasks
}

/// One head of one segment.
struct Head<'a> {
    visibility: Visibility,
    queries: Matrix<'a>,
    keys_transposed: PackedMatrix<'a>,
    keys: PackedMatrix<'a>,
    values_transposed: PackedMatrix<'a>,
    out: Matrix<'a>,
    out_gradient: Matrix<'a>,
    log_sum_exp: &'a [f32],
    scale: f32,
    gemm: Gemm,
}

impl Head<'_> {
    /// With `P = softmax(S)`: `dV = P^T dO`, `dP = dO V^T`, `dS = P (dP - rowsum(dO O))`, `dQ = dS K`, `dK = dS^T Q`.
    fn run(&self, scratch: &mut Scratch, mut dq: MatrixMut, (mut dk, mut dv): (MatrixMut, MatrixMut)) {
        let instructions = self.gemm.instructions;
        for queries in blocks(self.visibility.query_count, QUERIES) {
            let Scratch { weights, score_gradients, queries: packed_queries, out_gradient } = &mut *scratch;
            let packed_queries =
                PackedMatrix::new(instructions, self.queries.rows(queries.clone()), packed_queries);
            let out_gradient =
                PackedMatrix::new(instructions, self.out_gradient.rows(queries.clone()), out_gradient);
            for keys in blocks(self.visibility.visible(queries.end - 1), KEYS) {
                let block = Block { queries: queries.clone(), keys: keys.clone() };
                self.query_gradients(&block, (weights, score_gradients), dq.reborrow().rows(queries.clone()));
                let dv = dv.reborrow().rows(keys.clone());
                self.transposed_times(&block, weights, out_gradient, dv);
                self.transposed_times(&block, score_gradients, packed_queries, dk.reborrow().rows(keys));
            }
        }
    }

    /// Computes the softmax weights and score gradients of a block, tile by tile of queries, and sets or adds the gradients
    /// of the queries. Weights past the keys that a query attends to are 0, up to those computed for its tile.
    fn query_gradients(
        &self,
        Block { queries, keys }: &Block,
        (weights, score_gradients): (&mut [f32], &mut [f32]),
        mut dq: MatrixMut,
    ) {
        let gemm = self.gemm;
        for tile in blocks(queries.len(), gemm.instructions.rows()) {
            let rows = queries.start + tile.start..queries.start + tile.end;
            let visible = self.visibility.visible_in(rows.end - 1, keys);
            let computed = visible.next_multiple_of(gemm.instructions.lanes());
            let part = tile.start * KEYS..tile.end * KEYS;
            let (weights, score_gradients) = (&mut weights[part.clone()], &mut score_gradients[part]);
            let factors = (self.queries.rows(rows.clone()), self.keys_transposed.columns_from(keys.start));
            let out = MatrixMut::new(weights, KEYS).columns(0..computed);
            gemm.multiply_packed(out, Write::Set, self.scale, factors);
            let factors =
                (self.out_gradient.rows(rows.clone()), self.values_transposed.columns_from(keys.start));
            let out = MatrixMut::new(score_gradients, KEYS).columns(0..computed);
            gemm.multiply_packed(out, Write::Set, 1.0, factors);
            let both = weights.chunks_exact_mut(KEYS).zip(score_gradients.chunks_exact_mut(KEYS));
            for (query, (weights, score_gradients)) in rows.zip(both) {
                let visible = self.visibility.visible_in(query, keys);
                weights[visible..computed].fill(0.0);
                score_gradients[visible..computed].fill(0.0);
                let row_dot = dot(self.out.row(query), self.out_gradient.row(query));
                let row = (self.log_sum_exp[query], row_dot, self.scale);
                softmax_gradient(&mut weights[..visible], &mut score_gradients[..visible], row);
            }
            let write = if keys.start == 0 { Write::Set } else { Write::Add };
            let factors =
                (Matrix::new(score_gradients, KEYS).columns(0..visible), self.keys.rows_from(keys.start));
            gemm.multiply_packed(dq.reborrow().rows(tile), write, 1.0, factors);
        }
    }

    /// `out += left^T right` for the keys of a block; `right` has a row per query.
    fn transposed_times(&self, block: &Block, left: &[f32], right: PackedMatrix, mut out: MatrixMut) {
        let Block { queries, keys } = block;
        let rows = self.gemm.instructions.rows();
        let left = Matrix::new(left, KEYS).rows(0..queries.len());
        let visible = self.visibility.visible_in(queries.end - 1, keys);
        for tile in blocks(visible, rows) {
            // The first tile with a query that attends to any of these keys.
            let first = match self.visibility.mask {
                Mask::Full => 0,
                Mask::Causal => {
                    let before = (keys.start + tile.start).saturating_sub(queries.start);
                    before / rows * rows
                }
            };
            let left = left.rows(first..queries.len()).columns(tile.clone()).transposed();
            self.gemm.multiply_packed(
                out.reborrow().rows(tile),
                Write::Add,
                1.0,
                (left, right.rows_from(first)),
            );
        }
    }
}

/// A block of queries and keys.
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
}

vectorized! {
    /// Replaces scores with softmax weights, and the gradients of the weights with those of the scores.
    fn softmax_gradient(weights: &mut [f32], score_gradients: &mut [f32], row: (f32, f32, f32)) {
        let (log_sum_exp, row_dot, scale) = row;
        for (weight, gradient) in weights.iter_mut().zip(score_gradients) {
            *weight = exp(*weight - log_sum_exp);
            *gradient = *weight * (*gradient - row_dot) * scale;
        }
    }
}
