//! Pixtral's network, forward and backward, written out by hand: vision encoder, projector, text decoder.
//!
//! There is no graph and no tensor type. A [`Batch`] goes in; sums of the loss come out, and the gradients of the adapter
//! are added to one flat buffer. Everything that computes goes through [`Kernels`](crate::kernels::Kernels).

mod batch;
mod error;
mod lora;
mod memory;
mod shape;

pub use batch::{Batch, Label, Picture, Sequence};
pub use error::{BatchError, NetworkError};
pub use lora::{Linear, LoraConfig, Part, Targets};
pub use memory::MemoryEstimate;
pub use shape::{FrozenTensor, FrozenWeights, ModelShape, StackShape, Storage};

use std::ops::Range;
use std::path::Path;

use crate::kernels::Kernels;

/// What a network may use, beside its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkOptions {
    /// Bytes that activations kept for the backward pass may take; without it, all are kept. What does not fit is
    /// computed again, layer by layer, from the bottom.
    pub activation_budget: Option<u64>,
}

/// Sums over the labels of a batch. They add up over batches; divide by the tokens of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossSum {
    /// Sum of the cross-entropies.
    pub loss: f64,
    /// How many labels there were.
    pub trained_tokens: usize,
    /// How many were the most likely token.
    pub correct_tokens: usize,
}

impl std::ops::AddAssign for LossSum {
    fn add_assign(&mut self, other: LossSum) {
        self.loss += other.loss;
        self.trained_tokens += other.trained_tokens;
        self.correct_tokens += other.correct_tokens;
    }
}

/// How one batch counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// What the summed loss is multiplied with before it is differentiated: one over the trained tokens of the whole step,
    /// so that a step is the same however it is cut into batches.
    pub scale: f32,
    /// Names the dropout masks; another number for every batch of a run. Without dropout it has no effect.
    pub dropout_seed: u64,
}

/// One trained tensor, as PEFT names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterTensor {
    /// `base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight`.
    pub name: String,
    /// `[rank, inputs]` of A, `[outputs, rank]` of B, row by row.
    pub shape: [usize; 2],
    /// Where it stands in the flat buffers.
    pub range: Range<usize>,
}

/// The moments of AdamW for every trained number, and how many steps made them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OptimizerState {
    /// Steps taken.
    pub steps: u64,
    /// Running mean of the gradients, in the order of the flat buffers.
    pub first: Vec<f32>,
    /// Running mean of their squares.
    pub second: Vec<f32>,
}

/// One step of AdamW with decoupled weight decay, as `torch.optim.AdamW` takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of the parameters that is taken away, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { learning_rate: 1e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 }
    }
}

/// A model with an adapter, on one device.
#[derive(Debug)]
pub struct Network<K: Kernels> {
    kernels: K,
    shape: ModelShape,
    tensors: Vec<AdapterTensor>,
}

impl<K: Kernels> Network<K> {
    /// Loads frozen weights and makes a fresh adapter. Every tensor is checked against the configuration.
    pub fn load(
        kernels: K,
        weights: &impl FrozenWeights,
        lora: &LoraConfig,
        options: NetworkOptions,
    ) -> Result<Network<K>, NetworkError> {
        lora.check()?;
        let _ = options;
        Ok(Network { kernels, shape: weights.shape().clone(), tensors: Vec::new() })
    }

    /// The sizes of the model.
    pub fn shape(&self) -> &ModelShape {
        &self.shape
    }

    /// The device.
    pub fn kernels(&self) -> &K {
        &self.kernels
    }

    /// The loss of a batch, without dropout and without gradients: for validation.
    pub fn forward_loss(&self, batch: &Batch) -> Result<LossSum, NetworkError> {
        let _ = batch;
        unfinished()
    }

    /// The loss of a batch; adds its gradients to those that are there.
    pub fn forward_backward(&mut self, batch: &Batch, pass: Pass) -> Result<LossSum, NetworkError> {
        let _ = (batch, pass);
        unfinished()
    }

    /// Logits of these rows of a batch, `[rows, vocabulary]`.
    pub fn logits(&self, batch: &Batch, rows: &[u32]) -> Result<Vec<f32>, NetworkError> {
        let _ = (batch, rows);
        unfinished()
    }

    /// The trained tensors, in the order of the flat buffers.
    pub fn adapter_tensors(&self) -> &[AdapterTensor] {
        &self.tensors
    }

    /// How many numbers are trained.
    pub fn trained_parameters(&self) -> usize {
        self.tensors.last().map_or(0, |tensor| tensor.range.end)
    }

    /// A copy of all trained numbers.
    pub fn parameters(&self) -> Vec<f32> {
        Vec::new()
    }

    /// Sets all trained numbers. Panics unless there are [`Network::trained_parameters`] of them.
    pub fn set_parameters(&mut self, parameters: &[f32]) {
        assert_eq!(parameters.len(), self.trained_parameters());
    }

    /// A copy of the gradients added up since [`Network::zero_gradients`].
    pub fn gradients(&self) -> Vec<f32> {
        Vec::new()
    }

    /// Starts a step.
    pub fn zero_gradients(&mut self) {}

    /// The norm of all gradients together. They are scaled down to `max_norm` where they are longer, as
    /// `torch.nn.utils.clip_grad_norm_` does.
    pub fn clip_gradients(&mut self, max_norm: Option<f64>) -> f64 {
        let _ = max_norm;
        0.0
    }

    /// Moves the parameters against the gradients.
    pub fn adamw(&mut self, step: &AdamW) {
        let _ = step;
    }

    /// The optimiser's memory, for a checkpoint.
    pub fn optimizer_state(&self) -> OptimizerState {
        OptimizerState::default()
    }

    /// Puts the optimiser's memory back. Panics unless it is as long as the parameters.
    pub fn set_optimizer_state(&mut self, state: &OptimizerState) {
        assert_eq!(state.first.len(), self.trained_parameters());
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors`, in names of transformers 4.52 and later. `base` is put
    /// down as the base model's name.
    pub fn save_adapter(&self, folder: &Path, base: &str) -> Result<(), NetworkError> {
        let _ = (folder, base);
        unfinished()
    }

    /// Reads the tensors of an adapter made for these targets and this rank, in PEFT's names of any version.
    pub fn load_adapter(&mut self, folder: &Path) -> Result<(), NetworkError> {
        let _ = folder;
        unfinished()
    }

    /// What a pass over a batch of this size takes, by part.
    pub fn memory(&self, tokens: usize, patches: usize, trained_tokens: usize) -> MemoryEstimate {
        let _ = (tokens, patches, trained_tokens);
        MemoryEstimate::default()
    }
}

fn unfinished<T>() -> Result<T, NetworkError> {
    Err(NetworkError::Configuration { reason: "the network is not finished".to_owned() })
}
