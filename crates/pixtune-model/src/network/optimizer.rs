//! Gradients, and the steps of the optimizer.

use super::Network;
use crate::kernels::{AdamW, AdamWState, Kernels};
use crate::weights::Dtype;

/// The moments of AdamW for every trained parameter, and the steps they come from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OptimizerState {
    /// Number of steps.
    pub steps: u64,
    /// Running mean of the gradients, in the order of the flat buffers.
    pub first: Vec<f32>,
    /// Running mean of their squares.
    pub second: Vec<f32>,
}

impl<K: Kernels> Network<'_, K> {
    /// A copy of the gradients accumulated since [`Network::zero_gradients`].
    pub fn gradients(&self) -> Vec<f32> {
        self.model.kernels.download(&self.gradients)
    }

    /// Sets all gradients to zero: the start of a step.
    pub fn zero_gradients(&mut self) {
        self.model.kernels.fill(&mut self.gradients, 0.0);
    }

    /// Clips the gradients to `max_norm`, as `torch.nn.utils.clip_grad_norm_` does. Returns their norm before clipping.
    pub fn clip_gradients(&mut self, max_norm: Option<f64>) -> f64 {
        let norm = self.model.kernels.l2_norm(&self.gradients);
        // PyTorch adds 1e-6 to the norm and never scales up.
        if let Some(factor) = max_norm.map(|max| max / (norm + 1e-6)).filter(|factor| *factor < 1.0) {
            self.model.kernels.scale(&mut self.gradients, factor as f32);
        }
        norm
    }

    /// Takes one step of AdamW.
    pub fn adamw(&mut self, step: &AdamW) {
        self.steps += 1;
        let state = AdamWState {
            parameters: &mut self.model.parameters,
            first_moment: &mut self.first_moment,
            second_moment: &mut self.second_moment,
            decayed: self.model.layout.decayed,
        };
        self.model.kernels.adamw(step, self.steps, &self.gradients, state);
    }

    /// The state of the optimizer, for a checkpoint.
    pub fn optimizer_state(&self) -> OptimizerState {
        let [first, second] =
            [&self.first_moment, &self.second_moment].map(|moment| self.model.kernels.download(moment));
        OptimizerState { steps: self.steps, first, second }
    }

    /// Restores the state of the optimizer. Panics unless it is as long as the parameters.
    pub fn set_optimizer_state(&mut self, state: &OptimizerState) {
        let OptimizerState { steps, first, second } = state;
        assert!(first.len() == self.trained_parameters() && second.len() == self.trained_parameters());
        self.first_moment = self.model.kernels.upload(first, Dtype::F32);
        self.second_moment = self.model.kernels.upload(second, Dtype::F32);
        self.steps = *steps;
    }
}
