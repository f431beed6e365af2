//! The sizes of a model.

use super::error::NetworkError;
use crate::weights::ModelConfig;
use crate::weights::config::{QueryScaling, Yarn};

/// The sizes of a stack of layers: the text decoder or the vision encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StackShape {
    /// Numbers per token or patch.
    pub hidden: usize,
    /// Inner width of the feed-forward part.
    pub feed_forward: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values; `heads` is a multiple of it.
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
    /// How the text's rotary frequencies are stretched.
    pub yarn: Option<Yarn>,
    /// How the text's queries grow with their position.
    pub query_scaling: Option<QueryScaling>,
    /// Number of token ids.
    pub vocabulary: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Maximum patches per side of an image.
    pub image_side: usize,
    /// Patches on a side of the square that becomes one vector; 1 where none are merged.
    pub merge: usize,
    /// Whether the projector's linears have a bias.
    pub projector_bias: bool,
    /// Whether the output matrix is the embedding table.
    pub tied: bool,
    /// The id of `[IMG]`.
    pub image_token: u32,
}

impl ModelShape {
    /// The sizes of a configuration; an error if this network does not support it.
    pub fn new(config: &ModelConfig) -> Result<ModelShape, NetworkError> {
        let refuse = |reason: String| Err(NetworkError::Configuration { reason });
        let merge = config.projector.spatial_merge;
        if (merge > 1) != config.projector.norm {
            let has = if config.projector.norm { "a" } else { "no" };
            return refuse(format!("its projector merges {merge}x{merge} patches and has {has} norm"));
        }
        let (text, vision) = (&config.text, &config.vision);
        let shape = ModelShape {
            text: StackShape {
                hidden: text.hidden_size,
                feed_forward: text.intermediate_size,
                layers: text.layers,
                heads: text.heads,
                key_value_heads: text.kv_heads,
                head_size: text.head_dim,
                rope_theta: text.rope_theta,
                norm_epsilon: text.norm_eps as f32,
            },
            vision: StackShape {
                hidden: vision.hidden_size,
                feed_forward: vision.intermediate_size,
                layers: vision.layers,
                heads: vision.heads,
                key_value_heads: vision.heads,
                head_size: vision.head_dim,
                rope_theta: vision.rope_theta,
                norm_epsilon: vision.norm_eps as f32,
            },
            yarn: text.yarn,
            query_scaling: text.query_scaling,
            vocabulary: text.vocab_size,
            channels: vision.channels,
            patch: vision.patch_size,
            image_side: vision.image_size / vision.patch_size.max(1),
            merge,
            projector_bias: config.projector.bias,
            tied: config.tied,
            image_token: config.image_token,
        };
        shape.check()?;
        Ok(shape)
    }

    /// Rejects impossible sizes; everything after relies on it.
    pub(super) fn check(&self) -> Result<(), NetworkError> {
        let refuse = |reason: String| Err(NetworkError::Configuration { reason });
        for (name, stack) in [("text", &self.text), ("vision", &self.vision)] {
            let StackShape { heads, key_value_heads, head_size, .. } = *stack;
            let sizes = [stack.hidden, stack.feed_forward, stack.layers, heads, key_value_heads, head_size];
            if sizes.iter().any(|&size| size == 0 || size > 1 << 24) {
                return refuse(format!("a size of the {name} model is zero or above 2^24: {sizes:?}"));
            }
            if !heads.is_multiple_of(key_value_heads) {
                return refuse(format!(
                    "{heads} query heads of the {name} model cannot share {key_value_heads} key-value heads"
                ));
            }
            if !head_size.is_multiple_of(2) {
                return refuse(format!(
                    "a head size of {head_size} is not a multiple of 2: rotary positions need pairs"
                ));
            }
        }
        if !self.vision.head_size.is_multiple_of(4) {
            return refuse(format!(
                "a vision head size of {} is not a multiple of 4: rotary positions need rows and columns",
                self.vision.head_size
            ));
        }
        let sizes = [self.vocabulary, self.channels, self.patch, self.image_side, self.merge];
        match sizes.iter().any(|&size| size == 0 || size > 1 << 24) {
            true => refuse(format!(
                "vocabulary, channels, patch, image side or merge is zero or above 2^24: {sizes:?}"
            )),
            false => Ok(()),
        }
    }
}

impl StackShape {
    /// Width of a token's queries.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_size
    }

    /// Width of a token's keys, and of its values.
    pub fn key_width(&self) -> usize {
        self.key_value_heads * self.head_size
    }
}
