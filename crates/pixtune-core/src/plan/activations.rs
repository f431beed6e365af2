//! What transformer layers save for the backward pass: the formula that `plan` and `train --dry-run` share.
//!
//! The backward pass is written by hand: norms and `silu(gate) * up` are always recomputed, and a layer can be recomputed
//! from its input and the output of its attention. All results count numbers per row; the caller multiplies them by the
//! bytes of a number. A row is a token of the text or a patch of an image.

/// The widths of one transformer layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerWidths {
    /// Width of the residual stream.
    pub hidden: u64,
    /// Query heads times their width.
    pub query: u64,
    /// Key heads times their width; values are as wide.
    pub key: u64,
    /// Inner width of the feed-forward part.
    pub feed_forward: u64,
    /// Query heads: attention saves the log-sum-exp of each.
    pub heads: u64,
    /// Sum of the ranks of the layer's adapters: each saves its input times its first matrix.
    pub adapter_ranks: u64,
}

impl LayerWidths {
    /// Numbers that a layer saves for a row: attention's, the input of the feed-forward part, gate and up.
    pub fn saved(&self) -> u64 {
        self.saved_by_attention() + self.hidden + 2 * self.feed_forward
    }

    /// Numbers that attention saves for a row: its input, queries, keys, values, output and log-sum-exp, and those of the
    /// adapters. A row whose output is never read, in the last layer, saves only these.
    pub fn saved_by_attention(&self) -> u64 {
        self.hidden + 2 * self.query + 2 * self.key + self.heads + self.adapter_ranks
    }

    /// Numbers that a layer saves for a row if the rest is recomputed: its input, and attention's output and log-sum-exp.
    pub fn saved_if_recomputed(&self) -> u64 {
        self.hidden + self.query + self.heads
    }

    /// Numbers that the backward pass of a layer uses for a row in addition: the gradients of the layer's output and of
    /// `silu(gate) * up`, and `silu(gate) * up` itself.
    pub fn working(&self) -> u64 {
        self.hidden + 2 * self.feed_forward
    }
}

/// Layers of the same widths, one above the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerStack {
    /// The widths of each.
    pub widths: LayerWidths,
    /// How many are differentiated.
    pub layers: u64,
}

impl LayerStack {
    /// Numbers that the stack saves for a row if the lowest `recomputed` layers are recomputed.
    pub fn saved(&self, recomputed: u64) -> u64 {
        let recomputed = recomputed.min(self.layers);
        (self.layers - recomputed) * self.widths.saved() + recomputed * self.widths.saved_if_recomputed()
    }

    /// Numbers that a row takes at most, at the start of the backward pass: those that the stack saves, and the working
    /// numbers of the last layer.
    pub fn peak(&self, recomputed: u64) -> u64 {
        self.saved(recomputed) + self.widths.working()
    }

    /// Layers that can be recomputed: what the last layer saves is needed first, so recomputing it would save nothing.
    pub fn recomputable(&self) -> u64 {
        self.layers.saturating_sub(1)
    }
}

/// Bytes per trained parameter with AdamW: the parameter, its gradient and two moments, each in float32.
pub const ADAPTER_BYTES: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: LayerWidths = LayerWidths {
        hidden: 5120,
        query: 4096,
        key: 1024,
        feed_forward: 14_336,
        heads: 32,
        adapter_ranks: 112,
    };

    #[test]
    fn layer_of_pixtral_12b() {
        assert_eq!(LAYER.saved(), 2 * (5120 + 4096 + 1024 + 14_336) + 32 + 112);
        assert_eq!(LAYER.saved_if_recomputed(), 5120 + 4096 + 32);
        assert_eq!(LAYER.saved() - LAYER.saved_by_attention(), LAYER.working());
    }

    #[test]
    fn recomputation_saves_the_difference_per_layer() {
        let stack = LayerStack { widths: LAYER, layers: 40 };
        assert_eq!(stack.saved(0), 40 * LAYER.saved());
        assert_eq!(stack.saved(0) - stack.saved(3), 3 * (LAYER.saved() - LAYER.saved_if_recomputed()));
        assert_eq!(stack.saved(99), 40 * LAYER.saved_if_recomputed());
        assert_eq!((stack.recomputable(), LayerStack { layers: 0, ..stack }.recomputable()), (39, 0));
    }
}
