//! What a training step takes of the device's memory, by part.

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
    /// All layers, vision encoder included where it is trained through.
    pub layers: usize,
}

impl MemoryEstimate {
    /// All parts together.
    pub fn total(&self) -> u64 {
        self.weights + self.adapter + self.kept + self.working
    }
}
