//! Operations on rows: moves, norms, rotary positions, gradients of vectors.

use std::ops::Range;

use pixtune_model::kernels::{Angles, NormBackward, PatchGrid, Rotation, Write};
use pixtune_model::weights::Dtype;

use super::elementwise::adds;
use super::memory::{CudaBuffer, CudaIndices};
use super::weight::CudaWeight;
use super::{CudaKernels, int};
use crate::error::GpuError;
use crate::gpu::{Address, Gpu, Launch};
use crate::launch;
use crate::matmul::Scalar;

/// Bytes that a thread moves.
const MOVED: usize = 16;
/// Shared memory of a sum over a block: one f32 per warp.
const SUM_BYTES: usize = 32 * 4;
/// Numbers of a row that a thread of a norm has: `VECTORS * 8` of `norm.cu`.
const NORM_PER_THREAD: usize = 32;
const NORM_THREADS: usize = 512;
/// Rows that a thread of `column_sums` adds.
const ROWS_PER_BLOCK: usize = 64;
const COLUMN_THREADS: usize = 128;

/// One block per row, with as many threads as a row needs.
fn row_launch(kernel: &'static str, rows: usize, columns: usize) -> Result<Launch, GpuError> {
    let limit = NORM_THREADS * NORM_PER_THREAD;
    if columns > limit {
        return Err(GpuError::Limit { what: "a row of a norm", size: columns, limit });
    }
    let threads = columns.div_ceil(NORM_PER_THREAD).next_multiple_of(32) as u32;
    Ok(Launch { kernel, blocks: [rows, 1], threads, shared_bytes: SUM_BYTES })
}

/// Whether rows are moved from or to the rows that are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Gather,
    Scatter,
}

impl<G: Gpu> CudaKernels<G> {
    pub(super) fn rows_moved(
        &self,
        direction: Move,
        from: &CudaBuffer<G>,
        rows: &CudaIndices<G>,
        columns: usize,
        to: &CudaBuffer<G>,
    ) {
        assert_eq!(from.scalar(), to.scalar(), "both buffers have the same dtype");
        self.run(|gpu| {
            move_rows(gpu, direction, (from.address()?, from.scalar()), rows, columns, to.address()?)
        });
    }

    pub(super) fn embedded(&self, table: &CudaWeight<G>, ids: &CudaIndices<G>, out: &CudaBuffer<G>) {
        let numbers = self.numbers(table);
        self.run(|gpu| {
            let table_rows = (numbers.address()?, Scalar::Bf16);
            move_rows(gpu, Move::Gather, table_rows, ids, table.columns, out.address()?)
        });
    }

    pub(super) fn patches_uploaded(&self, image: &PatchGrid<'_>, out: &CudaBuffer<G>, first: usize) {
        let PatchGrid { pixels, channels, rows, columns, side } = *image;
        let pixels = self.uploaded(pixels, Dtype::F32);
        let start = first * channels * side * side;
        let launch = Launch::flat("patches", pixels.len());
        self.run(|gpu| {
            let (pixels, out) = (pixels.address()?, out.address_of(start)?);
            launch!(gpu, launch, pixels, out, int(channels)?, int(rows)?, int(columns)?, int(side)?)
        });
    }

    pub(super) fn normed(
        &self,
        epsilon: f32,
        x: &CudaBuffer<G>,
        weight: &CudaBuffer<G>,
        out: &CudaBuffer<G>,
    ) {
        let columns = weight.len();
        self.run(|gpu| {
            let launch = row_launch("rms_norm", x.len() / columns.max(1), columns)?;
            launch!(gpu, launch, x.address()?, weight.address()?, out.address()?, int(columns)?, epsilon)
        });
    }

    pub(super) fn norm_gradient(
        &self,
        norm: NormBackward<'_, Self>,
        dy: &CudaBuffer<G>,
        dx: &CudaBuffer<G>,
        write: Write,
    ) {
        let NormBackward { epsilon, x, weight } = norm;
        let columns = weight.len();
        self.run(|gpu| {
            let launch = row_launch("rms_norm_backward", x.len() / columns.max(1), columns)?;
            let (x, weight, dy, dx) = (x.address()?, weight.address()?, dy.address()?, dx.address()?);
            launch!(gpu, launch, x, weight, dy, dx, int(columns)?, epsilon, adds(write))
        });
    }

    pub(super) fn norm_weight_gradient(
        &self,
        norm: NormBackward<'_, Self>,
        dy: &CudaBuffer<G>,
        range: Range<usize>,
        gradients: &CudaBuffer<G>,
    ) {
        let columns = range.len();
        let rows = dy.len() / columns.max(1);
        let inverse = self.new_buffer(rows, Dtype::F32);
        self.run(|gpu| {
            let launch = row_launch("inverse_rms", rows, columns)?;
            launch!(gpu, launch, norm.x.address()?, inverse.address()?, int(columns)?, norm.epsilon)
        });
        self.column_sums_added(dy, Some((norm.x, &inverse)), range, gradients);
    }

    /// Adds the sums of the columns of `dy`, or of `dy * x * inverse`, to a range of `gradients`.
    pub(super) fn column_sums_added(
        &self,
        dy: &CudaBuffer<G>,
        normed: Option<(&CudaBuffer<G>, &CudaBuffer<G>)>,
        range: Range<usize>,
        gradients: &CudaBuffer<G>,
    ) {
        let columns = range.len();
        let rows = dy.len() / columns.max(1);
        let parts = rows.div_ceil(ROWS_PER_BLOCK);
        let partials = self.new_buffer(parts * columns, Dtype::F32);
        let launch = |kernel, parts| Launch {
            kernel,
            blocks: [columns.div_ceil(COLUMN_THREADS), parts],
            threads: COLUMN_THREADS as u32,
            shared_bytes: 0,
        };
        self.run(|gpu| {
            let (x, inverse) = match normed {
                Some((x, inverse)) => (x.address()?, inverse.address()?),
                None => (Address::NULL, Address::NULL),
            };
            let (dy, partials, sums) =
                (dy.address()?, partials.address()?, gradients.address_of(range.start)?);
            let (rows, columns, per_block) = (int(rows)?, int(columns)?, int(ROWS_PER_BLOCK)?);
            launch!(gpu, launch("column_sums", parts), dy, x, inverse, partials, rows, columns, per_block)?;
            launch!(gpu, launch("add_partials", 1), partials, sums, int(parts)?, columns)
        });
    }

    pub(super) fn rotated(
        &self,
        angles: &Angles<Self>,
        head_size: usize,
        x: &CudaBuffer<G>,
        rotation: Rotation,
    ) {
        let half = head_size / 2;
        let rows = angles.cosines.len() / half.max(1);
        let heads = x.len() / (rows * head_size).max(1);
        let sign = if rotation == Rotation::Forward { 1.0f32 } else { -1.0 };
        let launch = Launch::flat("rope", rows * heads * half.div_ceil(8));
        self.run(|gpu| {
            let (x, cosines, sines) = (x.address()?, angles.cosines.address()?, angles.sines.address()?);
            launch!(gpu, launch, x, cosines, sines, int(rows)?, int(heads)?, int(head_size)?, sign)
        });
    }
}

fn move_rows<G: Gpu>(
    gpu: &G,
    direction: Move,
    (from, scalar): (Address, Scalar),
    rows: &CudaIndices<G>,
    columns: usize,
    to: Address,
) -> Result<(), GpuError> {
    let kernel = match scalar {
        Scalar::Bf16 => "move_rows_bf16",
        Scalar::F32 => "move_rows_f32",
    };
    let parts = columns.div_ceil(MOVED / scalar.bytes());
    let launch = Launch::flat(kernel, rows.len() * parts);
    let scatter = i32::from(direction == Move::Scatter);
    launch!(gpu, launch, from, rows.address()?, to, int(rows.len())?, int(columns)?, scatter)
}
