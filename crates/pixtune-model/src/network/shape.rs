//! The sizes of a model, and where its frozen weights come from.

use std::borrow::Cow;

use super::error::NetworkError;

/// A stack of layers: both the text decoder and the vision encoder are one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StackShape {
    /// Numbers per token or patch.
    pub hidden: usize,
    /// Numbers between gate and down projection.
    pub feed_forward: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values; `heads` is a multiple.
    pub key_value_heads: usize,
    /// Numbers per head; even.
    pub head_size: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Added to the mean square in RMSNorm.
    pub norm_epsilon: f32,
}

/// The sizes of the whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    /// The text decoder.
    pub text: StackShape,
    /// The vision encoder.
    pub vision: StackShape,
    /// Token ids.
    pub vocabulary: usize,
    /// Channels of a picture.
    pub channels: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Whether the projector's linears have a bias.
    pub projector_bias: bool,
    /// Whether the output matrix is the embedding table.
    pub tied: bool,
    /// The id of `[IMG]`.
    pub image_token: u32,
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

/// A tensor as it is stored: little-endian, row by row.
#[derive(Debug, Clone)]
pub struct FrozenTensor<'a> {
    /// The kind of number.
    pub storage: Storage,
    /// Its axes.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub bytes: Cow<'a, [u8]>,
}

/// Where frozen weights come from: a checkpoint on disk, or a model made for a test.
pub trait FrozenWeights {
    /// The sizes.
    fn shape(&self) -> &ModelShape;

    /// The tensor of this name: transformers' module path since 4.52 (`model.language_model.layers.0.mlp.up_proj.weight`,
    /// `lm_head.weight`), with the rows of q and k in transformers' order.
    fn tensor(&self, name: &str) -> Result<FrozenTensor<'_>, NetworkError>;
}
