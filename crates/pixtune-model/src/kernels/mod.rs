//! The operations of the network on a device, forward and backward.
//!
//! [`Kernels`] is the seam between the network and a device: [`crate::network`] calls its operations in order and never
//! sees where the numbers are. Everything that an operation reads is on the device: numbers in a [`Kernels::Buffer`], row
//! numbers and token ids in [`Kernels::Indices`], the bounds of packed sequences in [`Kernels::Segments`], frozen matrices
//! in a [`Kernels::Weight`]. A matrix is stored row by row: `[tokens, hidden]` has the numbers of a token side by side.
//!
//! A buffer has a dtype. Activations and their gradients have the device's own ([`Kernels::activation_dtype`]); parameters,
//! their gradients, optimizer moments, norm weights and log-sum-exps are f32 on every device.
//!
//! Operations write whole buffers and save nothing: the caller decides which activations it saves for the backward pass.
//! `tests/kernels` is the conformance suite: every device passes it.

mod cpu;
mod device;
mod operands;
mod optimizer;
mod tensor;

use std::fmt::Debug;
use std::ops::Range;

pub use cpu::{CpuBuffer, CpuKernels, CpuWeight, Precision};
pub use device::DeviceTask;
pub use operands::{
    Angles, AttentionGradients, AttentionInput, AttentionOutput, AttentionShape, DropoutMask, Head, Lora,
    LoraBackward, LoraForward, Mask, NormBackward, PatchGrid, Rotation, Segment, TokenLoss, TrainedBackward,
    TrainedMatrix,
};
pub use optimizer::{AdamW, AdamWState};
pub use tensor::{DeviceBuffer, FrozenTensor, UnsupportedDtype, WeightMemory};

use crate::weights::Dtype;
use crate::weights::quantized::FourBitMatrix;

/// The operations of the network over buffers on one device.
///
/// Shapes and dtypes are the caller's promise: an implementation may panic where a buffer is too short or an index is out of
/// range. A failure of the device (out of memory, a lost GPU) is saved and returned by [`Kernels::check`]; until then
/// operations do nothing.
pub trait Kernels: Send + Sync + Debug + Sized + 'static {
    /// Numbers on the device.
    type Buffer: DeviceBuffer;
    /// A frozen matrix on the device.
    type Weight<'w>: Send + Sync + Debug;
    /// Row numbers or token ids on the device.
    type Indices: Send + Sync + Debug;
    /// Segments on the device, with what it derives from them, such as the order of its tiles.
    type Segments: Send + Sync + Debug;

    /// The dtype of activations and their gradients.
    fn activation_dtype(&self) -> Dtype;
    /// A buffer of `len` numbers with arbitrary contents. `dtype` is [`Kernels::activation_dtype`] or f32.
    fn buffer(&self, len: usize, dtype: Dtype) -> Self::Buffer;
    /// Copies numbers to the device, rounded to `dtype`, which is [`Kernels::activation_dtype`] or f32.
    fn upload(&self, values: &[f32], dtype: Dtype) -> Self::Buffer;
    /// Copies numbers from the device, widened to f32.
    fn download(&self, buffer: &Self::Buffer) -> Vec<f32>;
    /// Copies row numbers or token ids to the device.
    fn indices(&self, indices: &[u32]) -> Self::Indices;
    /// Copies segments to the device; they are in the order of their queries, which they cover without a gap.
    fn segments(&self, segments: &[Segment]) -> Self::Segments;
    /// Copies a frozen matrix to the device, or borrows it from memory.
    fn weight<'w>(&self, tensor: FrozenTensor<'w>) -> Result<Self::Weight<'w>, UnsupportedDtype>;
    /// Copies a frozen matrix in 4 bits to the device. Every operation computes with its numbers in bf16.
    fn four_bit_weight<'w>(&self, matrix: FourBitMatrix) -> Self::Weight<'w>;
    /// The memory of a frozen matrix.
    fn weight_memory(&self, weight: &Self::Weight<'_>) -> WeightMemory;
    /// Copies a small frozen tensor to the device as an f32 buffer: a norm or a bias.
    fn vector(&self, tensor: FrozenTensor<'_>) -> Result<Self::Buffer, UnsupportedDtype>;
    /// Bytes that can be allocated on the device now; `None` if it shares the memory of the host.
    fn free_memory(&self) -> Option<u64>;
    /// The failure of the device since the last call, if there was one.
    fn check(&self) -> Result<(), DeviceError>;

    /// A buffer for activations or their gradients, with arbitrary contents.
    fn activations(&self, len: usize) -> Self::Buffer {
        self.buffer(len, self.activation_dtype())
    }

    /// A buffer in f32 with arbitrary contents.
    fn floats(&self, len: usize) -> Self::Buffer {
        self.buffer(len, Dtype::F32)
    }

    /// Runs many operations as one unit of work, between which the threads of the device need not sleep.
    fn together<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// Sets every number.
    fn fill(&self, buffer: &mut Self::Buffer, value: f32);
    /// Copies a buffer into one of the same length.
    fn copy(&self, from: &Self::Buffer, to: &mut Self::Buffer);
    /// Copies the rows of `from` to row `first` of `to` and the rows after it; both have `columns` numbers per row.
    fn put_rows(&self, from: &Self::Buffer, to: &mut Self::Buffer, columns: usize, first: usize);
    /// A copy of some of the numbers of a buffer.
    fn part(&self, buffer: &Self::Buffer, range: Range<usize>) -> Self::Buffer;
    /// `to[i] = from[rows[i]]`.
    fn gather_rows(&self, from: &Self::Buffer, rows: &Self::Indices, columns: usize, to: &mut Self::Buffer);
    /// `to[rows[i]] = from[i]`; no row is named twice.
    fn scatter_rows(&self, from: &Self::Buffer, rows: &Self::Indices, columns: usize, to: &mut Self::Buffer);

    /// `out[i] = table[ids[i]]`: token embeddings, `[tokens, hidden]`.
    fn embed(&self, table: &Self::Weight<'_>, ids: &Self::Indices, out: &mut Self::Buffer);
    /// Uploads an image, cut into patches, to row `first` of `out` and the rows after it:
    /// `[patches, channels * side * side]`.
    fn upload_patches(&self, image: &PatchGrid<'_>, out: &mut Self::Buffer, first: usize);

    /// `out = x / sqrt(mean(x^2) + epsilon) * weight`, for each row.
    fn rms_norm(&self, epsilon: f32, x: &Self::Buffer, weight: &Self::Buffer, out: &mut Self::Buffer);
    /// The gradient of [`Kernels::rms_norm`] with respect to `x`, set or added.
    fn rms_norm_backward(
        &self,
        norm: NormBackward<'_, Self>,
        out_gradient: &Self::Buffer,
        x_gradient: &mut Self::Buffer,
        write: Write,
    );

    /// Adds the gradient of [`Kernels::rms_norm`] with respect to its weight to this range of `gradients`.
    fn rms_norm_weight_backward(
        &self,
        norm: NormBackward<'_, Self>,
        out_gradient: &Self::Buffer,
        range: Range<usize>,
        gradients: &mut Self::Buffer,
    );

    /// `y = x W^T` for `W` of `[outputs, inputs]`, set or added. `y` has the dtype of activations, or f32 for logits.
    fn linear(&self, x: &Self::Buffer, weight: &Self::Weight<'_>, y: &mut Self::Buffer, write: Write);
    /// The input gradient of [`Kernels::linear`]: `y_gradient W`, set or added. The weight is frozen and has no gradient.
    fn linear_backward(
        &self,
        y_gradient: &Self::Buffer,
        weight: &Self::Weight<'_>,
        x_gradient: &mut Self::Buffer,
        write: Write,
    );
    /// Adds a bias to each row.
    fn add_bias(&self, bias: &Self::Buffer, y: &mut Self::Buffer);

    /// Adds the gradient of the bias of [`Kernels::add_bias`], the sum of each column, to this range of `gradients`.
    fn bias_backward(&self, y_gradient: &Self::Buffer, range: Range<usize>, gradients: &mut Self::Buffer);

    /// [`Kernels::linear`] with a matrix among the trained parameters.
    fn trained_linear(
        &self,
        matrix: &TrainedMatrix,
        parameters: &Self::Buffer,
        x: &Self::Buffer,
        y: &mut Self::Buffer,
        write: Write,
    );
    /// The gradients of [`Kernels::trained_linear`]: that of the matrix is added into the flat `gradients`; that of `x` is set
    /// or added if it is requested.
    fn trained_linear_backward(
        &self,
        matrix: &TrainedMatrix,
        pass: TrainedBackward<'_, Self>,
        x_gradient: Option<(&mut Self::Buffer, Write)>,
    );

    /// `xa = x A^T`, `[tokens, rank]`: what [`Kernels::lora_linear`] and its backward pass read.
    fn lora_down(&self, lora: &Lora, parameters: &Self::Buffer, x: &Self::Buffer, xa: &mut Self::Buffer);
    /// A linear with its adapter: `y = x W^T + scaling * xa B^T`, set or added.
    fn lora_linear(&self, lora: &Lora, pass: LoraForward<'_, '_, Self>, y: &mut Self::Buffer, write: Write);
    /// The gradients of [`Kernels::lora_linear`]: those of A and B are added into the flat `gradients`; that of `x` is set or
    /// added if it is requested.
    fn lora_linear_backward(
        &self,
        lora: &Lora,
        pass: LoraBackward<'_, '_, Self>,
        x_gradient: Option<(&mut Self::Buffer, Write)>,
    );
    /// Zeroes a share of `x` and divides the rest by one minus that share, set or added. The same mask gives the same zeros,
    /// so this is its own gradient.
    fn dropout(&self, mask: DropoutMask, x: &Self::Buffer, out: &mut Self::Buffer, write: Write);

    /// Rotates the pairs `(i, i + head_size / 2)` of each head by the angles of its row, with whatever length its cosines and
    /// sines have.
    fn rope(&self, angles: &Angles<Self>, head_size: usize, x: &mut Self::Buffer, rotation: Rotation);

    /// Softmax attention over segments of packed rows, without a matrix of scores. `log_sum_exp`, `[heads, rows]`, is the
    /// logarithm of the softmax's denominator, which the backward pass reads.
    fn attention(
        &self,
        shape: AttentionShape,
        input: AttentionInput<'_, Self>,
        out: &mut Self::Buffer,
        log_sum_exp: &mut Self::Buffer,
    );
    /// The gradients of [`Kernels::attention`], set; scores are recomputed block by block.
    fn attention_backward(
        &self,
        shape: AttentionShape,
        input: AttentionInput<'_, Self>,
        output: AttentionOutput<'_, Self>,
        gradients: AttentionGradients<'_, Self>,
    );

    /// `out = silu(gate) * up`.
    fn swiglu(&self, gate: &Self::Buffer, up: &Self::Buffer, out: &mut Self::Buffer);
    /// Replaces gate and up with their gradients.
    fn swiglu_backward(&self, out_gradient: &Self::Buffer, gate: &mut Self::Buffer, up: &mut Self::Buffer);
    /// `out = x / 2 * (1 + erf(x / sqrt(2)))`.
    fn gelu(&self, x: &Self::Buffer, out: &mut Self::Buffer);
    /// Replaces `x` with its gradient.
    fn gelu_backward(&self, out_gradient: &Self::Buffer, x: &mut Self::Buffer);

    /// Cross-entropy of the logits `x W^T` against one target per row. With `gradient`, also the gradient of `scale` times
    /// the sum of all losses with respect to `x`. Logits exist for a chunk of rows at a time.
    fn cross_entropy(
        &self,
        head: Head<'_, '_, Self>,
        targets: &Self::Indices,
        scale: f32,
        gradient: Option<&mut Self::Buffer>,
    ) -> Vec<TokenLoss>;

    /// Bytes of the logits, and of their gradients, that [`Kernels::cross_entropy`] has at once.
    fn cross_entropy_memory(&self, rows: usize, vocabulary: usize) -> u64;

    /// The Euclidean norm of all numbers.
    fn l2_norm(&self, buffer: &Self::Buffer) -> f64;
    /// Multiplies every number.
    fn scale(&self, buffer: &mut Self::Buffer, factor: f32);
    /// One step of AdamW over flat buffers; `steps` counts this one.
    fn adamw(&self, step: &AdamW, steps: u64, gradients: &Self::Buffer, state: AdamWState<'_, Self>);
}

/// A failure of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the device failed: {message}")]
pub struct DeviceError {
    /// The device's own message.
    pub message: String,
    /// Whether it had no memory for a buffer.
    pub out_of_memory: bool,
}

/// Whether a result replaces the contents of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// It replaces them.
    Set,
    /// It is added to them.
    Add,
}
