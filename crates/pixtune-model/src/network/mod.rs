//! Pixtral's network, forward and backward, written out by hand: vision encoder, projector, text decoder.
//!
//! There is no graph and no tensor type. A [`Batch`] goes in; sums of the loss come out, and the gradients of the adapter
//! are added to one flat buffer. Everything that computes goes through [`Kernels`].

mod adapter;
mod adapter_files;
mod batch;
mod cache;
mod decoder;
mod error;
mod frozen;
mod layer;
mod linear;
mod lora;
mod memory;
mod positions;
mod shape;
mod stack;
mod vision;

pub(crate) use adapter::SplitMix;
pub use batch::{Batch, Image, Label, Sequence};
pub use cache::Cache;
pub use error::{BatchError, NetworkError};
pub use frozen::{FrozenTensor, FrozenWeights, Storage};
pub use lora::{Linear, LoraConfig, Part, Targets};
pub use memory::MemoryEstimate;
pub use shape::{ModelShape, StackShape};

use std::ops::Range;

use adapter::AdapterLayout;
use decoder::Decoder;
use frozen::Loader;
use layer::Below;
use linear::Scope;
use memory::{PassSize, Sizes};
use vision::Vision;

use crate::kernels::{AdamWState, DropoutMask, Kernels, TokenLoss};

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
pub struct Network<'w, K: Kernels> {
    kernels: K,
    shape: ModelShape,
    options: NetworkOptions,
    vision: Vision<'w, K>,
    decoder: Decoder<'w, K>,
    layout: AdapterLayout,
    dropout: f32,
    lora: LoraConfig,
    weight_bytes: u64,
    parameters: K::Buffer,
    gradients: K::Buffer,
    first_moment: K::Buffer,
    second_moment: K::Buffer,
    steps: u64,
}

impl<'w, K: Kernels> Network<'w, K> {
    /// Loads frozen weights and makes a fresh adapter. Every tensor is checked against the configuration.
    pub fn load(
        kernels: K,
        weights: &'w impl FrozenWeights,
        lora: &LoraConfig,
        options: NetworkOptions,
    ) -> Result<Network<'w, K>, NetworkError> {
        lora.check()?;
        Network::build(kernels, weights, lora, options)
    }

    /// Loads frozen weights alone: nothing is trained.
    pub fn load_frozen(kernels: K, weights: &'w impl FrozenWeights) -> Result<Network<'w, K>, NetworkError> {
        let nothing = LoraConfig { targets: Targets::from_iter([]), ..LoraConfig::default() };
        Network::build(kernels, weights, &nothing, NetworkOptions::default())
    }

    fn build(
        kernels: K,
        weights: &'w impl FrozenWeights,
        lora: &LoraConfig,
        options: NetworkOptions,
    ) -> Result<Network<'w, K>, NetworkError> {
        let shape = weights.shape()?;
        shape.check()?;
        let layout = AdapterLayout::new(&shape, lora);
        let mut loader = Loader { weights, kernels: &kernels, bytes: 0 };
        let vision = Vision::load(&mut loader, &shape, |module| layout.adapter(module))?;
        let decoder = Decoder::load(&mut loader, &shape, |module| layout.adapter(module))?;
        let weight_bytes = loader.bytes;
        let zeros = || kernels.upload(&vec![0.0; layout.parameters()]);
        let parameters = kernels.upload(&layout.fresh(lora.seed));
        let (gradients, first_moment, second_moment) = (zeros(), zeros(), zeros());
        kernels.check()?;
        Ok(Network {
            shape,
            options,
            vision,
            decoder,
            layout,
            dropout: lora.dropout,
            lora: lora.clone(),
            weight_bytes,
            parameters,
            gradients,
            first_moment,
            second_moment,
            steps: 0,
            kernels,
        })
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
        Ok(sum(&self.token_losses(batch)?))
    }

    /// The loss of every label of a batch, in their order, without dropout.
    pub fn token_losses(&self, batch: &Batch) -> Result<Vec<TokenLoss>, NetworkError> {
        self.check_batch(batch)?;
        let (rows, targets) = labels(batch);
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let scope = self.scope(None);
        let losses = self.kernels.together(|| {
            let x = self.decoder.embed(&scope, batch, self.images(&scope, batch).as_ref());
            let (x, _) = self.decoder.forward(&scope, batch, (x, &rows), stack::Keep::Nothing);
            self.decoder.losses(&scope, &x, &targets)
        });
        self.kernels.check()?;
        Ok(losses)
    }

    /// The loss of a batch; adds its gradients to those that are there.
    pub fn forward_backward(&mut self, batch: &Batch, pass: Pass) -> Result<LossSum, NetworkError> {
        self.check_batch(batch)?;
        let (rows, targets) = labels(batch);
        if rows.is_empty() {
            return Ok(LossSum::default());
        }
        let recomputed = self.recomputed(batch);
        let mask = DropoutMask { rate: self.dropout, seed: pass.dropout_seed };
        let dropout = (self.dropout > 0.0).then_some(mask);
        let scope = Scope { kernels: &self.kernels, parameters: &self.parameters, dropout };
        let gradients = &mut self.gradients;
        let losses = self.kernels.together(|| {
            let has_images = !batch.images.is_empty();
            let below = if has_images { self.vision.below() } else { Below::Frozen };
            let (images, vision_trace) = match has_images {
                true => {
                    let (images, trace) = self.vision.forward(&scope, &batch.images, Some(recomputed.vision));
                    (Some(images), trace)
                }
                false => (None, None),
            };
            let x = self.decoder.embed(&scope, batch, images.as_ref());
            drop(images);
            let keep = stack::Keep::ForBackward { below, recomputed: recomputed.text };
            let (x, trace) = self.decoder.forward(&scope, batch, (x, &rows), keep);
            let (losses, x_gradient) = self.decoder.losses_backward(&scope, &x, &targets, pass.scale);
            drop(x);
            let x_gradient =
                self.decoder.backward(&scope, gradients, batch, (trace, x_gradient), (&rows, below));
            if let (Some(x_gradient), Some(trace)) = (x_gradient, vision_trace) {
                let hidden = self.shape.text.hidden;
                let mut image_gradient = self.kernels.buffer(batch.patches() * hidden);
                self.kernels.gather_rows(&x_gradient, &batch.image_rows, hidden, &mut image_gradient);
                drop(x_gradient);
                self.vision.backward(&scope, gradients, trace, &image_gradient);
            }
            losses
        });
        self.kernels.check()?;
        Ok(sum(&losses))
    }

    /// Logits of these rows of a batch, `[rows, vocabulary]`.
    pub fn logits(&self, batch: &Batch, rows: &[u32]) -> Result<Vec<f32>, NetworkError> {
        self.check_batch(batch)?;
        if let Some(&row) = rows.iter().find(|&&row| row as usize >= batch.tokens()) {
            return Err(NetworkError::Row { row, rows: batch.tokens() });
        }
        let scope = self.scope(None);
        let x = self.decoder.embed(&scope, batch, self.images(&scope, batch).as_ref());
        let (x, _) = self.decoder.forward(&scope, batch, (x, rows), stack::Keep::Nothing);
        let logits = self.decoder.logits(&scope, &x, rows.len());
        self.kernels.check()?;
        Ok(self.kernels.download(&logits))
    }

    fn scope(&self, dropout: Option<DropoutMask>) -> Scope<'_, K> {
        Scope { kernels: &self.kernels, parameters: &self.parameters, dropout }
    }

    /// The vectors of all images, without gradients.
    fn images(&self, scope: &Scope<K>, batch: &Batch) -> Option<K::Buffer> {
        let any = !batch.images.is_empty();
        any.then(|| self.vision.forward(scope, &batch.images, None).0)
    }

    /// Refuses what would read beyond a table.
    fn check_batch(&self, batch: &Batch) -> Result<(), NetworkError> {
        let vocabulary = self.shape.vocabulary;
        if let Some(&id) = batch.ids.iter().find(|&&id| id as usize >= vocabulary) {
            return Err(NetworkError::TokenId { id, vocabulary });
        }
        for (index, image) in batch.images.iter().enumerate() {
            let Image { rows, columns, .. } = *image;
            let limit = self.shape.image_side;
            if rows == 0 || columns == 0 || rows > limit || columns > limit {
                return Err(NetworkError::ImageGrid { image: index, rows, columns, limit });
            }
            let (found, expected) =
                (image.pixels.len(), rows * columns * self.shape.channels * self.shape.patch.pow(2));
            if found != expected {
                return Err(NetworkError::ImageSize { image: index, found, expected, rows, columns });
            }
        }
        Ok(())
    }

    /// The trained tensors, in the order of the flat buffers.
    pub fn adapter_tensors(&self) -> &[AdapterTensor] {
        &self.layout.tensors
    }

    /// How many numbers are trained.
    pub fn trained_parameters(&self) -> usize {
        self.layout.parameters()
    }

    /// A copy of all trained numbers.
    pub fn parameters(&self) -> Vec<f32> {
        self.kernels.download(&self.parameters)
    }

    /// Sets all trained numbers. Panics unless there are [`Network::trained_parameters`] of them.
    pub fn set_parameters(&mut self, parameters: &[f32]) {
        assert_eq!(parameters.len(), self.trained_parameters());
        self.parameters = self.kernels.upload(parameters);
    }

    /// A copy of the gradients added up since [`Network::zero_gradients`].
    pub fn gradients(&self) -> Vec<f32> {
        self.kernels.download(&self.gradients)
    }

    /// Starts a step.
    pub fn zero_gradients(&mut self) {
        self.kernels.fill(&mut self.gradients, 0.0);
    }

    /// The norm of all gradients together. They are scaled down to `max_norm` where they are longer, as
    /// `torch.nn.utils.clip_grad_norm_` does.
    pub fn clip_gradients(&mut self, max_norm: Option<f64>) -> f64 {
        let norm = self.kernels.norm(&self.gradients);
        // PyTorch adds 1e-6 to the norm and never scales up.
        if let Some(factor) = max_norm.map(|max| max / (norm + 1e-6)).filter(|factor| *factor < 1.0) {
            self.kernels.scale(&mut self.gradients, factor as f32);
        }
        norm
    }

    /// Moves the parameters against the gradients.
    pub fn adamw(&mut self, step: &AdamW) {
        self.steps += 1;
        let state = AdamWState {
            parameters: &mut self.parameters,
            first: &mut self.first_moment,
            second: &mut self.second_moment,
        };
        self.kernels.adamw(step, self.steps, &self.gradients, state);
    }

    /// The optimizer's memory, for a checkpoint.
    pub fn optimizer_state(&self) -> OptimizerState {
        let [first, second] =
            [&self.first_moment, &self.second_moment].map(|moment| self.kernels.download(moment));
        OptimizerState { steps: self.steps, first, second }
    }

    /// Puts the optimizer's memory back. Panics unless it is as long as the parameters.
    pub fn set_optimizer_state(&mut self, state: &OptimizerState) {
        let OptimizerState { steps, first, second } = state;
        assert!(first.len() == self.trained_parameters() && second.len() == self.trained_parameters());
        self.first_moment = self.kernels.upload(first);
        self.second_moment = self.kernels.upload(second);
        self.steps = *steps;
    }

    /// What a pass over a batch of this size takes, by part.
    pub fn memory(&self, tokens: usize, patches: usize, trained_tokens: usize) -> MemoryEstimate {
        let [tokens, patches, trained_tokens] = [tokens, patches, trained_tokens].map(|count| count as u64);
        self.sizes().estimate(PassSize { tokens, patches, trained_tokens })
    }

    fn recomputed(&self, batch: &Batch) -> memory::Recomputed {
        let [tokens, patches, trained_tokens] =
            [batch.tokens(), batch.patches(), batch.trained_tokens()].map(|count| count as u64);
        self.sizes().recomputed(PassSize { tokens, patches, trained_tokens })
    }

    fn sizes(&self) -> Sizes<'_> {
        let differentiates_vision = self.vision.differentiates(Part::Vision);
        Sizes {
            shape: &self.shape,
            layout: &self.layout,
            weight_bytes: self.weight_bytes,
            budget: self.options.activation_budget,
            text_layers: self.shape.text.layers - self.decoder.stack.first_trained(self.vision.below()),
            vision_layers: match differentiates_vision {
                true => self.shape.vision.layers - self.vision.stack.first_trained(Below::Frozen),
                false => 0,
            },
        }
    }
}

/// The rows with a label, and what they should predict.
fn labels(batch: &Batch) -> (Vec<u32>, Vec<u32>) {
    batch.labels.iter().map(|label| (label.row, label.target)).unzip()
}

fn sum(losses: &[TokenLoss]) -> LossSum {
    LossSum {
        loss: losses.iter().map(|label| f64::from(label.loss)).sum(),
        trained_tokens: losses.len(),
        correct_tokens: losses.iter().filter(|label| label.correct).count(),
    }
}
