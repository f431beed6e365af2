//! What a training step takes of the device's memory, by part, and what is computed again to fit.

use super::adapter::AdapterLayout;
use super::shape::{ModelShape, StackShape};
use crate::weights::Module;

/// Bytes by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    /// Frozen weights, as they are stored.
    pub weights: u64,
    /// Adapter, gradients and the optimizer's two moments.
    pub adapter: u64,
    /// Activations kept for the backward pass.
    pub kept: u64,
    /// The largest amount in use at once beside these.
    pub working: u64,
    /// Layers whose activations are computed again.
    pub recomputed_layers: usize,
    /// All layers that are differentiated.
    pub layers: usize,
}

impl MemoryEstimate {
    /// All parts together.
    pub fn total(&self) -> u64 {
        self.weights + self.adapter + self.kept + self.working
    }
}

/// How many layers, from the bottom, keep only what the rest is computed from again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Recomputed {
    pub(super) text: usize,
    pub(super) vision: usize,
}

/// The size of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct PassSize {
    pub(super) tokens: u64,
    pub(super) patches: u64,
    pub(super) trained_tokens: u64,
}

/// What the estimate is made of.
#[derive(Debug)]
pub(super) struct Sizes<'a> {
    pub(super) shape: &'a ModelShape,
    pub(super) layout: &'a AdapterLayout,
    pub(super) weight_bytes: u64,
    pub(super) budget: Option<u64>,
    /// Layers that are differentiated.
    pub(super) text_layers: usize,
    pub(super) vision_layers: usize,
}

/// Bytes of a number.
const NUMBER: u64 = 4;
/// Logits that exist at once, on the processor: see `kernels::cpu::loss`.
const LOGITS: u64 = 1 << 23;

/// Bytes that one row keeps in one layer.
struct Row {
    /// Everything.
    all: u64,
    /// The input and attention's output and sums, where the rest is computed again.
    remembered: u64,
    /// What is kept of rows whose output no one reads, in the last layer: keys and values are read all the same.
    attention: u64,
    /// What its backward pass takes beside: the gradients of the output, of `silu(gate) * up`, and that itself.
    working: u64,
}

impl Sizes<'_> {
    /// Bytes of a row: the input, queries, keys, values, attention's output and sums, the residual, gate and up, and what
    /// adapters keep.
    fn row(&self, stack: &StackShape, ranks: usize) -> Row {
        let StackShape { hidden, feed_forward, heads, .. } = *stack;
        let (queries, keys) = (stack.query_width(), stack.key_width());
        let attention = hidden + 2 * queries + 2 * keys + heads + ranks;
        let bytes = |numbers: usize| numbers as u64 * NUMBER;
        Row {
            all: bytes(attention + hidden + 2 * feed_forward),
            remembered: bytes(hidden + queries + heads),
            attention: bytes(attention),
            working: bytes(hidden + 2 * feed_forward),
        }
    }

    fn rows(&self) -> (Row, Row) {
        let text = self.row(&self.shape.text, self.layout.ranks(|part| Module::Text(0, part)));
        let vision = self.row(&self.shape.vision, self.layout.ranks(|part| Module::Vision(0, part)));
        (text, vision)
    }

    /// The fewest layers to compute again so that what is kept fits into the budget.
    pub(super) fn recomputed(&self, pass: PassSize) -> Recomputed {
        let Some(budget) = self.budget else { return Recomputed::default() };
        let (text, vision) = self.rows();
        let over = self.kept(pass, Recomputed::default()).saturating_sub(budget);
        let layers = |over: u64, saved: u64, layers: usize| match saved {
            0 => 0,
            saved => over.div_ceil(saved).min(layers as u64) as usize,
        };
        let saved_text = pass.tokens * (text.all - text.remembered);
        // All that the last layer keeps is there anyway when its backward pass starts.
        let in_text = layers(over, saved_text, self.text_layers.saturating_sub(1));
        let over = over.saturating_sub(in_text as u64 * saved_text);
        let in_vision = layers(over, pass.patches * (vision.all - vision.remembered), self.vision_layers);
        Recomputed { text: in_text, vision: in_vision }
    }

    fn kept(&self, pass: PassSize, recomputed: Recomputed) -> u64 {
        let (text, vision) = self.rows();
        let layers = |row: &Row, layers: usize, recomputed: usize| {
            (layers - recomputed) as u64 * row.all + recomputed as u64 * row.remembered
        };
        let kept = pass.tokens * layers(&text, self.text_layers, recomputed.text)
            + pass.patches * layers(&vision, self.vision_layers, recomputed.vision);
        kept.saturating_sub(self.unread(pass, &text))
    }

    /// What the last layer does not keep, of rows whose output no one reads.
    fn unread(&self, pass: PassSize, text: &Row) -> u64 {
        pass.tokens.saturating_sub(pass.trained_tokens) * (text.all - text.attention)
    }

    pub(super) fn estimate(&self, pass: PassSize) -> MemoryEstimate {
        let recomputed = self.recomputed(pass);
        let (text, vision) = self.rows();
        // What a layer computes again stands where the text's last layer kept its own, of fewer rows.
        let again_in_text = if recomputed.text > 0 { self.unread(pass, &text) } else { 0 };
        let again_in_vision = if recomputed.vision > 0 { vision.all - vision.remembered } else { 0 };
        let in_text = pass.tokens * text.working + again_in_text;
        let in_vision = pass.patches * (vision.working + again_in_vision);
        let vocabulary = self.shape.vocabulary as u64;
        let logits = (pass.trained_tokens * vocabulary).min(LOGITS.max(8 * vocabulary)) * NUMBER;
        MemoryEstimate {
            weights: self.weight_bytes,
            adapter: 4 * self.layout.parameters() as u64 * NUMBER,
            kept: self.kept(pass, recomputed),
            working: in_text.max(in_vision).max(logits),
            recomputed_layers: recomputed.text + recomputed.vision,
            layers: self.text_layers + self.vision_layers,
        }
    }
}
