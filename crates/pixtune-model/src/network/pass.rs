//! Passes over a batch: losses, gradients, logits.

use super::batch::{Batch, Image};
use super::decoder::Labels;
use super::device_batch::{DeviceBatch, RowSelection};
use super::error::{BatchError, NetworkError};
use super::layer::InputGradient;
use super::memory::PassSize;
use super::scope::Scope;
use super::stack::Save;
use super::{Model, Network};
use crate::kernels::{DropoutMask, Kernels, TokenLoss};

/// Sums over the labels of a batch. They add up over batches; divide by the trained tokens of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossSum {
    /// Sum of the cross-entropies.
    pub loss: f64,
    /// Number of labels.
    pub trained_tokens: usize,
    /// Number of labels that were the most likely token.
    pub correct_tokens: usize,
}

impl std::ops::AddAssign for LossSum {
    fn add_assign(&mut self, other: LossSum) {
        self.loss += other.loss;
        self.trained_tokens += other.trained_tokens;
        self.correct_tokens += other.correct_tokens;
    }
}

/// How the gradients of one batch are computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// The factor of the summed loss: one over the trained tokens of the whole step, so that a step is the same however it is
    /// cut into batches.
    pub scale: f32,
    /// Seeds the dropout masks; a different number for every batch of a run. It has no effect without dropout.
    pub dropout_seed: u64,
}

impl<K: Kernels> Network<'_, K> {
    /// The loss of a batch, without dropout and without gradients: for validation.
    pub fn forward_loss(&self, batch: &Batch) -> Result<LossSum, NetworkError> {
        Ok(sum(&self.token_losses(batch)?))
    }

    /// The loss of every label of a batch, in their order, without dropout.
    pub fn token_losses(&self, batch: &Batch) -> Result<Vec<TokenLoss>, NetworkError> {
        let model = &self.model;
        model.check_batch(batch)?;
        if batch.labels.is_empty() {
            return Ok(Vec::new());
        }
        let losses = model.kernels.together(|| model.losses(batch));
        model.kernels.check()?;
        Ok(losses)
    }

    /// The loss of a batch; adds its gradients to the accumulated ones.
    pub fn forward_backward(&mut self, batch: &Batch, pass: Pass) -> Result<LossSum, NetworkError> {
        let Network { model, gradients, .. } = self;
        model.check_batch(batch)?;
        if batch.labels.is_empty() {
            return Ok(LossSum::default());
        }
        let losses = model.kernels.together(|| model.losses_and_gradients(batch, pass, gradients));
        model.kernels.check()?;
        Ok(sum(&losses))
    }

    /// Logits of these rows of a batch, `[rows, vocabulary]`.
    pub fn logits(&self, batch: &Batch, rows: &[u32]) -> Result<Vec<f32>, NetworkError> {
        let model = &self.model;
        model.check_batch(batch)?;
        if let Some(&row) = rows.iter().find(|&&row| row as usize >= batch.tokens()) {
            return Err(NetworkError::Row { row, rows: batch.tokens() });
        }
        let scope = model.scope(None);
        let on_device = DeviceBatch::new(&model.kernels, &model.shape, batch, 0);
        let selection = RowSelection::new(&model.kernels, rows);
        let x = model.embed(&scope, batch, &on_device);
        let (x, _) = model.decoder.forward(&scope, &on_device, (x, &selection), Save::Nothing);
        let logits = model.decoder.logits(&scope, (rows.len(), &x));
        model.kernels.check()?;
        Ok(model.kernels.download(&logits))
    }
}

impl<K: Kernels> Model<'_, K> {
    fn losses(&self, batch: &Batch) -> Vec<TokenLoss> {
        let scope = self.scope(None);
        let on_device = DeviceBatch::new(&self.kernels, &self.shape, batch, 0);
        let labels = self.labels(batch);
        let x = self.embed(&scope, batch, &on_device);
        let (x, _) = self.decoder.forward(&scope, &on_device, (x, &labels.rows), Save::Nothing);
        self.decoder.losses(&scope, &x, &labels)
    }

    fn losses_and_gradients(&self, batch: &Batch, pass: Pass, gradients: &mut K::Buffer) -> Vec<TokenLoss> {
        let recomputed = self.sizes().recomputed(PassSize::of(batch));
        let mask = DropoutMask { rate: self.lora.dropout, seed: pass.dropout_seed };
        let scope = self.scope((mask.rate > 0.0).then_some(mask));
        let on_device = DeviceBatch::new(&self.kernels, &self.shape, batch, 0);
        let labels = self.labels(batch);
        let (patches, saved_vision) = match &on_device.images {
            Some(images) => {
                let (patches, saved) =
                    self.vision.forward_saving(&scope, &batch.images, &images.patches, recomputed.vision);
                (Some(patches), saved)
            }
            None => (None, None),
        };
        let x = self.decoder.embed(&scope, &on_device, patches.as_ref());
        drop(patches);
        let input_gradient = match on_device.images {
            Some(_) => self.vision.output_gradient(),
            None => InputGradient::Unneeded,
        };
        let save = Save::ForBackward { input_gradient, recomputed: recomputed.text };
        let (x, saved) = self.decoder.forward(&scope, &on_device, (x, &labels.rows), save);
        let (losses, x_gradient) = self.decoder.losses_backward(&scope, gradients, &x, &labels, pass.scale);
        drop(x);
        let rows = (&on_device, &labels.rows);
        let embedding_gradient =
            self.decoder.backward(&scope, gradients, rows, (saved, x_gradient), input_gradient);
        if let (Some(gradient), Some(saved), Some(images)) =
            (embedding_gradient, saved_vision, &on_device.images)
        {
            let hidden = self.shape.text.hidden;
            let mut patch_gradient = self.kernels.activations(images.text_rows.count * hidden);
            self.kernels.gather_rows(&gradient, &images.text_rows.indices, hidden, &mut patch_gradient);
            drop(gradient);
            self.vision.backward(&scope, gradients, &images.patches, (saved, &patch_gradient));
        }
        losses
    }

    pub(super) fn scope(&self, dropout: Option<DropoutMask>) -> Scope<'_, K> {
        Scope { kernels: &self.kernels, parameters: &self.parameters, dropout }
    }

    /// Embeddings of tokens and images, without gradients.
    pub(super) fn embed(&self, scope: &Scope<K>, batch: &Batch, on_device: &DeviceBatch<K>) -> K::Buffer {
        let images = on_device.images.as_ref();
        let patches = images.map(|images| self.vision.forward(scope, &batch.images, &images.patches));
        self.decoder.embed(scope, on_device, patches.as_ref())
    }

    fn labels(&self, batch: &Batch) -> Labels<K> {
        let (rows, targets): (Vec<u32>, Vec<u32>) =
            batch.labels.iter().map(|label| (label.row, label.target)).unzip();
        Labels { rows: RowSelection::new(&self.kernels, &rows), targets: self.kernels.indices(&targets) }
    }

    /// Rejects a batch that would read outside a table.
    pub(super) fn check_batch(&self, batch: &Batch) -> Result<(), NetworkError> {
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
            let merge = self.shape.merge;
            if image.merge != merge || !rows.is_multiple_of(merge) || !columns.is_multiple_of(merge) {
                return Err(NetworkError::ImageMerge {
                    image: index,
                    rows,
                    columns,
                    found: image.merge,
                    merge,
                });
            }
            let found = image.pixels.len();
            let expected = rows * columns * self.shape.channels * self.shape.patch.pow(2);
            if found != expected {
                return Err(NetworkError::ImageSize { image: index, found, expected, rows, columns });
            }
        }
        // Numbers of patches are indexed with 32 bits.
        let numbers = batch.patches().saturating_mul(self.shape.vision.hidden);
        if u32::try_from(numbers).is_err() {
            return Err(NetworkError::from(BatchError::TooLong { tokens: numbers }));
        }
        Ok(())
    }
}

fn sum(losses: &[TokenLoss]) -> LossSum {
    LossSum {
        loss: losses.iter().map(|label| f64::from(label.loss)).sum(),
        trained_tokens: losses.len(),
        correct_tokens: losses.iter().filter(|label| label.correct).count(),
    }
}
