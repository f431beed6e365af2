//! The text decoder: embeddings in, losses or logits out.

use super::batch::Batch;
use super::error::NetworkError;
use super::frozen::{FrozenWeights, Loader};
use super::layer::{Below, Layer, Place};
use super::linear::{Adapter, Scope};
use super::positions;
use super::shape::ModelShape;
use super::stack::{Keep, Stack, Trace, segments};
use crate::kernels::{Angles, Head, Kernels, Mask, NormBackward, Segment, TokenLoss, Write};
use crate::weights::Module;

/// The text decoder.
#[derive(Debug)]
pub(super) struct Decoder<'w, K: Kernels> {
    shape: ModelShape,
    embedding: K::Weight<'w>,
    pub(super) stack: Stack<'w, K>,
    norm: K::Buffer,
    /// None where the embedding is the output matrix too.
    head: Option<K::Weight<'w>>,
}

/// What the forward pass left.
#[derive(Debug)]
pub(super) struct DecoderTrace<K: Kernels> {
    angles: Angles<K>,
    stack: Trace<K>,
}

impl<'w, K: Kernels> Decoder<'w, K> {
    pub(super) fn load<W: FrozenWeights>(
        loader: &mut Loader<'w, '_, K, W>,
        shape: &ModelShape,
        adapter: impl Fn(Module) -> Option<Adapter>,
    ) -> Result<Self, NetworkError> {
        let table = [shape.vocabulary, shape.text.hidden];
        let embedding = loader.matrix(Module::Embedding.weight(), &table)?;
        let mut layers = Vec::new();
        for index in 0..shape.text.layers as u32 {
            let module = |part| Module::Text(index, part);
            layers.push(Layer::load(loader, &shape.text, module, |part| adapter(module(part)))?);
        }
        let norm = loader.vector(Module::TextNorm.weight(), shape.text.hidden)?;
        let head = if shape.tied { None } else { Some(loader.matrix(Module::Head.weight(), &table)?) };
        Ok(Decoder { shape: shape.clone(), embedding, stack: Stack { layers }, norm, head })
    }

    /// Embeddings of the tokens, with the vectors of images in place of their tokens.
    pub(super) fn embed(&self, scope: &Scope<K>, batch: &Batch, images: Option<&K::Buffer>) -> K::Buffer {
        let hidden = self.shape.text.hidden;
        let mut x = scope.kernels.buffer(batch.tokens() * hidden);
        scope.kernels.embed(&self.embedding, &batch.ids, &mut x);
        if let Some(images) = images {
            scope.kernels.scatter_rows(images, &batch.image_rows, hidden, &mut x);
        }
        x
    }

    pub(super) fn angles(&self, kernels: &K, positions: &[u32]) -> Angles<K> {
        positions::text(kernels, self.shape.text.rope_theta, self.shape.text.head_size, positions)
    }

    /// The last layer's output for these rows, before the norm.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        batch: &Batch,
        (x, rows): (K::Buffer, &[u32]),
        keep: Keep,
    ) -> (K::Buffer, DecoderTrace<K>) {
        let angles = self.angles(scope.kernels, &batch.positions);
        let segments = segments(&batch.cumulative);
        let place = place(batch, &angles, &segments, rows);
        let (x, stack) = self.stack.forward(scope, &place, x, keep);
        (x, DecoderTrace { angles, stack })
    }

    /// Adds the gradients of all adapters; gives the gradient of the embeddings where something below is trained.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        batch: &Batch,
        (trace, x_gradient): (DecoderTrace<K>, K::Buffer),
        (rows, below): (&[u32], Below),
    ) -> Option<K::Buffer> {
        let DecoderTrace { angles, stack } = trace;
        let segments = segments(&batch.cumulative);
        let place = place(batch, &angles, &segments, rows);
        self.stack.backward(scope, gradients, &place, (stack, x_gradient), below)
    }

    /// `[rows, vocabulary]`.
    pub(super) fn logits(&self, scope: &Scope<K>, x: &K::Buffer, rows: usize) -> K::Buffer {
        let normed = self.normed(scope, x, rows);
        let mut logits = scope.kernels.buffer(rows * self.shape.vocabulary);
        scope.kernels.linear(&normed, self.output(), &mut logits, Write::Set);
        logits
    }

    pub(super) fn losses(&self, scope: &Scope<K>, x: &K::Buffer, targets: &[u32]) -> Vec<TokenLoss> {
        let normed = self.normed(scope, x, targets.len());
        scope.kernels.cross_entropy(Head { x: &normed, weight: self.output() }, targets, 1.0, None)
    }

    /// The losses, and the gradient of `scale` times their sum in `x`.
    pub(super) fn losses_backward(
        &self,
        scope: &Scope<K>,
        x: &K::Buffer,
        targets: &[u32],
        scale: f32,
    ) -> (Vec<TokenLoss>, K::Buffer) {
        let kernels = scope.kernels;
        let normed = self.normed(scope, x, targets.len());
        let mut normed_gradient = kernels.buffer(targets.len() * self.shape.text.hidden);
        let head = Head { x: &normed, weight: self.output() };
        let losses = kernels.cross_entropy(head, targets, scale, Some(&mut normed_gradient));
        let mut x_gradient = kernels.buffer(targets.len() * self.shape.text.hidden);
        let norm = NormBackward { epsilon: self.shape.text.norm_epsilon, x, weight: &self.norm };
        kernels.rms_norm_backward(norm, &normed_gradient, &mut x_gradient, Write::Set);
        (losses, x_gradient)
    }

    fn normed(&self, scope: &Scope<K>, x: &K::Buffer, rows: usize) -> K::Buffer {
        let mut normed = scope.kernels.buffer(rows * self.shape.text.hidden);
        scope.kernels.rms_norm(self.shape.text.norm_epsilon, x, &self.norm, &mut normed);
        normed
    }

    fn output(&self) -> &K::Weight<'w> {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

/// Whole sequences, of which these rows go on to the losses.
fn place<'p, K: Kernels>(
    batch: &Batch,
    angles: &'p Angles<K>,
    segments: &'p [Segment],
    wanted: &'p [u32],
) -> Place<'p, K> {
    Place { rows: batch.tokens(), angles, mask: Mask::Causal, segments, wanted: Some(wanted) }
}
