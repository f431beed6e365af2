//! A frozen linear with an optional adapter.

use super::error::NetworkError;
use super::loader::{FrozenWeights, Loader};
use crate::kernels::{DropoutMask, Kernels, Lora, LoraBackward, LoraForward, Write};
use crate::weights::Module;

/// What all linears of a pass read.
#[derive(Debug)]
pub(super) struct Scope<'a, K: Kernels> {
    pub(super) kernels: &'a K,
    /// The flat buffer of all adapters.
    pub(super) parameters: &'a K::Buffer,
    /// Set while training only.
    pub(super) dropout: Option<DropoutMask>,
}

/// An adapter, and its index among all adapters.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    pub(super) lora: Lora,
    pub(super) index: usize,
}

/// `y = W x + b + scaling * B A dropout(x)`.
#[derive(Debug)]
pub(super) struct LinearLayer<'w, K: Kernels> {
    weight: K::Weight<'w>,
    bias: Option<K::Buffer>,
    adapter: Option<Adapter>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl<'w, K: Kernels> LinearLayer<'w, K> {
    pub(super) fn load<W: FrozenWeights>(
        loader: &mut Loader<'w, '_, K, W>,
        module: Module,
        [outputs, inputs]: [usize; 2],
        adapter: Option<Adapter>,
    ) -> Result<Self, NetworkError> {
        let weight = loader.matrix(module.weight(), &[outputs, inputs])?;
        Ok(LinearLayer { weight, bias: None, adapter, inputs, outputs })
    }

    pub(super) fn load_bias<W: FrozenWeights>(
        mut self,
        loader: &mut Loader<'w, '_, K, W>,
        module: Module,
    ) -> Result<Self, NetworkError> {
        self.bias = Some(loader.vector(module.bias(), self.outputs)?);
        Ok(self)
    }

    /// Whether it has an adapter.
    pub(super) fn is_trained(&self) -> bool {
        self.adapter.is_some()
    }

    /// Sets or adds the output for `rows` rows; returns the adapter's `x A^T`, if there is one.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        (rows, x): (usize, &K::Buffer),
        y: &mut K::Buffer,
        write: Write,
    ) -> Option<K::Buffer> {
        let kernels = scope.kernels;
        let xa = self.lora_down(scope, (rows, x));
        match (&self.adapter, &xa) {
            (Some(adapter), Some(xa)) => {
                let pass = LoraForward { parameters: scope.parameters, weight: &self.weight, x, xa };
                kernels.lora_linear(&adapter.lora, pass, y, write);
            }
            _ => kernels.linear(x, &self.weight, y, write),
        }
        if let Some(bias) = &self.bias {
            kernels.add_bias(bias, y);
        }
        xa
    }

    /// The adapter's `x A^T`, if there is one.
    pub(super) fn lora_down(&self, scope: &Scope<K>, (rows, x): (usize, &K::Buffer)) -> Option<K::Buffer> {
        let adapter = self.adapter.as_ref()?;
        let mut xa = scope.kernels.activations(rows * adapter.lora.rank);
        let dropped = adapter.dropped(scope, rows, x);
        scope.kernels.lora_down(&adapter.lora, scope.parameters, dropped.as_ref().unwrap_or(x), &mut xa);
        Some(xa)
    }

    /// Adds the adapter's gradients, and sets or adds the input gradient if it is requested.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        pass: LinearBackward<'_, K>,
        x_gradient: Option<(&mut K::Buffer, Write)>,
    ) {
        let kernels = scope.kernels;
        let LinearBackward { rows, x, xa, y_gradient } = pass;
        let (Some(adapter), Some(xa)) = (&self.adapter, xa) else {
            if let Some((x_gradient, write)) = x_gradient {
                kernels.linear_backward(y_gradient, &self.weight, x_gradient, write);
            }
            return;
        };
        let pass = |weight, gradients, x| {
            let parameters = scope.parameters;
            LoraBackward { weight, parameters, gradients, x, xa, y_gradient }
        };
        let lora = &adapter.lora;
        match (adapter.dropped(scope, rows, x), x_gradient) {
            (None, to) => kernels.lora_linear_backward(lora, pass(Some(&self.weight), gradients, x), to),
            (Some(dropped), None) => {
                kernels.lora_linear_backward(lora, pass(None, gradients, &dropped), None);
            }
            (Some(dropped), Some((x_gradient, write))) => {
                kernels.linear_backward(y_gradient, &self.weight, x_gradient, write);
                let mut dropped_gradient = kernels.activations(rows * self.inputs);
                let to = Some((&mut dropped_gradient, Write::Set));
                kernels.lora_linear_backward(lora, pass(None, gradients, &dropped), to);
                if let Some(mask) = adapter.mask(scope) {
                    kernels.dropout(mask, &dropped_gradient, x_gradient, Write::Add);
                }
            }
        }
    }
}

impl Adapter {
    fn mask<K: Kernels>(&self, scope: &Scope<K>) -> Option<DropoutMask> {
        // An odd factor gives every adapter of a pass its own seed.
        let own = (self.index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        scope.dropout.map(|mask| DropoutMask { seed: mask.seed ^ own, ..mask })
    }

    /// The input after dropout, while training with dropout.
    fn dropped<K: Kernels>(&self, scope: &Scope<K>, rows: usize, x: &K::Buffer) -> Option<K::Buffer> {
        let mask = self.mask(scope)?;
        let mut dropped = scope.kernels.activations(rows * self.lora.inputs);
        scope.kernels.dropout(mask, x, &mut dropped, Write::Set);
        Some(dropped)
    }
}

/// What the backward pass of a linear reads.
#[derive(Debug)]
pub(super) struct LinearBackward<'a, K: Kernels> {
    pub(super) rows: usize,
    pub(super) x: &'a K::Buffer,
    /// The result of [`LinearLayer::forward`].
    pub(super) xa: Option<&'a K::Buffer>,
    pub(super) y_gradient: &'a K::Buffer,
}
