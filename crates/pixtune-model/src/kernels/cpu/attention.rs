//! Softmax attention, forward and backward, a block of queries by a block of keys at a time.
//!
//! Forward keeps a running maximum and sum for each query and rescales what it has when the maximum grows (online softmax,
//! Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022). Backward computes scores again from the sums.

use std::ops::Range;

use rayon::prelude::*;

use super::matrix::{Matrix, MatrixMut};
use super::product::{Precision, Products, blocks};
use super::simd::{LANES, dot, exp, sum_lanes, vectorised};
use super::{CpuBuffer, CpuKernels};
use crate::kernels::{AttentionShape, Mask, Segment, Write};

/// Queries of a block.
const QUERIES: usize = 64;
/// Keys of a block. A block of scores is 64 KiB: it stays in the second cache.
const KEYS: usize = 256;

/// Up to so many queries, a score is a dot product of two rows.
const FEW_QUERIES: usize = 4;

/// One head of one segment.
#[derive(Clone, Copy)]
struct Scene<'a> {
    queries: Matrix<'a>,
    keys: Matrix<'a>,
    /// `[head_size, keys]`: scores of many queries read them as they lie.
    keys_mirrored: Option<Matrix<'a>>,
    values: Matrix<'a>,
    query_count: usize,
    key_count: usize,
    mask: Mask,
    scale: f32,
    products: Products,
}

impl Scene<'_> {
    /// How many keys a query sees; the last query sees all.
    fn seen(&self, query: usize) -> usize {
        match self.mask {
            Mask::Full => self.key_count,
            Mask::Causal => (self.key_count + query + 1).saturating_sub(self.query_count),
        }
    }

    /// The keys of a block that any of its queries sees.
    fn seen_of(&self, queries: &Range<usize>, keys: Range<usize>) -> Range<usize> {
        keys.start..keys.end.min(self.seen(queries.end - 1)).max(keys.start)
    }

    /// Scores of a block, scaled.
    fn scores(&self, queries: &Range<usize>, keys: &Range<usize>, out: &mut [f32]) {
        let Some(mirrored) = self.keys_mirrored else {
            for (query, out) in queries.clone().zip(out.chunks_exact_mut(keys.len())) {
                for (key, out) in keys.clone().zip(out) {
                    *out = self.scale * dot(self.queries.row(query), self.keys.row(key));
                }
            }
            return;
        };
        let factors = (self.queries.rows(queries.clone()), mirrored.columns(keys.clone()));
        self.products.product(MatrixMut::new(out, keys.len()), Write::Set, self.scale, factors);
    }
}

/// Buffers that a thread uses for one task after another.
struct Scratch {
    scores: Vec<f32>,
    slopes: Vec<f32>,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch { scores: vec![0.0; QUERIES * KEYS], slopes: vec![0.0; QUERIES * KEYS] }
    }
}

/// The buffers of one call.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) queries: &'a [f32],
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
}

impl<'a> Input<'a> {
    fn scene(
        &self,
        shape: &AttentionShape,
        (segment, head): (&Segment, usize),
        keys_mirrored: Option<Matrix<'a>>,
        products: Products,
    ) -> Scene<'a> {
        let size = shape.head_size;
        let cut = |values: &'a [f32], rows: &Range<usize>, heads: usize, head: usize| {
            Matrix::new(values, heads * size).rows(rows.clone()).columns(head * size..(head + 1) * size)
        };
        let key_head = head / (shape.heads / shape.key_value_heads);
        Scene {
            queries: cut(self.queries, &segment.queries, shape.heads, head),
            keys: cut(self.keys, &segment.keys, shape.key_value_heads, key_head),
            keys_mirrored: keys_mirrored
                .map(|mirrored| mirrored_head(mirrored, size, key_head).columns(segment.keys.clone())),
            values: cut(self.values, &segment.keys, shape.key_value_heads, key_head),
            query_count: segment.queries.len(),
            key_count: segment.keys.len(),
            mask: shape.mask,
            scale: 1.0 / (size as f32).sqrt(),
            products,
        }
    }
}

/// The rows of one head.
fn mirrored_head(mirrored: Matrix<'_>, size: usize, head: usize) -> Matrix<'_> {
    mirrored.rows(head * size..(head + 1) * size)
}

struct ForwardTask<'a> {
    scene: Scene<'a>,
    queries: Range<usize>,
    out: MatrixMut<'a>,
    log_sums: MatrixMut<'a>,
}

impl CpuKernels {
    pub(super) fn attend(&self, shape: &AttentionShape, input: Input, out: &mut [f32], log_sums: &mut [f32]) {
        let rows = input.queries.len() / (shape.heads * shape.head_size);
        let mut out = MatrixMut::new(out, shape.heads * shape.head_size);
        let mut log_sums = MatrixMut::new(log_sums, rows);
        let products = self.products;
        let key_width = shape.key_value_heads * shape.head_size;
        let keys_mirrored = self.mirrors(shape).then(|| self.mirrored(input.keys, key_width));
        let keys_mirrored =
            keys_mirrored.as_ref().map(|keys| Matrix::new(keys, input.keys.len() / key_width));
        let mut tasks = Vec::new();
        for segment in shape.segments {
            let count = segment.queries.len();
            let (mut here, below) = out.split_rows(count);
            let (mut sums_here, sums_after) = log_sums.split_columns(count);
            (out, log_sums) = (below, sums_after);
            for queries in blocks(count, QUERIES) {
                let (mut block, rest) = here.split_rows(queries.len());
                let (mut sums, sums_rest) = sums_here.split_columns(queries.len());
                (here, sums_here) = (rest, sums_rest);
                for head in 0..shape.heads {
                    let (out, rest) = block.split_columns(shape.head_size);
                    let (log_sums, sums_rest) = sums.split_rows(1);
                    (block, sums) = (rest, sums_rest);
                    let scene = input.scene(shape, (segment, head), keys_mirrored, products);
                    tasks.push(ForwardTask { scene, queries: queries.clone(), out, log_sums });
                }
            }
        }
        self.run(|| {
            tasks.into_par_iter().with_max_len(1).for_each_init(Scratch::new, |scratch, task| {
                forward_block(task, &mut scratch.scores);
            });
        });
    }

    /// Whether mirrored keys pay: not for a few queries after many keys, where a text grows by a token.
    fn mirrors(&self, shape: &AttentionShape) -> bool {
        let many = |segment: &Segment| segment.queries.len() > FEW_QUERIES;
        self.products.precision == Precision::Double || shape.segments.iter().any(many)
    }

    /// Rows become columns.
    fn mirrored(&self, values: &[f32], columns: usize) -> CpuBuffer {
        let rows = values.len() / columns.max(1);
        let mut out = self.pool.take(values.len());
        self.each_row(&mut out, rows, |column, out| {
            out.iter_mut()
                .zip(values[column..].iter().step_by(columns))
                .for_each(|(out, value)| *out = *value);
        });
        out
    }

    pub(super) fn attend_backward(
        &self,
        shape: &AttentionShape,
        input: Input,
        output: (&[f32], &[f32], &[f32]),
        gradients: (&mut [f32], &mut [f32], &mut [f32]),
    ) {
        let group = shape.heads / shape.key_value_heads;
        let (width, key_width) = (shape.heads * shape.head_size, shape.key_value_heads * shape.head_size);
        let rows = input.queries.len() / width;
        let (out, log_sums, dout) = output;
        let (out, dout, log_sums) =
            (Matrix::new(out, width), Matrix::new(dout, width), Matrix::new(log_sums, rows));
        let mut dq = MatrixMut::new(gradients.0, width);
        let mut dk = MatrixMut::new(gradients.1, key_width);
        let mut dv = MatrixMut::new(gradients.2, key_width);
        let products = self.products;
        let (keys_mirrored, values_mirrored) =
            (self.mirrored(input.keys, key_width), self.mirrored(input.values, key_width));
        let keys_mirrored = Some(Matrix::new(&keys_mirrored, rows));
        let values_mirrored = Matrix::new(&values_mirrored, rows);
        let mut tasks = Vec::new();
        for segment in shape.segments {
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
                tasks.push(BackwardTask { segment, first_head: key_head * group, dq, dk, dv });
            }
        }
        // The longest first: what is left at the end is short.
        tasks.sort_by_key(|task| std::cmp::Reverse(task.segment.queries.len()));
        self.run(|| {
            tasks.into_par_iter().with_max_len(1).for_each_init(Scratch::new, |scratch, task| {
                let BackwardTask { segment, first_head, mut dq, mut dk, mut dv } = task;
                for member in 0..group {
                    let head = first_head + member;
                    let columns = head * shape.head_size..(head + 1) * shape.head_size;
                    let rows = segment.queries.clone();
                    let key_head = first_head / group;
                    let head = HeadBackward {
                        values_mirrored: mirrored_head(values_mirrored, shape.head_size, key_head)
                            .columns(rows.clone()),
                        scene: input.scene(shape, (segment, head), keys_mirrored, products),
                        out: out.rows(rows.clone()).columns(columns.clone()),
                        dout: dout.rows(rows.clone()).columns(columns),
                        log_sums: &log_sums.row(head)[rows],
                    };
                    let dq = dq.again().columns(member * shape.head_size..(member + 1) * shape.head_size);
                    head.run(scratch, dq, (dk.again(), dv.again()), member == 0);
                }
            });
        });
    }
}

fn forward_block(task: ForwardTask, scores: &mut [f32]) {
    let ForwardTask { scene, queries, mut out, mut log_sums } = task;
    let count = queries.len();
    let (mut most, mut sums) = ([f32::NEG_INFINITY; QUERIES], [0.0f32; QUERIES]);
    for row in 0..count {
        out.row(row).fill(0.0);
    }
    for keys in blocks(scene.seen(queries.end - 1), KEYS) {
        let scores = &mut scores[..count * keys.len()];
        scene.scores(&queries, &keys, scores);
        for (row, scores) in scores.chunks_exact_mut(keys.len()).enumerate() {
            let seen = scene.seen(queries.start + row).saturating_sub(keys.start).min(keys.len());
            let (seen, hidden) = scores.split_at_mut(seen);
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
        scene.products.product(
            out.again(),
            Write::Add,
            1.0,
            (Matrix::new(scores, keys.len()), scene.values.rows(keys)),
        );
    }
    for row in 0..count {
        let inverse = 1.0 / sums[row];
        out.row(row).iter_mut().for_each(|out| *out *= inverse);
        log_sums.row(0)[row] = most[row] + sums[row].ln();
    }
}

struct BackwardTask<'a> {
    segment: &'a Segment,
    first_head: usize,
    dq: MatrixMut<'a>,
    dk: MatrixMut<'a>,
    dv: MatrixMut<'a>,
}

struct HeadBackward<'a> {
    scene: Scene<'a>,
    values_mirrored: Matrix<'a>,
    out: Matrix<'a>,
    dout: Matrix<'a>,
    log_sums: &'a [f32],
}

impl HeadBackward<'_> {
    /// With `P = softmax(S)`: `dV = P^T dO`, `dP = dO V^T`, `dS = P (dP - rowsum(dO O))`, `dQ = dS K`, `dK = dS^T Q`.
    fn run(
        &self,
        scratch: &mut Scratch,
        mut dq: MatrixMut,
        (mut dk, mut dv): (MatrixMut, MatrixMut),
        first: bool,
    ) {
        let scene = &self.scene;
        let pulls: Vec<f32> =
            (0..scene.query_count).map(|row| dot(self.out.row(row), self.dout.row(row))).collect();
        if first {
            (0..scene.key_count).for_each(|key| {
                dk.row(key).fill(0.0);
                dv.row(key).fill(0.0);
            });
        }
        for all_keys in blocks(scene.key_count, KEYS) {
            for queries in blocks(scene.query_count, QUERIES) {
                let keys = scene.seen_of(&queries, all_keys.clone());
                if keys.is_empty() {
                    continue;
                }
                let (mut dk, mut dv) = (dk.again().rows(keys.clone()), dv.again().rows(keys.clone()));
                let size = queries.len() * keys.len();
                let (weights, slopes) = (&mut scratch.scores[..size], &mut scratch.slopes[..size]);
                scene.scores(&queries, &keys, weights);
                let dout = self.dout.rows(queries.clone());
                let values = self.values_mirrored.columns(keys.clone());
                scene.products.product(MatrixMut::new(slopes, keys.len()), Write::Set, 1.0, (dout, values));
                let rows = weights.chunks_exact_mut(keys.len()).zip(slopes.chunks_exact_mut(keys.len()));
                for (query, (weights, slopes)) in queries.clone().zip(rows) {
                    let seen = scene.seen(query).saturating_sub(keys.start).min(keys.len());
                    weights[seen..].fill(0.0);
                    slopes[seen..].fill(0.0);
                    let place = (self.log_sums[query], pulls[query], scene.scale);
                    softmax_gradient(&mut weights[..seen], &mut slopes[..seen], place);
                }
                let (weights, slopes) = (Matrix::new(weights, keys.len()), Matrix::new(slopes, keys.len()));
                scene.products.product(dv.again(), Write::Add, 1.0, (weights.transposed(), dout));
                let query_rows = scene.queries.rows(queries.clone());
                scene.products.product(dk.again(), Write::Add, 1.0, (slopes.transposed(), query_rows));
                let dq_write = if keys.start == 0 { Write::Set } else { Write::Add };
                scene.products.product(
                    dq.again().rows(queries),
                    dq_write,
                    1.0,
                    (slopes, scene.keys.rows(keys.clone())),
                );
            }
        }
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
