//! The feed-forward part of a layer: norm, gate and up projection, SwiGLU, down projection.

use super::Parts;
use crate::kernels::{Kernels, Write};
use crate::network::adapter_layout::Adapter;
use crate::network::error::NetworkError;
use crate::network::linear::{LinearBackward, LinearLayer};
use crate::network::loader::FrozenWeights;
use crate::network::norm::Norm;
use crate::network::scope::Scope;
use crate::network::shape::StackShape;
use crate::weights::{Module, Part};

/// The frozen weights and adapters of the feed-forward part.
#[derive(Debug)]
pub(super) struct FeedForward<'w, K: Kernels> {
    shape: StackShape,
    norm: Norm<K>,
    gate: LinearLayer<'w, K>,
    up: LinearLayer<'w, K>,
    down: LinearLayer<'w, K>,
}

/// The activations that the backward pass reads.
#[derive(Debug)]
pub(super) struct SavedFeedForward<K: Kernels> {
    gated: GateUp<K>,
    down_xa: Option<K::Buffer>,
}

/// The input, and the outputs of the gate and up projection.
#[derive(Debug)]
struct GateUp<K: Kernels> {
    x: K::Buffer,
    gate: K::Buffer,
    up: K::Buffer,
    xa: [Option<K::Buffer>; 2],
}

impl<'w, K: Kernels> FeedForward<'w, K> {
    pub(super) fn load<W, M, A>(parts: &mut Parts<'_, 'w, '_, K, W, M, A>) -> Result<Self, NetworkError>
    where
        W: FrozenWeights,
        M: Fn(Part) -> Module,
        A: Fn(Part) -> Option<Adapter>,
    {
        let shape = *parts.shape;
        let (hidden, inner) = (shape.hidden, shape.feed_forward);
        Ok(FeedForward {
            shape,
            norm: parts.norm(Part::FfnNorm)?,
            gate: parts.linear(Part::Gate, [inner, hidden])?,
            up: parts.linear(Part::Up, [inner, hidden])?,
            down: parts.linear(Part::Down, [hidden, inner])?,
        })
    }

    pub(super) fn is_trained(&self) -> bool {
        [&self.gate, &self.up, &self.down].into_iter().any(LinearLayer::is_trained)
    }

    /// `x` plus the feed-forward part, and what the backward pass reads.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        rows: usize,
        x: K::Buffer,
    ) -> (K::Buffer, SavedFeedForward<K>) {
        let gated = self.gate_up(scope, rows, x);
        let product = self.swiglu(scope, rows, &gated);
        let mut out = scope.kernels.activations(rows * self.shape.hidden);
        scope.kernels.copy(&gated.x, &mut out);
        let down_xa = self.down.forward(scope, (rows, &product), &mut out, Write::Add);
        (out, SavedFeedForward { gated, down_xa })
    }

    /// Recomputes what the backward pass reads, without the output.
    pub(super) fn recompute(&self, scope: &Scope<K>, rows: usize, x: K::Buffer) -> SavedFeedForward<K> {
        let gated = self.gate_up(scope, rows, x);
        let down_xa = self.down.lora_down(scope, (rows, &self.swiglu(scope, rows, &gated)));
        SavedFeedForward { gated, down_xa }
    }

    fn gate_up(&self, scope: &Scope<K>, rows: usize, x: K::Buffer) -> GateUp<K> {
        let kernels = scope.kernels;
        let normed = self.norm.forward(scope, (rows, &x));
        let mut gate = kernels.activations(rows * self.shape.feed_forward);
        let mut up = kernels.activations(rows * self.shape.feed_forward);
        let gate_xa = self.gate.forward(scope, (rows, &normed), &mut gate, Write::Set);
        let up_xa = self.up.forward(scope, (rows, &normed), &mut up, Write::Set);
        GateUp { x, gate, up, xa: [gate_xa, up_xa] }
    }

    fn swiglu(&self, scope: &Scope<K>, rows: usize, gated: &GateUp<K>) -> K::Buffer {
        let mut product = scope.kernels.activations(rows * self.shape.feed_forward);
        scope.kernels.swiglu(&gated.gate, &gated.up, &mut product);
        product
    }

    /// Adds the gradients of the adapters. Turns the gradient of the output into that of the input, which includes that of the
    /// residual connection.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        rows: usize,
        (saved, mut x_gradient): (SavedFeedForward<K>, K::Buffer),
    ) -> K::Buffer {
        let kernels = scope.kernels;
        let SavedFeedForward { gated, down_xa } = saved;
        let product = self.swiglu(scope, rows, &gated);
        let GateUp { x, mut gate, mut up, xa: [gate_xa, up_xa] } = gated;
        let mut product_gradient = kernels.activations(rows * self.shape.feed_forward);
        let pass = LinearBackward { rows, x: &product, xa: down_xa.as_ref(), y_gradient: &x_gradient };
        self.down.backward(scope, gradients, pass, Some((&mut product_gradient, Write::Set)));
        drop(product);
        kernels.swiglu_backward(&product_gradient, &mut gate, &mut up);
        drop(product_gradient);
        let normed = self.norm.forward(scope, (rows, &x));
        let mut normed_gradient = kernels.activations(rows * self.shape.hidden);
        let pass = LinearBackward { rows, x: &normed, xa: gate_xa.as_ref(), y_gradient: &gate };
        self.gate.backward(scope, gradients, pass, Some((&mut normed_gradient, Write::Set)));
        let pass = LinearBackward { rows, x: &normed, xa: up_xa.as_ref(), y_gradient: &up };
        self.up.backward(scope, gradients, pass, Some((&mut normed_gradient, Write::Add)));
        self.norm.backward(scope, gradients, (&x, &normed_gradient), (&mut x_gradient, Write::Add));
        x_gradient
    }
}
