//! What the operations of [`Kernels`] read and write, where that is more than a buffer or two.

use std::ops::Range;

use super::Kernels;

/// An image in host memory and its grid of patches.
#[derive(Debug, Clone, Copy)]
pub struct PatchGrid<'a> {
    /// `[channels, rows * side, columns * side]`.
    pub pixels: &'a [f32],
    /// Channels of the image.
    pub channels: usize,
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
    /// Side of a patch in pixels.
    pub side: usize,
}

/// What the norm read in the forward pass.
#[derive(Debug, Clone, Copy)]
pub struct NormBackward<'a, K: Kernels> {
    /// Added to the mean square.
    pub epsilon: f32,
    /// The input.
    pub x: &'a K::Buffer,
    /// The weight.
    pub weight: &'a K::Buffer,
}

/// The adapter of one linear: the positions of its tensors in the flat buffers, and its scaling.
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
    /// The factor of the low-rank update.
    pub scaling: f32,
}

/// What a linear with an adapter reads.
#[derive(Debug)]
pub struct LoraForward<'a, 'w, K: Kernels> {
    /// The parameters of all adapters.
    pub parameters: &'a K::Buffer,
    /// The frozen matrix, `[outputs, inputs]`.
    pub weight: &'a K::Weight<'w>,
    /// The input of the frozen matrix.
    pub x: &'a K::Buffer,
    /// The output of [`Kernels::lora_down`] for the input, or for the input after dropout.
    pub xa: &'a K::Buffer,
}

/// What the backward pass of a linear with an adapter reads, and the parameter gradients it adds to.
#[derive(Debug)]
pub struct LoraBackward<'a, 'w, K: Kernels> {
    /// The frozen matrix, if the input gradient includes its part too.
    pub weight: Option<&'a K::Weight<'w>>,
    /// The parameters of all adapters.
    pub parameters: &'a K::Buffer,
    /// The gradients of all adapters.
    pub gradients: &'a mut K::Buffer,
    /// The input of A.
    pub x: &'a K::Buffer,
    /// `x A^T` of the forward pass.
    pub xa: &'a K::Buffer,
    /// The gradient of the output.
    pub y_gradient: &'a K::Buffer,
}

/// A matrix among the trained parameters: its position in the flat buffers, and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainedMatrix {
    /// `[outputs, inputs]`, row by row.
    pub range: Range<usize>,
    /// Its columns.
    pub inputs: usize,
    /// Its rows.
    pub outputs: usize,
}

/// What the backward pass of a linear with a trained matrix reads, and the parameter gradients it adds to.
#[derive(Debug)]
pub struct TrainedBackward<'a, K: Kernels> {
    /// All trained parameters.
    pub parameters: &'a K::Buffer,
    /// The gradients of all trained parameters.
    pub gradients: &'a mut K::Buffer,
    /// The input of the matrix.
    pub x: &'a K::Buffer,
    /// The gradient of the output.
    pub y_gradient: &'a K::Buffer,
}

/// A dropout mask: a function of its seed and the index of a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutMask {
    /// The share of zeros, below one.
    pub rate: f32,
    /// Which mask.
    pub seed: u64,
}

/// Cosines and sines of positions, `[rows, head_size / 2]` each, in f32; those of a row may be multiplied by a number, by which its
/// heads and their gradients are multiplied then.
#[derive(Debug)]
pub struct Angles<K: Kernels> {
    /// Cosines.
    pub cosines: K::Buffer,
    /// Sines.
    pub sines: K::Buffer,
}

/// The direction of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// By the angle: the forward pass.
    Forward,
    /// By the negative angle: the gradient.
    Backward,
}

/// Which keys a query attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Every key of its segment.
    Full,
    /// Keys up to its own position; the last query is at the position of the last key.
    Causal,
}

/// Queries that attend to the same keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Rows of the queries and of the output.
    pub queries: Range<usize>,
    /// Rows of keys and values, at least as many as there are queries.
    pub keys: Range<usize>,
}

/// The heads of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values, each for `heads / key_value_heads` adjacent heads of queries.
    pub key_value_heads: usize,
    /// Numbers per head. Scores are divided by its square root.
    pub head_size: usize,
    /// Which keys a query attends to.
    pub mask: Mask,
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
    /// Which rows belong together.
    pub segments: &'a K::Segments,
}

/// The output of the forward pass, and its gradient.
#[derive(Debug)]
pub struct AttentionOutput<'a, K: Kernels> {
    /// The output.
    pub out: &'a K::Buffer,
    /// See [`Kernels::attention`].
    pub log_sum_exp: &'a K::Buffer,
    /// The gradient of the output.
    pub out_gradient: &'a K::Buffer,
}

/// Where the gradients of an attention are written.
#[derive(Debug)]
pub struct AttentionGradients<'a, K: Kernels> {
    /// Of the queries.
    pub queries: &'a mut K::Buffer,
    /// Of the keys.
    pub keys: &'a mut K::Buffer,
    /// Of the values.
    pub values: &'a mut K::Buffer,
}

/// Normalized rows and the output matrix.
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
    /// The negative log-probability of the target.
    pub loss: f32,
    /// Whether the target was the most likely token.
    pub correct: bool,
}
