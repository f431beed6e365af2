//! The device memory of a training step, by part, and which layers are recomputed to fit a budget. What a layer saves per row
//! is the formula of [`pixtune_core::plan`], which `pixtune plan` uses too.

use pixtune_core::plan::{ADAPTER_BYTES, LayerStack, LayerWidths};

use super::adapter_layout::AdapterLayout;
use super::batch::Batch;
use super::layer::InputGradient;
use super::region::Region;
use super::shape::{ModelShape, StackShape};
use super::{Model, Network};
use crate::kernels::Kernels;
use crate::weights::{Dtype, Module};

/// Bytes by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    /// Frozen weights, as they are stored.
    pub weights: u64,
    /// Adapter and whole trained tensors, their gradients and the two moments of the optimizer.
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
            patch_inputs: self.vision.saved_inputs(),
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
    /// Numbers saved of a patch before the first layer of the vision encoder.
    patch_inputs: usize,
}

/// Bytes of a logit.
const LOGIT: u64 = Dtype::F32.size() as u64;
/// Maximum logits that exist at once on the CPU: see `kernels::cpu::cross_entropy`.
const LOGITS: u64 = 1 << 23;

impl Sizes<'_> {
    /// The layers with a backward pass.
    fn text(&self) -> LayerStack {
        let adapter_ranks = self.layout.ranks(|part| Module::Text(0, part));
        stack(&self.shape.text, adapter_ranks, self.text_layers)
    }

    fn vision(&self) -> LayerStack {
        let adapter_ranks = self.layout.ranks(|part| Module::Vision(0, part));
        stack(&self.shape.vision, adapter_ranks, self.vision_layers)
    }

    /// The fewest layers to recompute so that the saved activations fit into the budget.
    pub(super) fn recomputed(&self, pass: PassSize) -> Recomputed {
        let Some(budget) = self.budget else { return Recomputed::default() };
        let (text, vision) = (self.text(), self.vision());
        let over = self.saved(pass, Recomputed::default()).saturating_sub(budget);
        let freed = |rows: u64, stack: &LayerStack| rows * freed_per_row(stack) * self.activation_bytes;
        let layers = |over: u64, freed: u64, layers: u64| match freed {
            0 => 0,
            freed => over.div_ceil(freed).min(layers),
        };
        let in_text = layers(over, freed(pass.tokens, &text), text.recomputable());
        let over = over.saturating_sub(in_text * freed(pass.tokens, &text));
        let in_vision = layers(over, freed(pass.patches, &vision), vision.layers);
        Recomputed { text: in_text as usize, vision: in_vision as usize }
    }

    fn saved(&self, pass: PassSize, recomputed: Recomputed) -> u64 {
        let (text, vision) = (self.text(), self.vision());
        let saved = pass.tokens * text.saved(recomputed.text as u64)
            + pass.patches * (vision.saved(recomputed.vision as u64) + self.patch_inputs as u64);
        saved.saturating_sub(unselected(pass, &text)) * self.activation_bytes
    }

    fn estimate(&self, pass: PassSize) -> MemoryEstimate {
        let recomputed = self.recomputed(pass);
        let (text, vision) = (self.text(), self.vision());
        // A recomputed layer takes the place of the text's last layer, which saved fewer rows.
        let recomputed_text = if recomputed.text > 0 { unselected(pass, &text) } else { 0 };
        let recomputed_vision = if recomputed.vision > 0 { freed_per_row(&vision) } else { 0 };
        let in_text = pass.tokens * text.widths.working() + recomputed_text;
        let in_vision = pass.patches * (vision.widths.working() + recomputed_vision);
        let vocabulary = self.shape.vocabulary as u64;
        let logits = (pass.trained_tokens * vocabulary).min(LOGITS.max(8 * vocabulary)) * LOGIT;
        MemoryEstimate {
            weights: self.weight_bytes,
            adapter: self.layout.parameters() as u64 * ADAPTER_BYTES,
            saved: self.saved(pass, recomputed),
            working: (in_text.max(in_vision) * self.activation_bytes).max(logits),
            recomputed_layers: recomputed.text + recomputed.vision,
            layers: self.text_layers + self.vision_layers,
        }
    }
}

fn stack(shape: &StackShape, adapter_ranks: usize, layers: usize) -> LayerStack {
    let widths = LayerWidths {
        hidden: shape.hidden as u64,
        query: shape.query_width() as u64,
        key: shape.key_width() as u64,
        feed_forward: shape.feed_forward as u64,
        heads: shape.heads as u64,
        adapter_ranks: adapter_ranks as u64,
    };
    LayerStack { widths, layers: layers as u64 }
}

/// Numbers per row that recomputing a layer frees.
fn freed_per_row(stack: &LayerStack) -> u64 {
    stack.widths.saved() - stack.widths.saved_if_recomputed()
}

/// Numbers that the last layer does not save, of rows whose output is not needed.
fn unselected(pass: PassSize, text: &LayerStack) -> u64 {
    let rows = pass.tokens.saturating_sub(pass.trained_tokens);
    rows * (text.widths.saved() - text.widths.saved_by_attention())
}
