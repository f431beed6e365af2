//! What a training step takes of the device's memory, by part, and what is computed again to fit.

use super::adapter::AdapterLayout;
use super::shape::{ModelShape, StackShape};
use crate::weights::Module;

/// Bytes by part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    /// Frozen weights, as they are stored.
    pub weights: u64,
    /// Adapter, gradients and the optimiser's two moments.
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

/// How many layers, from the bottom, keep only their input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Recomputed {
    pub(super) text: usize,
    pub(super) vision: usize,
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
    all: u64,
    input: u64,
}

impl Sizes<'_> {
    /// Bytes of a row: the input, queries, keys, values, attention's output and sums, the residual, gate and up, and what
    /// adapters keep.
    fn row(&self, stack: &StackShape, ranks: usize) -> Row {
        let StackShape { hidden, feed_forward, heads, .. } = *stack;
        let (queries, keys) = (stack.query_width(), stack.key_width());
        let numbers = 2 * hidden + 2 * queries + 2 * keys + heads + 2 * feed_forward + ranks;
        Row { all: numbers as u64 * NUMBER, input: hidden as u64 * NUMBER }
    }

    fn rows(&self) -> (Row, Row) {
        let text = self.row(&self.shape.text, self.layout.ranks(|part| Module::Text(0, part)));
        let vision = self.row(&self.shape.vision, self.layout.ranks(|part| Module::Vision(0, part)));
        (text, vision)
    }

    /// The fewest layers to compute again so that what is kept fits into the budget.
    pub(super) fn recomputed(&self, tokens: usize, patches: usize) -> Recomputed {
        let Some(budget) = self.budget else { return Recomputed::default() };
        let (text, vision) = self.rows();
        let (tokens, patches) = (tokens as u64, patches as u64);
        let over = self.kept(tokens, patches, Recomputed::default()).saturating_sub(budget);
        let layers = |over: u64, saved: u64, layers: usize| match saved {
            0 => 0,
            saved => over.div_ceil(saved).min(layers as u64) as usize,
        };
        let saved_text = tokens * (text.all - text.input);
        let in_text = layers(over, saved_text, self.text_layers);
        let over = over.saturating_sub(in_text as u64 * saved_text);
        let in_vision = layers(over, patches * (vision.all - vision.input), self.vision_layers);
        Recomputed { text: in_text, vision: in_vision }
    }

    fn kept(&self, tokens: u64, patches: u64, recomputed: Recomputed) -> u64 {
        let (text, vision) = self.rows();
        let layers = |row: &Row, layers: usize, recomputed: usize| {
            (layers - recomputed) as u64 * row.all + recomputed as u64 * row.input
        };
        tokens * layers(&text, self.text_layers, recomputed.text)
            + patches * layers(&vision, self.vision_layers, recomputed.vision)
    }

    pub(super) fn estimate(&self, tokens: usize, patches: usize, trained_tokens: usize) -> MemoryEstimate {
        let recomputed = self.recomputed(tokens, patches);
        let (text, vision) = self.rows();
        let (rows, pictures) = (tokens as u64, patches as u64);
        // A layer's backward pass holds about as much again as its forward pass kept: a gradient for each.
        let layer = (rows * text.all).max(pictures * vision.all);
        let vocabulary = self.shape.vocabulary as u64;
        let logits = (trained_tokens as u64 * vocabulary).min(LOGITS.max(8 * vocabulary)) * NUMBER;
        MemoryEstimate {
            weights: self.weight_bytes,
            adapter: 4 * self.layout.parameters() as u64 * NUMBER,
            kept: self.kept(rows, pictures, recomputed),
            working: layer + logits + rows * 2 * self.shape.text.hidden as u64 * NUMBER,
            recomputed_layers: recomputed.text + recomputed.vision,
            layers: self.text_layers + self.vision_layers,
        }
    }
}
