//! Operations on single numbers, and copies.

use pixtune_model::kernels::{DropoutMask, Write};
use pixtune_model::weights::Dtype;

use super::memory::CudaBuffer;
use super::{CudaKernels, int};
use crate::error::GpuError;
use crate::gpu::{Address, Gpu, Launch};
use crate::launch;

/// Numbers that a thread of an elementwise kernel has.
const PER_THREAD: usize = 8;

/// The launch of an elementwise kernel.
pub(super) fn each(kernel: &'static str, count: usize) -> Launch {
    Launch::flat(kernel, count.div_ceil(PER_THREAD))
}

/// Whether a result is added, as a kernel's `int`.
pub(super) fn adds(write: Write) -> i32 {
    i32::from(write == Write::Add)
}

fn same_len(lens: &[usize]) -> usize {
    assert!(lens.windows(2).all(|pair| pair[0] == pair[1]), "all buffers have the same length");
    lens[0]
}

impl<G: Gpu> CudaKernels<G> {
    pub(super) fn filled(&self, buffer: &CudaBuffer<G>, value: f32) {
        let (kernel, count) = (buffer.choose("fill_bf16", "fill_f32"), buffer.len());
        self.run(|gpu| launch!(gpu, each(kernel, count), buffer.address()?, count as u64, value));
    }

    pub(super) fn scaled(&self, buffer: &CudaBuffer<G>, factor: f32) {
        let (kernel, count) = (buffer.choose("scale_bf16", "scale_f32"), buffer.len());
        self.run(|gpu| launch!(gpu, each(kernel, count), buffer.address()?, count as u64, factor));
    }

    /// Copies `len` numbers between buffers of one dtype.
    pub(super) fn copied(
        &self,
        (from, at): (&CudaBuffer<G>, usize),
        (to, first): (&CudaBuffer<G>, usize),
        len: usize,
    ) {
        assert_eq!(from.scalar(), to.scalar(), "both buffers have the same dtype");
        assert!(at + len <= from.len() && first + len <= to.len(), "the numbers are inside both buffers");
        if len > 0 {
            self.run(|gpu| {
                gpu.copy(from.address_of(at)?, to.address_of(first)?, len * from.scalar().bytes())
            });
        }
    }

    /// Some f32 numbers, rounded to bf16: a trained matrix as a factor of a product.
    pub(super) fn rounded(&self, from: &CudaBuffer<G>, range: std::ops::Range<usize>) -> CudaBuffer<G> {
        let count = range.len();
        let to = self.new_buffer(count, Dtype::BF16);
        self.run(|gpu| {
            launch!(gpu, each("to_bf16", count), from.address_of(range.start)?, to.address()?, count as u64)
        });
        to
    }

    pub(super) fn swiglu_of(&self, gate: &CudaBuffer<G>, up: &CudaBuffer<G>, out: &CudaBuffer<G>) {
        let count = same_len(&[gate.len(), up.len(), out.len()]);
        let addresses = || Ok([gate.address()?, up.address()?, out.address()?]);
        self.three("swiglu", count, addresses);
    }

    pub(super) fn swiglu_gradients(&self, dy: &CudaBuffer<G>, gate: &CudaBuffer<G>, up: &CudaBuffer<G>) {
        let count = same_len(&[dy.len(), gate.len(), up.len()]);
        let addresses = || Ok([dy.address()?, gate.address()?, up.address()?]);
        self.three("swiglu_backward", count, addresses);
    }

    fn three(
        &self,
        kernel: &'static str,
        count: usize,
        addresses: impl FnOnce() -> Result<[Address; 3], GpuError>,
    ) {
        self.run(|gpu| {
            let [a, b, c] = addresses()?;
            launch!(gpu, each(kernel, count), a, b, c, count as u64)
        });
    }

    /// `gelu` or `gelu_backward`.
    pub(super) fn gelu_with(&self, kernel: &'static str, from: &CudaBuffer<G>, to: &CudaBuffer<G>) {
        let count = same_len(&[from.len(), to.len()]);
        self.run(|gpu| launch!(gpu, each(kernel, count), from.address()?, to.address()?, count as u64));
    }

    pub(super) fn bias_added(&self, bias: &CudaBuffer<G>, y: &CudaBuffer<G>) {
        let columns = bias.len();
        let rows = y.len() / columns.max(1);
        let launch = Launch::flat("add_bias", rows * columns.div_ceil(PER_THREAD));
        self.run(|gpu| launch!(gpu, launch, bias.address()?, y.address()?, int(rows)?, int(columns)?));
    }

    /// The limit and the factor are those of the CPU, and so is the mask.
    pub(super) fn dropped(&self, mask: DropoutMask, x: &CudaBuffer<G>, out: &CudaBuffer<G>, write: Write) {
        let count = same_len(&[x.len(), out.len()]);
        let limit = (f64::from(mask.rate) * 4_294_967_296.0) as u32;
        let factor = 1.0 / (1.0 - mask.rate);
        self.run(|gpu| {
            let (x, out) = (x.address()?, out.address()?);
            launch!(gpu, each("dropout", count), x, out, count as u64, mask.seed, limit, factor, adds(write))
        });
    }
}
