//! The device memory of a training step, by part, and which layers are recomputed to fit a budget. What a layer saves per row
//! is the formula of [`pixtune_core::plan`], which `pixtune plan` uses too.

use pixtune_core::plan::{ADAPTER_BYTES, LayerStack, LayerWidths};

use super::adapter_layout::AdapterLayout;
use super::batch::Batch;
use super::layer::InputGradient;
use super::region::Region;
use super::shape::{ModelShape, StackShape};
use super::{Model, Network};
use crate::kernels::{Kernels, WeightMemory};
use crate::weights::Module;

/// Bytes by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    /// Frozen weights.
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
    pub(super) fn sizes(&self) -> Sizes<'_, K> {
        let text_layers = self.decoder.stack.first_trained(self.vision.output_gradient());
        Sizes {
            kernels: &self.kernels,
            shape: &self.shape,
            layout: &self.layout,
            activation_bytes: self.kernels.activation_dtype().size() as u64,
            weights: self.weight_memory,
            budget: self.options.activation_budget,
            free_memory: self.free_memory,
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
pub(super) struct Sizes<'a, K> {
    kernels: &'a K,
    shape: &'a ModelShape,
    layout: &'a AdapterLayout,
    /// Bytes of one number of an activation.
    activation_bytes: u64,
    weights: WeightMemory,
    budget: Option<u64>,
    free_memory: Option<u64>,
    /// Layers with a backward pass.
    text_layers: usize,
    vision_layers: usize,
    /// Numbers saved of a patch before the first layer of the vision encoder.
    patch_inputs: usize,
}

/// The share of the free memory of a device that is not planned with: allocations are rounded up, and other processes allocate too.
const RESERVE: f64 = 0.05;

impl<K: Kernels> Sizes<'_, K> {
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
        let Some(budget) = self.budget.or_else(|| self.available(pass)) else { return Recomputed::default() };
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

    /// The memory of the device that is left for saved activations.
    fn available(&self, pass: PassSize) -> Option<u64> {
        let every = Recomputed { text: self.text_layers, vision: self.vision_layers };
        let free = self.free_memory? as f64 * (1.0 - RESERVE);
        Some((free as u64).saturating_sub(self.working(pass, every)))
    }

    fn saved(&self, pass: PassSize, recomputed: Recomputed) -> u64 {
        let (text, vision) = (self.text(), self.vision());
        let saved = pass.tokens * text.saved(recomputed.text as u64)
            + pass.patches * (vision.saved(recomputed.vision as u64) + self.patch_inputs as u64);
        saved.saturating_sub(unselected(pass, &text)) * self.activation_bytes
    }

    fn estimate(&self, pass: PassSize) -> MemoryEstimate {
        let recomputed = self.recomputed(pass);
        MemoryEstimate {
            weights: self.weights.held,
            adapter: self.layout.parameters() as u64 * ADAPTER_BYTES,
            saved: self.saved(pass, recomputed),
            working: self.working(pass, recomputed),
            recomputed_layers: recomputed.text + recomputed.vision,
            layers: self.text_layers + self.vision_layers,
        }
    }

    /// The peak of what is in use besides weights and what is saved.
    fn working(&self, pass: PassSize, recomputed: Recomputed) -> u64 {
        let (text, vision) = (self.text(), self.vision());
        // A recomputed layer takes the place of the text's last layer, which saved fewer rows.
        let recomputed_text = if recomputed.text > 0 { unselected(pass, &text) } else { 0 };
        let recomputed_vision = if recomputed.vision > 0 { freed_per_row(&vision) } else { 0 };
        let in_text = pass.tokens * text.widths.working() + recomputed_text;
        let in_vision = pass.patches * (vision.widths.working() + recomputed_vision);
        let logits = self.kernels.cross_entropy_memory(pass.trained_tokens as usize, self.shape.vocabulary);
        (in_text.max(in_vision) * self.activation_bytes + self.weights.in_use).max(logits)
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
