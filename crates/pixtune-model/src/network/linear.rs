//! A linear: frozen, with an optional adapter, or trained as a whole.

use super::adapter_layout::Adapter;
use super::error::NetworkError;
use super::loader::{FrozenWeights, Loader};
use super::parameter::{Matrix, Vector};
use super::scope::Scope;
use crate::kernels::{DropoutMask, Kernels, LoraBackward, LoraForward, TrainedBackward, Write};
use crate::weights::Module;

/// `y = W x + b + scaling * B A dropout(x)`.
#[derive(Debug)]
pub(super) struct LinearLayer<'w, K: Kernels> {
    weight: Matrix<'w, K>,
    bias: Option<Vector<K>>,
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
        let weight = loader.linear(module.weight(), [outputs, inputs])?;
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

    /// Whether it has an adapter, or is trained as a whole.
    pub(super) fn is_trained(&self) -> bool {
        self.adapter.is_some() || self.weight.is_trained()
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
        match (&self.weight, &self.adapter, &xa) {
            (Matrix::Trained(matrix), ..) => kernels.trained_linear(matrix, scope.parameters, x, y, write),
            (Matrix::Frozen(weight), Some(adapter), Some(xa)) => {
                let pass = LoraForward { parameters: scope.parameters, weight, x, xa };
                kernels.lora_linear(&adapter.lora, pass, y, write);
            }
            (Matrix::Frozen(weight), ..) => kernels.linear(x, weight, y, write),
        }
        if let Some(bias) = &self.bias {
            bias.with(scope, |bias| kernels.add_bias(bias, y));
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

    /// Adds the gradients of what is trained, and sets or adds the input gradient if it is requested.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        pass: LinearBackward<'_, K>,
        x_gradient: Option<(&mut K::Buffer, Write)>,
    ) {
        let kernels = scope.kernels;
        let LinearBackward { rows, x, xa, y_gradient } = pass;
        if let Some(Vector::Trained(range)) = &self.bias {
            kernels.bias_backward(y_gradient, range.clone(), gradients);
        }
        let weight = match &self.weight {
            Matrix::Frozen(weight) => weight,
            Matrix::Trained(matrix) => {
                let pass = TrainedBackward { parameters: scope.parameters, gradients, x, y_gradient };
                return kernels.trained_linear_backward(matrix, pass, x_gradient);
            }
        };
        let (Some(adapter), Some(xa)) = (&self.adapter, xa) else {
            if let Some((x_gradient, write)) = x_gradient {
                kernels.linear_backward(y_gradient, weight, x_gradient, write);
            }
            return;
        };
        let pass = |weight, gradients, x| {
            let parameters = scope.parameters;
            LoraBackward { weight, parameters, gradients, x, xa, y_gradient }
        };
        let lora = &adapter.lora;
        match (adapter.dropped(scope, rows, x), x_gradient) {
            (None, to) => kernels.lora_linear_backward(lora, pass(Some(weight), gradients, x), to),
            (Some(dropped), None) => {
                kernels.lora_linear_backward(lora, pass(None, gradients, &dropped), None);
            }
            (Some(dropped), Some((x_gradient, write))) => {
                kernels.linear_backward(y_gradient, weight, x_gradient, write);
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
