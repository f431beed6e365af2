//! What a device has to be able to do, and the processor's way of doing it.
//!
//! All numbers that are computed are single precision in [`Kernels::Buffer`]s; frozen weights stay as they are stored. A
//! matrix lies row by row: `[tokens, hidden]` has the numbers of a token side by side. Operations write whole buffers, and
//! the caller says which of them it keeps for the backward pass: no operation keeps anything.

mod cpu;

pub(crate) use cpu::vectorised;
pub use cpu::{CpuKernels, Precision};

use std::fmt::Debug;
use std::ops::Range;

use crate::network::{AdamW, FrozenTensor};

/// The operations of the network over buffers on one device, forward and backward.
///
/// Shapes are the caller's promise: an implementation may panic where a buffer is too short. What goes wrong on a device
/// (memory, a lost card) is kept and reported by [`Kernels::check`]; until then operations do nothing.
pub trait Kernels: Send + Sync + Debug + Sized {
    /// Numbers on the device.
    type Buffer: Send + Sync + Debug;
    /// A frozen matrix on the device, in the type it is stored in.
    type Weight<'w>: Send + Sync + Debug;

    /// A buffer of `len` numbers with arbitrary contents.
    fn buffer(&self, len: usize) -> Self::Buffer;
    /// Brings numbers to the device.
    fn upload(&self, values: &[f32]) -> Self::Buffer;
    /// Brings numbers back.
    fn download(&self, buffer: &Self::Buffer) -> Vec<f32>;
    /// Brings a frozen matrix to the device, or borrows it where it lies.
    fn weight<'w>(&self, tensor: FrozenTensor<'w>) -> Self::Weight<'w>;
    /// Brings a small frozen tensor to the device as a buffer: norms and biases.
    fn vector(&self, tensor: FrozenTensor<'_>) -> Self::Buffer;
    /// What went wrong since the last call.
    fn check(&self) -> Result<(), DeviceError>;

    /// Does work of many operations. Threads of the device need not fall asleep between them.
    fn together<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// Sets every number.
    fn fill(&self, buffer: &mut Self::Buffer, value: f32);
    /// Copies a buffer into one of the same length.
    fn copy(&self, from: &Self::Buffer, to: &mut Self::Buffer);
    /// Adds a buffer to one of the same length.
    fn add(&self, from: &Self::Buffer, to: &mut Self::Buffer);
    /// Copies the rows of `from` to row `first` of `to` and those after it; both have `columns` numbers a row.
    fn put_rows(&self, from: &Self::Buffer, to: &mut Self::Buffer, columns: usize, first: usize);
    /// `to[i] = from[rows[i]]`.
    fn gather_rows(&self, from: &Self::Buffer, rows: &[u32], columns: usize, to: &mut Self::Buffer);
    /// `to[rows[i]] = from[i]`; no row is named twice.
    fn scatter_rows(&self, from: &Self::Buffer, rows: &[u32], columns: usize, to: &mut Self::Buffer);

    /// `out[i] = table[ids[i]]`: the embeddings of tokens, `[tokens, hidden]`.
    fn embed(&self, table: &Self::Weight<'_>, ids: &[u32], out: &mut Self::Buffer);
    /// Cuts an image, `[channels, rows * side, columns * side]`, into patches from row `first` of `out`:
    /// `[patches, channels * side * side]`.
    fn patches(&self, image: &PatchGrid<'_>, out: &mut Self::Buffer, first: usize);

    /// `out = x / sqrt(mean(x^2) + epsilon) * weight`, for each row.
    fn rms_norm(&self, epsilon: f32, x: &Self::Buffer, weight: &Self::Buffer, out: &mut Self::Buffer);
    /// The gradient of [`Kernels::rms_norm`] in `x`, set or added.
    fn rms_norm_backward(
        &self,
        norm: NormBackward<'_, Self>,
        out_gradient: &Self::Buffer,
        x_gradient: &mut Self::Buffer,
        write: Write,
    );

    /// `y = x W^T` for `W` of `[outputs, inputs]`, set or added.
    fn linear(&self, x: &Self::Buffer, weight: &Self::Weight<'_>, y: &mut Self::Buffer, write: Write);
    /// The gradient of [`Kernels::linear`] in `x`: `y_gradient W`, set or added. The weight is frozen and has none.
    fn linear_backward(
        &self,
        y_gradient: &Self::Buffer,
        weight: &Self::Weight<'_>,
        x_gradient: &mut Self::Buffer,
        write: Write,
    );
    /// Adds a bias to each row.
    fn add_bias(&self, bias: &Self::Buffer, y: &mut Self::Buffer);

    /// `hidden = x A^T`, `[tokens, rank]`: what [`Kernels::lora`] reads, forward and backward.
    fn lora_hidden(
        &self,
        lora: &Lora,
        parameters: &Self::Buffer,
        x: &Self::Buffer,
        hidden: &mut Self::Buffer,
    );
    /// A linear with its adapter: `y = x W^T + scaling * hidden B^T`, set or added.
    fn lora(&self, lora: &Lora, pass: LoraForward<'_, '_, Self>, y: &mut Self::Buffer, write: Write);
    /// The gradients of [`Kernels::lora`]: of A and B added into the flat `gradients`, of `x` set or added where it is asked
    /// for.
    fn lora_backward(
        &self,
        lora: &Lora,
        pass: LoraBackward<'_, '_, Self>,
        x_gradient: Option<(&mut Self::Buffer, Write)>,
    );
    /// Zeroes a share of `x` and divides the rest by what is left of one, set or added. The same mask gives the same zeros,
    /// so this is its own gradient.
    fn dropout(&self, mask: DropoutMask, x: &Self::Buffer, out: &mut Self::Buffer, write: Write);

    /// Turns the pairs `(i, i + head_size / 2)` of each head by the angles of its row.
    fn rope(&self, angles: &Angles<Self>, head_size: usize, x: &mut Self::Buffer, turn: Turn);

    /// Softmax attention over segments of packed rows, without a matrix of scores. `log_sums`, `[heads, rows]`, are the
    /// logarithms of the softmax's denominators, kept for the backward pass.
    fn attention(
        &self,
        shape: &AttentionShape<'_>,
        input: AttentionInput<'_, Self>,
        out: &mut Self::Buffer,
        log_sums: &mut Self::Buffer,
    );
    /// The gradients of [`Kernels::attention`], set; scores are computed again, block by block.
    fn attention_backward(
        &self,
        shape: &AttentionShape<'_>,
        input: AttentionInput<'_, Self>,
        output: AttentionOutput<'_, Self>,
        gradients: AttentionGradients<'_, Self>,
    );

    /// `out = silu(gate) * up`.
    fn swiglu(&self, gate: &Self::Buffer, up: &Self::Buffer, out: &mut Self::Buffer);
    /// Replaces gate and up by their gradients.
    fn swiglu_backward(&self, out_gradient: &Self::Buffer, gate: &mut Self::Buffer, up: &mut Self::Buffer);
    /// `out = x / 2 * (1 + erf(x / sqrt(2)))`.
    fn gelu(&self, x: &Self::Buffer, out: &mut Self::Buffer);
    /// Replaces `x` by its gradient.
    fn gelu_backward(&self, out_gradient: &Self::Buffer, x: &mut Self::Buffer);

    /// Cross-entropy of `x W^T` against one target a row. With `gradient`, also the gradient of `scale` times the sum of
    /// all losses in `x`. Logits exist for a chunk of rows at a time.
    fn cross_entropy(
        &self,
        head: Head<'_, '_, Self>,
        targets: &[u32],
        scale: f32,
        gradient: Option<&mut Self::Buffer>,
    ) -> Vec<TokenLoss>;

    /// The Euclidean norm of all numbers.
    fn norm(&self, buffer: &Self::Buffer) -> f64;
    /// Multiplies every number.
    fn scale(&self, buffer: &mut Self::Buffer, factor: f32);
    /// One step of AdamW over flat buffers; `steps` counts this one.
    fn adamw(&self, step: &AdamW, steps: u64, gradients: &Self::Buffer, state: AdamWState<'_, Self>);
}

/// What a device reports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the device failed: {message}")]
pub struct DeviceError {
    /// In its own words.
    pub message: String,
}

/// Whether a result replaces what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// It does.
    Set,
    /// It is added.
    Add,
}

/// Which way positions turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// By the angle: forward.
    Forward,
    /// Back: the gradient.
    Back,
}

/// Sines and cosines of positions, `[rows, head_size / 2]` each.
#[derive(Debug)]
pub struct Angles<K: Kernels> {
    /// Cosines.
    pub cosines: K::Buffer,
    /// Sines.
    pub sines: K::Buffer,
}

/// An image and how it is cut.
#[derive(Debug, Clone, Copy)]
pub struct PatchGrid<'a> {
    /// `[channels, rows * side, columns * side]`.
    pub pixels: &'a [f32],
    /// Its channels.
    pub channels: usize,
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
    /// The side of a patch.
    pub side: usize,
}

/// What went into a norm.
#[derive(Debug, Clone, Copy)]
pub struct NormBackward<'a, K: Kernels> {
    /// Added to the mean square.
    pub epsilon: f32,
    /// The input.
    pub x: &'a K::Buffer,
    /// The weight.
    pub weight: &'a K::Buffer,
}

/// An adapter of one linear: where its tensors stand in the flat buffers, and its scaling.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// A, `[rank, inputs]`.
    pub a: Range<usize>,
    /// B, `[outputs, rank]`.
    pub b: Range<usize>,
    /// Columns of A.
    pub inputs: usize,
    /// Rows of B.
    pub outputs: usize,
    /// Rows of A.
    pub rank: usize,
    /// What the product is multiplied with.
    pub scaling: f32,
}

/// What a linear with an adapter reads.
#[derive(Debug)]
pub struct LoraForward<'a, 'w, K: Kernels> {
    /// All adapters.
    pub parameters: &'a K::Buffer,
    /// The frozen matrix, `[outputs, inputs]`.
    pub weight: &'a K::Weight<'w>,
    /// What the frozen matrix reads.
    pub x: &'a K::Buffer,
    /// What [`Kernels::lora_hidden`] made of it, or of what dropout left of it.
    pub hidden: &'a K::Buffer,
}

/// What the gradients of an adapter are made of.
#[derive(Debug)]
pub struct LoraBackward<'a, 'w, K: Kernels> {
    /// The frozen matrix, where the gradient of `x` is to hold its part too.
    pub weight: Option<&'a K::Weight<'w>>,
    /// All adapters.
    pub parameters: &'a K::Buffer,
    /// All their gradients.
    pub gradients: &'a mut K::Buffer,
    /// What A read.
    pub x: &'a K::Buffer,
    /// `x A^T` of the forward pass.
    pub hidden: &'a K::Buffer,
    /// The gradient of the output.
    pub y_gradient: &'a K::Buffer,
}

/// A dropout mask: a function of its seed and the place of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutMask {
    /// The share of zeros, below one.
    pub rate: f32,
    /// Which mask.
    pub seed: u64,
}

/// Who sees whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Every query sees every key of its segment.
    Full,
    /// A query sees keys up to its own place; the last query stands at the last key.
    Causal,
}

/// Queries that see the same keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Rows of the queries; those of the next segment follow.
    pub queries: Range<usize>,
    /// Rows of keys and values.
    pub keys: Range<usize>,
}

/// Heads and segments of an attention.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape<'a> {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values, each for `heads / key_value_heads` heads of queries that stand side by side.
    pub key_value_heads: usize,
    /// Numbers per head. Scores are divided by its root.
    pub head_size: usize,
    /// Who sees whom.
    pub mask: Mask,
    /// In the order of their queries, which they cover without a gap.
    pub segments: &'a [Segment],
}

/// Queries `[rows, heads * head_size]`; keys and values `[rows, key_value_heads * head_size]`.
#[derive(Debug)]
pub struct AttentionInput<'a, K: Kernels> {
    /// Queries.
    pub queries: &'a K::Buffer,
    /// Keys.
    pub keys: &'a K::Buffer,
    /// Values.
    pub values: &'a K::Buffer,
}

/// What the forward pass left, and the gradient that comes back.
#[derive(Debug)]
pub struct AttentionOutput<'a, K: Kernels> {
    /// The output.
    pub out: &'a K::Buffer,
    /// See [`Kernels::attention`].
    pub log_sums: &'a K::Buffer,
    /// The gradient of the output.
    pub out_gradient: &'a K::Buffer,
}

/// Where the gradients of an attention go.
#[derive(Debug)]
pub struct AttentionGradients<'a, K: Kernels> {
    /// Of the queries.
    pub queries: &'a mut K::Buffer,
    /// Of the keys.
    pub keys: &'a mut K::Buffer,
    /// Of the values.
    pub values: &'a mut K::Buffer,
}

/// Normed rows and the output matrix.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a, 'w, K: Kernels> {
    /// `[rows, hidden]`.
    pub x: &'a K::Buffer,
    /// `[vocabulary, hidden]`.
    pub weight: &'a K::Weight<'w>,
}

/// The loss of one label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLoss {
    /// The negative logarithm of the target's probability.
    pub loss: f32,
    /// Whether the target was the most likely token.
    pub correct: bool,
}

/// What a step of AdamW changes.
#[derive(Debug)]
pub struct AdamWState<'a, K: Kernels> {
    /// The parameters.
    pub parameters: &'a mut K::Buffer,
    /// Running mean of the gradients.
    pub first: &'a mut K::Buffer,
    /// Running mean of their squares.
    pub second: &'a mut K::Buffer,
}
