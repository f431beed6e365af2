//! Attention: segments, tiles, head sizes, and the launches of its kernels.

use pixtune_model::kernels::{
    AttentionGradients, AttentionInput, AttentionOutput, AttentionShape, Mask, Segment,
};
use pixtune_model::weights::Dtype;

use super::memory::{Allocation, CudaBuffer};
use super::{CudaKernels, int};
use crate::error::GpuError;
use crate::gpu::{Address, Argument, Gpu, Launch};
use crate::launch;

/// Rows of a tile of queries in the forward pass, and of queries and keys in the backward pass: `M`, `M` and `N` in
/// `attention_forward.cu` and `attention_backward.cu`.
const FORWARD_QUERIES: usize = 128;
const BACKWARD_QUERIES: usize = 64;
const BACKWARD_KEYS: usize = 64;
const THREADS: u32 = 128;

/// The kernels of one head size.
struct HeadKernels {
    head_size: usize,
    forward: &'static str,
    deltas: &'static str,
    backward_keys: &'static str,
    backward_queries: &'static str,
}

macro_rules! kernels {
    ($size:literal) => {
        HeadKernels {
            head_size: $size,
            forward: concat!("attention_", $size),
            deltas: concat!("attention_deltas_", $size),
            backward_keys: concat!("attention_backward_keys_", $size),
            backward_queries: concat!("attention_backward_queries_", $size),
        }
    };
}

/// Ascending. Other heads are padded with zeros to the next of these.
static KERNELS: [HeadKernels; 3] = [kernels!(16), kernels!(64), kernels!(128)];

impl HeadKernels {
    fn of(head_size: usize) -> Result<&'static HeadKernels, GpuError> {
        let limit = KERNELS[KERNELS.len() - 1].head_size;
        let found = KERNELS.iter().find(|kernels| kernels.head_size >= head_size);
        found.ok_or(GpuError::Limit { what: "a head", size: head_size, limit })
    }

    /// Bytes of this many rows in shared memory.
    fn rows(&self, rows: usize) -> usize {
        rows * self.head_size * Dtype::BF16.size()
    }
}

/// `struct Attention` of `attention_tiles.cuh`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Input {
    queries: Address,
    keys: Address,
    values: Address,
    segments: Address,
    tiles: Address,
    heads: i32,
    group: i32,
    rows: i32,
    causal: i32,
    scale: f32,
}

/// `struct AttentionOut` of `attention_forward.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Output {
    out: Address,
    log_sum_exp: Address,
}

/// `struct AttentionBackward` of `attention_backward.cu`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Backward {
    out_gradient: Address,
    log_sum_exp: Address,
    deltas: Address,
    queries: Address,
    keys: Address,
    values: Address,
}

// SAFETY: the layout is that of the struct of the kernels.
unsafe impl Argument for Input {}
// SAFETY: as above.
unsafe impl Argument for Output {}
// SAFETY: as above.
unsafe impl Argument for Backward {}

/// Tiles on the GPU: pairs of a segment and its row that the tile begins with.
#[derive(Debug)]
struct Tiles<G: Gpu> {
    memory: Allocation<G>,
    count: usize,
}

/// Segments in the memory of a GPU, and their tiles.
#[derive(Debug)]
pub struct CudaSegments<G: Gpu> {
    segments: Allocation<G>,
    forward: Tiles<G>,
    backward_queries: Tiles<G>,
    backward_keys: Tiles<G>,
}

/// The tiles of segments of these lengths. Those with the most work come first, so that the last blocks are short: `work` is
/// that of a tile that begins with a row of a segment.
fn tiles(lens: &[usize], size: usize, work: impl Fn(usize, usize) -> usize) -> Vec<[usize; 2]> {
    let of_segment =
        |(segment, len): (usize, &usize)| (0..*len).step_by(size).map(move |first| [segment, first]);
    let mut tiles: Vec<[usize; 2]> = lens.iter().enumerate().flat_map(of_segment).collect();
    tiles.sort_by_key(|[segment, first]| std::cmp::Reverse(work(*segment, *first)));
    tiles
}

impl<G: Gpu> CudaKernels<G> {
    pub(super) fn uploaded_segments(&self, segments: &[Segment]) -> CudaSegments<G> {
        let queries: Vec<usize> = segments.iter().map(|segment| segment.queries.len()).collect();
        let keys: Vec<usize> = segments.iter().map(|segment| segment.keys.len()).collect();
        let upload = |tiles: Vec<[usize; 2]>| Tiles {
            count: tiles.len(),
            memory: self.uploaded_words(words(tiles.iter().flatten()).into_iter()),
        };
        // Keys that the last query of a tile attends to; queries that attend to the first key of a tile.
        let before = |size: usize| {
            let (queries, keys) = (&queries, &keys);
            move |segment: usize, first: usize| keys[segment] - queries[segment] + first + size
        };
        let after = |segment: usize, first: usize| queries[segment].min(keys[segment] - first);
        let bounds: Vec<usize> = segments
            .iter()
            .flat_map(|Segment { queries, keys }| [queries.start, queries.len(), keys.start, keys.len()])
            .collect();
        CudaSegments {
            segments: self.uploaded_words(words(bounds.iter()).into_iter()),
            forward: upload(tiles(&queries, FORWARD_QUERIES, before(FORWARD_QUERIES))),
            backward_queries: upload(tiles(&queries, BACKWARD_QUERIES, before(BACKWARD_QUERIES))),
            backward_keys: upload(tiles(&keys, BACKWARD_KEYS, after)),
        }
    }

    /// A buffer for as many heads of another size. `None` if the size is the same.
    fn for_heads(&self, x: &CudaBuffer<G>, from_size: usize, to_size: usize) -> Option<CudaBuffer<G>> {
        (from_size != to_size).then(|| self.new_buffer(x.len() / from_size * to_size, Dtype::BF16))
    }

    /// The same with the numbers of these heads, and zeros.
    fn padded(&self, x: &CudaBuffer<G>, from_size: usize, to_size: usize) -> Option<CudaBuffer<G>> {
        let padded = self.for_heads(x, from_size, to_size)?;
        self.resize_into(x, from_size, &padded, to_size);
        Some(padded)
    }

    fn resize_into(&self, from: &CudaBuffer<G>, from_size: usize, to: &CudaBuffer<G>, to_size: usize) {
        let launch = Launch::flat("resize_heads", to.len());
        self.run(|gpu| {
            let heads = (to.len() / to_size) as u64;
            launch!(gpu, launch, from.address()?, to.address()?, heads, int(from_size)?, int(to_size)?)
        });
    }

    pub(super) fn attend(
        &self,
        shape: AttentionShape,
        input: &AttentionInput<'_, Self>,
        out: &CudaBuffer<G>,
        log_sum_exp: &CudaBuffer<G>,
    ) {
        let Some(kernels) = self.run(|_| HeadKernels::of(shape.head_size)) else { return };
        let padded = Padded::new(self, shape, kernels, input);
        let padded_out = self.for_heads(out, shape.head_size, kernels.head_size);
        let to = padded_out.as_ref().unwrap_or(out);
        let tiles = &input.segments.forward;
        let launch = Launch {
            kernel: kernels.forward,
            blocks: [shape.heads, tiles.count],
            threads: THREADS,
            shared_bytes: kernels.rows(FORWARD_QUERIES + 2 * 32),
        };
        self.run(|gpu| {
            let output = Output { out: to.address()?, log_sum_exp: log_sum_exp.address()? };
            launch!(gpu, launch, padded.input(shape, tiles)?, output)
        });
        if let Some(padded) = &padded_out {
            self.resize_into(padded, kernels.head_size, out, shape.head_size);
        }
    }

    pub(super) fn attend_backward(
        &self,
        shape: AttentionShape,
        input: &AttentionInput<'_, Self>,
        output: &AttentionOutput<'_, Self>,
        gradients: AttentionGradients<'_, Self>,
    ) {
        let Some(kernels) = self.run(|_| HeadKernels::of(shape.head_size)) else { return };
        let pad = |x| self.padded(x, shape.head_size, kernels.head_size);
        let padded = Padded::new(self, shape, kernels, input);
        let padded_output = [output.out, output.out_gradient].map(pad);
        let to = [&*gradients.queries, &*gradients.keys, &*gradients.values];
        let padded_to = to.map(|x| self.for_heads(x, shape.head_size, kernels.head_size));
        let deltas = self.new_buffer(output.log_sum_exp.len(), Dtype::F32);
        self.run(|gpu| {
            let of = |padded: &Option<_>, own: &CudaBuffer<G>| padded.as_ref().unwrap_or(own).address();
            let out_gradient = of(&padded_output[1], output.out_gradient)?;
            let backward = Backward {
                out_gradient,
                log_sum_exp: output.log_sum_exp.address()?,
                deltas: deltas.address()?,
                queries: of(&padded_to[0], to[0])?,
                keys: of(&padded_to[1], to[1])?,
                values: of(&padded_to[2], to[2])?,
            };
            let (rows, out) = (padded.rows, of(&padded_output[0], output.out)?);
            let launch = Launch::flat(kernels.deltas, rows * shape.heads * kernels.head_size / 8);
            launch!(gpu, launch, out, out_gradient, backward.deltas, int(shape.heads)?, int(rows)?)?;
            let launch = |kernel, heads, tiles: &Tiles<G>, shared_bytes| Launch {
                kernel,
                blocks: [heads, tiles.count],
                threads: THREADS,
                shared_bytes,
            };
            let tiles = &input.segments.backward_keys;
            // Log-sum-exps and deltas of two buffers of 32 queries are beside their rows.
            let shared_bytes = kernels.rows(2 * BACKWARD_KEYS + 4 * 32) + 4 * 32 * size_of::<f32>();
            let keys = launch(kernels.backward_keys, shape.key_value_heads, tiles, shared_bytes);
            launch!(gpu, keys, padded.input(shape, tiles)?, backward)?;
            let tiles = &input.segments.backward_queries;
            let shared_bytes = kernels.rows(2 * BACKWARD_QUERIES + 4 * 64);
            let queries = launch(kernels.backward_queries, shape.heads, tiles, shared_bytes);
            launch!(gpu, queries, padded.input(shape, tiles)?, backward)
        });
        for (padded, to) in padded_to.iter().zip(to) {
            if let Some(padded) = padded {
                self.resize_into(padded, kernels.head_size, to, shape.head_size);
            }
        }
    }
}

/// The input of an attention, with heads of a size that has kernels.
struct Padded<'a, G: Gpu> {
    input: &'a AttentionInput<'a, CudaKernels<G>>,
    /// Copies of queries, keys and values, if their heads have another size.
    copies: [Option<CudaBuffer<G>>; 3],
    rows: usize,
}

impl<'a, G: Gpu> Padded<'a, G> {
    fn new(
        own: &CudaKernels<G>,
        shape: AttentionShape,
        kernels: &HeadKernels,
        input: &'a AttentionInput<'a, CudaKernels<G>>,
    ) -> Padded<'a, G> {
        let buffers = [input.queries, input.keys, input.values];
        let copies = buffers.map(|x| own.padded(x, shape.head_size, kernels.head_size));
        Padded { input, copies, rows: input.queries.len() / (shape.heads * shape.head_size).max(1) }
    }

    fn input(&self, shape: AttentionShape, tiles: &Tiles<G>) -> Result<Input, GpuError> {
        let AttentionInput { queries, keys, values, segments } = *self.input;
        let address =
            |index: usize, own: &CudaBuffer<G>| self.copies[index].as_ref().unwrap_or(own).address();
        Ok(Input {
            queries: address(0, queries)?,
            keys: address(1, keys)?,
            values: address(2, values)?,
            segments: segments.segments.address()?,
            tiles: tiles.memory.address()?,
            heads: int(shape.heads)?,
            group: int(shape.heads / shape.key_value_heads)?,
            rows: int(self.rows)?,
            causal: i32::from(shape.mask == Mask::Causal),
            scale: 1.0 / (shape.head_size as f32).sqrt(),
        })
    }
}

/// Sizes as words of 32 bits: rows of a batch, which [`int`] limits where they are lengths of buffers.
fn words<'a>(sizes: impl Iterator<Item = &'a usize>) -> Vec<u32> {
    sizes.map(|size| *size as u32).collect()
}
