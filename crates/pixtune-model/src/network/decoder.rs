//! The text decoder: from embeddings to losses or logits.

use super::adapter_layout::Adapter;
use super::device_batch::{DeviceBatch, RowSelection};
use super::error::NetworkError;
use super::layer::{InputGradient, Layer, LayerRows};
use super::loader::{FrozenWeights, Loader};
use super::norm::Norm;
use super::scope::Scope;
use super::shape::ModelShape;
use super::stack::{Save, SavedStack, Stack};
use crate::kernels::{Head, Kernels, TokenLoss, Write};
use crate::weights::Module;

/// The text decoder.
#[derive(Debug)]
pub(super) struct Decoder<'w, K: Kernels> {
    shape: ModelShape,
    embedding: K::Weight<'w>,
    pub(super) stack: Stack<'w, K>,
    norm: Norm<K>,
    /// None if the embedding is the output matrix too.
    head: Option<K::Weight<'w>>,
}

/// Rows of the decoder's output with a target each.
#[derive(Debug)]
pub(super) struct Labels<K: Kernels> {
    pub(super) rows: RowSelection<K>,
    pub(super) targets: K::Indices,
}

impl<'w, K: Kernels> Decoder<'w, K> {
    pub(super) fn load<W: FrozenWeights>(
        loader: &mut Loader<'w, '_, K, W>,
        shape: &ModelShape,
        adapter: impl Fn(Module) -> Option<Adapter>,
    ) -> Result<Self, NetworkError> {
        let table = [shape.vocabulary, shape.text.hidden];
        let embedding = loader.frozen_matrix(Module::Embedding.weight(), &table)?;
        let mut layers = Vec::new();
        for index in 0..shape.text.layers as u32 {
            let module = |part| Module::Text(index, part);
            layers.push(Layer::load(loader, &shape.text, module, |part| adapter(module(part)))?);
        }
        let norm = Norm::load(loader, Module::TextNorm.weight(), shape.text.hidden, shape.text.norm_epsilon)?;
        let head = if shape.tied { None } else { Some(loader.frozen_matrix(Module::Head.weight(), &table)?) };
        Ok(Decoder { shape: shape.clone(), embedding, stack: Stack { layers }, norm, head })
    }

    /// Embeddings of the tokens, with image tokens replaced by the vectors of their patches.
    pub(super) fn embed(
        &self,
        scope: &Scope<K>,
        batch: &DeviceBatch<K>,
        patches: Option<&K::Buffer>,
    ) -> K::Buffer {
        let hidden = self.shape.text.hidden;
        let mut x = scope.kernels.activations(batch.text.count * hidden);
        scope.kernels.embed(&self.embedding, &batch.ids, &mut x);
        if let (Some(patches), Some(images)) = (patches, &batch.images) {
            scope.kernels.scatter_rows(patches, &images.text_rows.indices, hidden, &mut x);
        }
        x
    }

    /// The output of the last layer for the selected rows, before the norm.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        batch: &DeviceBatch<K>,
        (x, selection): (K::Buffer, &RowSelection<K>),
        save: Save,
    ) -> (K::Buffer, SavedStack<K>) {
        let rows = LayerRows { all: &batch.text, selection: Some(selection) };
        self.stack.forward(scope, &rows, x, save)
    }

    /// Adds the gradients of all adapters; returns the gradient of the embeddings if it is needed.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        (batch, selection): (&DeviceBatch<K>, &RowSelection<K>),
        saved: (SavedStack<K>, K::Buffer),
        input_gradient: InputGradient,
    ) -> Option<K::Buffer> {
        let rows = LayerRows { all: &batch.text, selection: Some(selection) };
        self.stack.backward(scope, gradients, &rows, saved, input_gradient)
    }

    /// `[rows, vocabulary]`, in f32: sampling needs the precision.
    pub(super) fn logits(&self, scope: &Scope<K>, (rows, x): (usize, &K::Buffer)) -> K::Buffer {
        let normed = self.norm.forward(scope, (rows, x));
        let mut logits = scope.kernels.floats(rows * self.shape.vocabulary);
        scope.kernels.linear(&normed, self.output(), &mut logits, Write::Set);
        logits
    }

    /// The loss of each label.
    pub(super) fn losses(&self, scope: &Scope<K>, x: &K::Buffer, labels: &Labels<K>) -> Vec<TokenLoss> {
        let normed = self.norm.forward(scope, (labels.rows.count, x));
        let head = Head { x: &normed, weight: self.output() };
        scope.kernels.cross_entropy(head, &labels.targets, 1.0, None)
    }

    /// The losses, and the gradient of `scale` times their sum with respect to `x`.
    pub(super) fn losses_backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        x: &K::Buffer,
        labels: &Labels<K>,
        scale: f32,
    ) -> (Vec<TokenLoss>, K::Buffer) {
        let (kernels, rows, hidden) = (scope.kernels, labels.rows.count, self.shape.text.hidden);
        let normed = self.norm.forward(scope, (rows, x));
        let mut normed_gradient = kernels.activations(rows * hidden);
        let head = Head { x: &normed, weight: self.output() };
        let losses = kernels.cross_entropy(head, &labels.targets, scale, Some(&mut normed_gradient));
        let mut x_gradient = kernels.activations(rows * hidden);
        self.norm.backward(scope, gradients, (x, &normed_gradient), (&mut x_gradient, Write::Set));
        (losses, x_gradient)
    }

    fn output(&self) -> &K::Weight<'w> {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}
