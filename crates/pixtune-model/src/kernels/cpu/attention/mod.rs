//! Softmax attention, forward and backward, a tile of queries by a block of keys at a time.
//!
//! Forward keeps a running maximum and sum for each query and rescales what it has when the maximum grows (online softmax,
//! Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022). Backward computes scores again from the sums.

mod backward;
mod forward;

use std::ops::Range;

use rayon::prelude::*;

use super::matrix::Matrix;
use super::packed::Packed;
use super::tile::Instructions;
use super::{CpuBuffer, CpuKernels};
use crate::kernels::{AttentionShape, Mask, Segment};

/// Keys of a block: whole panels. What is packed of them, and the block of scores, stay in the second cache.
const KEYS: usize = 240;

/// The buffers of one call.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) queries: &'a [f32],
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
}

/// The rows of a segment in the columns of a head.
fn cut<'a>(values: &'a [f32], rows: &Range<usize>, (heads, head): (usize, usize), size: usize) -> Matrix<'a> {
    Matrix::new(values, heads * size).rows(rows.clone()).columns(head * size..(head + 1) * size)
}

/// How many queries and keys of one segment there are, and which see which.
#[derive(Clone, Copy)]
struct View {
    query_count: usize,
    key_count: usize,
    mask: Mask,
}

impl View {
    fn new(shape: &AttentionShape, segment: &Segment) -> View {
        View { query_count: segment.queries.len(), key_count: segment.keys.len(), mask: shape.mask }
    }

    /// How many keys a query sees; the last query sees all.
    fn seen(&self, query: usize) -> usize {
        match self.mask {
            Mask::Full => self.key_count,
            Mask::Causal => (self.key_count + query + 1).saturating_sub(self.query_count),
        }
    }

    /// How many keys of a block a query sees.
    fn seen_in(&self, query: usize, keys: &Range<usize>) -> usize {
        self.seen(query).saturating_sub(keys.start).min(keys.len())
    }
}

fn scale(shape: &AttentionShape) -> f32 {
    1.0 / (shape.head_size as f32).sqrt()
}

/// How keys or values are packed, as right factors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `[keys, head_size]`.
    AsTheyLie,
    /// `[head_size, keys]`.
    Mirrored,
}

/// Keys or values of every segment and head, packed: they are read by every tile of queries, and the rows of one head lie
/// far apart.
struct PackedHeads {
    values: CpuBuffer,
    /// Where a head of a segment begins, and its size.
    places: Vec<(usize, (usize, usize))>,
    heads: usize,
    instructions: Instructions,
}

impl PackedHeads {
    fn of(&self, segment: usize, head: usize) -> Packed<'_> {
        let (start, size) = self.places[segment * self.heads + head];
        Packed::view(self.instructions, size, &self.values[start..])
    }
}

impl CpuKernels {
    fn pack_heads(&self, shape: &AttentionShape, values: &[f32], form: Form) -> PackedHeads {
        let (heads, instructions) = (shape.key_value_heads, self.products.instructions);
        let (mut places, mut len) = (Vec::new(), 0);
        for segment in shape.segments {
            let (keys, size) = (segment.keys.len(), shape.head_size);
            let size = if form == Form::Mirrored { (size, keys) } else { (keys, size) };
            for _ in 0..heads {
                places.push((len, size));
                len += Packed::len(instructions, size.0, size.1);
            }
        }
        let mut packed = self.pool.take(len);
        let mut rest = &mut packed[..];
        let mut tasks = Vec::new();
        for (index, (_, size)) in places.iter().enumerate() {
            let segment = &shape.segments[index / heads];
            let here = rest.split_off_mut(..Packed::len(instructions, size.0, size.1)).unwrap_or_default();
            tasks.push((cut(values, &segment.keys, (heads, index % heads), shape.head_size), here));
        }
        self.run(|| {
            tasks.into_par_iter().for_each(|(from, to)| {
                let from = if form == Form::Mirrored { from.transposed() } else { from };
                Packed::new(instructions, from, to);
            });
        });
        PackedHeads { values: packed, places, heads, instructions }
    }
}
