//! A frozen linear with the adapter that may be on it.

use super::error::NetworkError;
use super::frozen::{FrozenWeights, Loader};
use crate::kernels::{DropoutMask, Kernels, Lora, LoraBackward, LoraForward, Write};
use crate::weights::Module;

/// What all linears of a pass read.
#[derive(Debug)]
pub(super) struct Scope<'a, K: Kernels> {
    pub(super) kernels: &'a K,
    /// The flat buffer of all adapters.
    pub(super) parameters: &'a K::Buffer,
    /// Only while training.
    pub(super) dropout: Option<DropoutMask>,
}

/// An adapter, and its number among all of them.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    pub(super) lora: Lora,
    pub(super) number: usize,
}

/// `y = W x + b + scaling * B A dropout(x)`.
#[derive(Debug)]
pub(super) struct LinearLayer<'w, K: Kernels> {
    weight: K::Weight<'w>,
    bias: Option<K::Buffer>,
    pub(super) adapter: Option<Adapter>,
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

    /// Sets or adds the output for `rows` rows; gives the adapter's `x A^T` where there is one.
    pub(super) fn forward(
        &self,
        scope: &Scope<K>,
        (rows, x): (usize, &K::Buffer),
        y: &mut K::Buffer,
        write: Write,
    ) -> Option<K::Buffer> {
        let kernels = scope.kernels;
        let hidden = self.hidden(scope, rows, x);
        match (&self.adapter, &hidden) {
            (Some(adapter), Some(hidden)) => {
                let pass = LoraForward { parameters: scope.parameters, weight: &self.weight, x, hidden };
                kernels.lora(&adapter.lora, pass, y, write);
            }
            _ => kernels.linear(x, &self.weight, y, write),
        }
        if let Some(bias) = &self.bias {
            kernels.add_bias(bias, y);
        }
        hidden
    }

    /// The adapter's `x A^T`, where there is one.
    pub(super) fn hidden(&self, scope: &Scope<K>, rows: usize, x: &K::Buffer) -> Option<K::Buffer> {
        let adapter = self.adapter.as_ref()?;
        let mut hidden = scope.kernels.buffer(rows * adapter.lora.rank);
        let dropped = adapter.dropped(scope, rows, x);
        scope.kernels.lora_hidden(
            &adapter.lora,
            scope.parameters,
            dropped.as_ref().unwrap_or(x),
            &mut hidden,
        );
        Some(hidden)
    }

    /// Adds the adapter's gradients, and sets or adds that of the input where it is asked for.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        pass: LinearBackward<'_, K>,
        x_gradient: Option<(&mut K::Buffer, Write)>,
    ) {
        let kernels = scope.kernels;
        let LinearBackward { rows, x, hidden, y_gradient } = pass;
        let (Some(adapter), Some(hidden)) = (&self.adapter, hidden) else {
            if let Some((x_gradient, write)) = x_gradient {
                kernels.linear_backward(y_gradient, &self.weight, x_gradient, write);
            }
            return;
        };
        let pass = |weight, gradients, x| {
            let parameters = scope.parameters;
            LoraBackward { weight, parameters, gradients, x, hidden, y_gradient }
        };
        let lora = &adapter.lora;
        match (adapter.dropped(scope, rows, x), x_gradient) {
            (None, to) => kernels.lora_backward(lora, pass(Some(&self.weight), gradients, x), to),
            (Some(dropped), None) => kernels.lora_backward(lora, pass(None, gradients, &dropped), None),
            (Some(dropped), Some((x_gradient, write))) => {
                kernels.linear_backward(y_gradient, &self.weight, x_gradient, write);
                let mut through = kernels.buffer(rows * self.inputs);
                let to = Some((&mut through, Write::Set));
                kernels.lora_backward(lora, pass(None, gradients, &dropped), to);
                if let Some(mask) = adapter.mask(scope) {
                    kernels.dropout(mask, &through, x_gradient, Write::Add);
                }
            }
        }
    }
}

impl Adapter {
    fn mask<K: Kernels>(&self, scope: &Scope<K>) -> Option<DropoutMask> {
        // An odd factor keeps the seeds of a pass's adapters apart.
        let number = (self.number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        scope.dropout.map(|mask| DropoutMask { seed: mask.seed ^ number, ..mask })
    }

    fn dropped<K: Kernels>(&self, scope: &Scope<K>, rows: usize, x: &K::Buffer) -> Option<K::Buffer> {
        let mask = self.mask(scope)?;
        let mut dropped = scope.kernels.buffer(rows * self.lora.inputs);
        scope.kernels.dropout(mask, x, &mut dropped, Write::Set);
        Some(dropped)
    }
}

/// What the backward pass of a linear reads.
#[derive(Debug)]
pub(super) struct LinearBackward<'a, K: Kernels> {
    pub(super) rows: usize,
    pub(super) x: &'a K::Buffer,
    /// What [`LinearLayer::forward`] gave.
    pub(super) hidden: Option<&'a K::Buffer>,
    pub(super) y_gradient: &'a K::Buffer,
}
