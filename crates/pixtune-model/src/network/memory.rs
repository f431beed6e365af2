//! The device memory of a training step, by part, and which layers are recomputed to fit a budget.

use super::adapter_layout::AdapterLayout;
use super::batch::Batch;
use super::layer::InputGradient;
use super::lora::Region;
use super::shape::{ModelShape, StackShape};
use super::{Model, Network};
use crate::kernels::Kernels;
use crate::weights::{Dtype, Module};

/// Bytes by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    /// Frozen weights, as they are stored.
    pub weights: u64,
    /// Adapter, gradients and the two moments of the optimizer.
    pub adapter: u64,
    /// Activations saved for the backward pass.
    pub saved: u64,
    /// Peak of what is in use besides these.
    pub working: u64,
    /// Layers whose activations are recomputed.
    pub recomputed_layers: usize,
    /// All layers with a backward pass.
    pub layers: usize,
}

impl MemoryEstimate {
    /// The sum of all parts.
    pub fn total(&self) -> u64 {
        self.weights + self.adapter + self.saved + self.working
    }
}

impl<K: Kernels> Network<'_, K> {
    /// The memory of a pass over a batch of this size, by part.
    pub fn memory(&self, tokens: usize, patches: usize, trained_tokens: usize) -> MemoryEstimate {
        let [tokens, patches, trained_tokens] = [tokens, patches, trained_tokens].map(|count| count as u64);
        self.model.sizes().estimate(PassSize { tokens, patches, trained_tokens })
    }
}

impl<K: Kernels> Model<'_, K> {
    pub(super) fn sizes(&self) -> Sizes<'_> {
        let text_layers = self.decoder.stack.first_trained(self.vision.output_gradient());
        Sizes {
            shape: &self.shape,
            layout: &self.layout,
            activation_bytes: self.kernels.activation_dtype().size() as u64,
            weight_bytes: self.weight_bytes,
            budget: self.options.activation_budget,
            text_layers: self.shape.text.layers - text_layers,
            vision_layers: match self.vision.has_backward(Region::Vision) {
                true => self.shape.vision.layers - self.vision.stack.first_trained(InputGradient::Unneeded),
                false => 0,
            },
        }
    }
}

/// The number of the lowest layers that save checkpoints only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Recomputed {
    pub(super) text: usize,
    pub(super) vision: usize,
}

/// The size of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassSize {
    tokens: u64,
    patches: u64,
    trained_tokens: u64,
}

impl PassSize {
    pub(super) fn of(batch: &Batch) -> PassSize {
        let [tokens, patches, trained_tokens] =
            [batch.tokens(), batch.patches(), batch.trained_tokens()].map(|count| count as u64);
        PassSize { tokens, patches, trained_tokens }
    }
}

/// What the estimate depends on besides the batch.
#[derive(Debug)]
pub(super) struct Sizes<'a> {
    shape: &'a ModelShape,
    layout: &'a AdapterLayout,
    /// Bytes of one number of an activation.
    activation_bytes: u64,
    weight_bytes: u64,
    budget: Option<u64>,
    /// Layers with a backward pass.
    text_layers: usize,
    vision_layers: usize,
}

/// Bytes of an f32: log-sum-exps, parameters, gradients, moments, logits.
const FLOAT: u64 = Dtype::F32.size() as u64;
/// Maximum logits that exist at once on the CPU: see `kernels::cpu::cross_entropy`.
const LOGITS: u64 = 1 << 23;

/// Bytes per row in one layer.
struct Row {
    /// All saved activations.
    all: u64,
    /// The checkpoint: the input, the output of attention and its log-sum-exp.
    checkpoint: u64,
    /// What the last layer saves of a row whose output is not needed: attention reads its keys and values all the same.
    attention: u64,
    /// What the backward pass needs besides: the gradients of the output and of `silu(gate) * up`, and that itself.
    working: u64,
}

impl Sizes<'_> {
    /// Saved are the input, queries, keys, values, the output of attention and its log-sum-exp, the residual, gate and up, and
    /// the `x A^T` of the adapters.
    fn row(&self, stack: &StackShape, ranks: usize) -> Row {
        let StackShape { hidden, feed_forward, heads, .. } = *stack;
        let (queries, keys) = (stack.query_width(), stack.key_width());
        let activations = |numbers: usize| numbers as u64 * self.activation_bytes;
        let log_sum_exp = heads as u64 * FLOAT;
        let attention = activations(hidden + 2 * queries + 2 * keys + ranks) + log_sum_exp;
        Row {
            all: attention + activations(hidden + 2 * feed_forward),
            checkpoint: activations(hidden + queries) + log_sum_exp,
            attention,
            working: activations(hidden + 2 * feed_forward),
        }
    }

    fn rows(&self) -> (Row, Row) {
        let text = self.row(&self.shape.text, self.layout.ranks(|part| Module::Text(0, part)));
        let vision = self.row(&self.shape.vision, self.layout.ranks(|part| Module::Vision(0, part)));
        (text, vision)
    }

    /// The fewest layers to recompute so that the saved activations fit into the budget.
    pub(super) fn recomputed(&self, pass: PassSize) -> Recomputed {
        let Some(budget) = self.budget else { return Recomputed::default() };
        let (text, vision) = self.rows();
        let over = self.saved(pass, Recomputed::default()).saturating_sub(budget);
        let layers = |over: u64, freed: u64, layers: usize| match freed {
            0 => 0,
            freed => over.div_ceil(freed).min(layers as u64) as usize,
        };
        let freed_per_layer = pass.tokens * (text.all - text.checkpoint);
        // All activations of the last layer still exist when its backward pass starts.
        let in_text = layers(over, freed_per_layer, self.text_layers.saturating_sub(1));
        let over = over.saturating_sub(in_text as u64 * freed_per_layer);
        let in_vision = layers(over, pass.patches * (vision.all - vision.checkpoint), self.vision_layers);
        Recomputed { text: in_text, vision: in_vision }
    }

    fn saved(&self, pass: PassSize, recomputed: Recomputed) -> u64 {
        let (text, vision) = self.rows();
        let layers = |row: &Row, layers: usize, recomputed: usize| {
            (layers - recomputed) as u64 * row.all + recomputed as u64 * row.checkpoint
        };
        let saved = pass.tokens * layers(&text, self.text_layers, recomputed.text)
            + pass.patches * layers(&vision, self.vision_layers, recomputed.vision);
        saved.saturating_sub(self.unselected(pass, &text))
    }

    /// What the last layer does not save of rows whose output is not needed.
    fn unselected(&self, pass: PassSize, text: &Row) -> u64 {
        pass.tokens.saturating_sub(pass.trained_tokens) * (text.all - text.attention)
    }

    fn estimate(&self, pass: PassSize) -> MemoryEstimate {
        let recomputed = self.recomputed(pass);
        let (text, vision) = self.rows();
        // A recomputed layer takes the place of the text's last layer, which saved fewer rows.
        let recomputed_text = if recomputed.text > 0 { self.unselected(pass, &text) } else { 0 };
        let recomputed_vision = if recomputed.vision > 0 { vision.all - vision.checkpoint } else { 0 };
        let in_text = pass.tokens * text.working + recomputed_text;
        let in_vision = pass.patches * (vision.working + recomputed_vision);
        let vocabulary = self.shape.vocabulary as u64;
        let logits = (pass.trained_tokens * vocabulary).min(LOGITS.max(8 * vocabulary)) * FLOAT;
        MemoryEstimate {
            weights: self.weight_bytes,
            adapter: 4 * self.layout.parameters() as u64 * FLOAT,
            saved: self.saved(pass, recomputed),
            working: in_text.max(in_vision).max(logits),
            recomputed_layers: recomputed.text + recomputed.vision,
            layers: self.text_layers + self.vision_layers,
        }
    }
}
