//! The settings and state of the optimizer.

use super::Kernels;

/// One step of AdamW with decoupled weight decay, as `torch.optim.AdamW` takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub epsilon: f64,
    /// Weight decay; the parameters shrink by this times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { learning_rate: 1e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 }
    }
}

/// The buffers that a step of AdamW updates, all in f32.
#[derive(Debug)]
pub struct AdamWState<'a, K: Kernels> {
    /// The parameters.
    pub parameters: &'a mut K::Buffer,
    /// Running mean of the gradients.
    pub first_moment: &'a mut K::Buffer,
    /// Running mean of their squares.
    pub second_moment: &'a mut K::Buffer,
    /// How many numbers have weight decay, from the first: biases and norms, which come last, have none.
    pub decayed: usize,
}
