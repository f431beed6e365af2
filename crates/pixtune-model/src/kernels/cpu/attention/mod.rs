//! Softmax attention, forward and backward, a tile of queries by a block of keys at a time.
//!
//! The forward pass keeps a running maximum and sum per query and rescales its output when the maximum grows (online
//! softmax, Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022). The backward pass recomputes the scores.

mod backward;
mod forward;

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::packed::PackedMatrix;
use super::gemm::tile::InstructionSet;
use super::matrix::Matrix;
use super::{CpuBuffer, CpuKernels};
use crate::kernels::{AttentionShape, Mask, Segment};

/// Keys per block: whole panels. A packed block of keys and its block of scores stay in the L2 cache.
const KEYS: usize = 240;

/// The operands of one call.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) shape: AttentionShape,
    pub(super) segments: &'a [Segment],
    pub(super) queries: &'a [f32],
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
}

/// The rows of a segment in the columns of a head.
fn head_rows<'a>(
    values: &'a [f32],
    rows: &Range<usize>,
    (heads, head): (usize, usize),
    size: usize,
) -> Matrix<'a> {
    Matrix::new(values, heads * size).rows(rows.clone()).columns(head * size..(head + 1) * size)
}

/// The queries and keys of one segment, and which keys a query attends to.
#[derive(Clone, Copy)]
struct Visibility {
    query_count: usize,
    key_count: usize,
    mask: Mask,
}

impl Visibility {
    fn new(shape: AttentionShape, segment: &Segment) -> Visibility {
        Visibility { query_count: segment.queries.len(), key_count: segment.keys.len(), mask: shape.mask }
    }

    /// The number of keys a query attends to; the last query attends to all.
    fn visible(&self, query: usize) -> usize {
        match self.mask {
            Mask::Full => self.key_count,
            Mask::Causal => (self.key_count + query + 1).saturating_sub(self.query_count),
        }
    }

    /// The number of keys of a block that a query attends to.
    fn visible_in(&self, query: usize, keys: &Range<usize>) -> usize {
        self.visible(query).saturating_sub(keys.start).min(keys.len())
    }
}

fn scale(shape: AttentionShape) -> f32 {
    1.0 / (shape.head_size as f32).sqrt()
}

/// The orientation in which keys or values are packed as right factors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `[keys, head_size]`.
    RowMajor,
    /// `[head_size, keys]`.
    Transposed,
}

/// Keys or values of every segment and head, packed: every tile of queries reads them, and the rows of one head are far
/// apart in memory.
struct PackedHeads {
    values: CpuBuffer,
    /// The start and size of each head of each segment.
    spans: Vec<(usize, (usize, usize))>,
    heads: usize,
    instructions: InstructionSet,
}

impl PackedHeads {
    fn of(&self, segment: usize, head: usize) -> PackedMatrix<'_> {
        let (start, size) = self.spans[segment * self.heads + head];
        PackedMatrix::view(self.instructions, size, &self.values[start..])
    }
}

impl CpuKernels {
    fn pack_heads(&self, call: &Call, values: &[f32], form: Form) -> PackedHeads {
        let Call { shape, segments, .. } = call;
        let (heads, instructions) = (shape.key_value_heads, self.gemm.instructions);
        let (mut spans, mut len) = (Vec::new(), 0);
        for segment in *segments {
            let (keys, size) = (segment.keys.len(), shape.head_size);
            let size = if form == Form::Transposed { (size, keys) } else { (keys, size) };
            for _ in 0..heads {
                spans.push((len, size));
                len += PackedMatrix::len(instructions, size.0, size.1);
            }
        }
        let mut packed = self.pool.take(len);
        let mut rest = &mut packed[..];
        let mut tasks = Vec::new();
        for (index, (_, size)) in spans.iter().enumerate() {
            let segment = &segments[index / heads];
            let to =
                rest.split_off_mut(..PackedMatrix::len(instructions, size.0, size.1)).unwrap_or_default();
            tasks.push((head_rows(values, &segment.keys, (heads, index % heads), shape.head_size), to));
        }
        self.run(|| {
            tasks.into_par_iter().for_each(|(from, to)| {
                let from = if form == Form::Transposed { from.transposed() } else { from };
                PackedMatrix::new(instructions, from, to);
            });
        });
        PackedHeads { values: packed, spans, heads, instructions }
    }
}
