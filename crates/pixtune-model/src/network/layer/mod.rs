//! One layer, the same for text and vision: attention and feed-forward, each after a norm and added to its input.

mod attention;
mod feed_forward;

pub(super) use attention::AttentionBlock;
use attention::{Attended, SavedAttention};
use feed_forward::{FeedForward, SavedFeedForward};

use super::adapter_layout::Adapter;
use super::device_batch::{RowSelection, Rows};
use super::error::NetworkError;
use super::linear::LinearLayer;
use super::loader::{FrozenWeights, Loader};
use super::norm::Norm;
use super::scope::Scope;
use super::shape::StackShape;
use crate::kernels::Kernels;
use crate::weights::{Module, Part};

/// The frozen weights and adapters of a layer.
#[derive(Debug)]
pub(super) struct Layer<'w, K: Kernels> {
    pub(super) attention: AttentionBlock<'w, K>,
    feed_forward: FeedForward<'w, K>,
}

/// The rows that a layer computes.
#[derive(Debug)]
pub(super) struct LayerRows<'a, K: Kernels> {
    /// All rows, which attention reads.
    pub(super) all: &'a Rows<K>,
    /// The rows whose output is needed; all of them without a selection.
    pub(super) selection: Option<&'a RowSelection<K>>,
}

impl<K: Kernels> LayerRows<'_, K> {
    /// The number of rows after attention.
    fn outputs(&self) -> usize {
        self.selection.map_or(self.all.count, |selection| selection.count)
    }
}

/// Whether the gradient with respect to an input is needed: something before it is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputGradient {
    /// It is.
    Needed,
    /// It is not.
    Unneeded,
}

/// The activations of a layer that its backward pass reads. Norms and `silu(gate) * up` are cheap and recomputed.
#[derive(Debug)]
pub(super) struct SavedLayer<K: Kernels> {
    x: K::Buffer,
    attention: SavedAttention<K>,
    feed_forward: SavedFeedForward<K>,
}

/// The activations from which the rest of [`SavedLayer`] is recomputed. The output of attention is one of them: it takes as
/// much memory as the input, and computing it takes time that grows with the square of the sequence length.
#[derive(Debug)]
pub(super) struct LayerCheckpoint<K: Kernels> {
    x: K::Buffer,
    attended: Attended<K>,
}

impl<K: Kernels> SavedLayer<K> {
    /// Frees what can be recomputed.
    pub(super) fn into_checkpoint(self) -> LayerCheckpoint<K> {
        LayerCheckpoint { x: self.x, attended: self.attention.into_attended() }
    }
}

impl<'w, K: Kernels> Layer<'w, K> {
    /// `module` names a part of this layer; `adapter` returns the adapter of a linear, if there is one.
    pub(super) fn load<W: FrozenWeights>(
        loader: &mut Loader<'w, '_, K, W>,
        shape: &StackShape,
        module: impl Fn(Part) -> Module,
        adapter: impl Fn(Part) -> Option<Adapter>,
    ) -> Result<Self, NetworkError> {
        let mut parts = Parts { loader, shape, module, adapter };
        Ok(Layer {
            attention: AttentionBlock::load(&mut parts)?,
            feed_forward: FeedForward::load(&mut parts)?,
        })
    }

    /// Whether any of its linears is trained.
    pub(super) fn is_trained(&self) -> bool {
        self.attention.is_trained() || self.feed_forward.is_trained()
    }

    /// The output, `[selected rows, hidden]`, and what the backward pass reads.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        rows: &LayerRows<K>,
        x: K::Buffer,
    ) -> (K::Buffer, SavedLayer<K>) {
        let (middle, attention) = self.attention.forward(scope, rows, &x);
        let (out, feed_forward) = self.feed_forward.forward(scope, rows.outputs(), middle);
        (out, SavedLayer { x, attention, feed_forward })
    }

    /// The output for rows whose attention is computed elsewhere, without gradients.
    pub(super) fn forward_attended(
        &self,
        scope: &Scope<K>,
        rows: usize,
        (mut x, attended): (K::Buffer, &K::Buffer),
    ) -> K::Buffer {
        self.attention.add_output(scope, (rows, attended), &mut x);
        self.feed_forward.forward(scope, rows, x).0
    }

    /// Recomputes what the forward pass did not save. Neither attention nor the output of the layer is recomputed.
    pub(super) fn recompute(
        &self,
        scope: &Scope<K>,
        rows: &LayerRows<K>,
        checkpoint: LayerCheckpoint<K>,
    ) -> SavedLayer<K> {
        let LayerCheckpoint { x, attended } = checkpoint;
        let (middle, attention) = self.attention.recompute(scope, rows, &x, attended);
        let feed_forward = self.feed_forward.recompute(scope, rows.outputs(), middle);
        SavedLayer { x, attention, feed_forward }
    }

    /// Adds the gradients of what is trained in it to `gradients`. Returns the input gradient, `[rows, hidden]`, if it is needed.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        rows: &LayerRows<K>,
        (saved, y_gradient): (SavedLayer<K>, K::Buffer),
        input_gradient: InputGradient,
    ) -> Option<K::Buffer> {
        let SavedLayer { x, attention, feed_forward } = saved;
        let middle_gradient =
            self.feed_forward.backward(scope, gradients, rows.outputs(), (feed_forward, y_gradient));
        self.attention.backward(scope, gradients, rows, (x, attention, middle_gradient), input_gradient)
    }
}

/// Loads the parts of one layer.
struct Parts<'l, 'w, 'k, K, W, M, A> {
    loader: &'l mut Loader<'w, 'k, K, W>,
    shape: &'l StackShape,
    module: M,
    adapter: A,
}

impl<'w, K, W, M, A> Parts<'_, 'w, '_, K, W, M, A>
where
    K: Kernels,
    W: FrozenWeights,
    M: Fn(Part) -> Module,
    A: Fn(Part) -> Option<Adapter>,
{
    fn linear(&mut self, part: Part, size: [usize; 2]) -> Result<LinearLayer<'w, K>, NetworkError> {
        LinearLayer::load(self.loader, (self.module)(part), size, (self.adapter)(part))
    }

    fn norm(&mut self, part: Part) -> Result<Norm<K>, NetworkError> {
        Norm::load(self.loader, (self.module)(part).weight(), self.shape.hidden, self.shape.norm_epsilon)
    }
}
