//! Root mean square norms, with frozen or trained weights.

use super::error::NetworkError;
use super::loader::{FrozenWeights, Loader};
use super::parameter::Vector;
use super::scope::Scope;
use crate::kernels::{Kernels, NormBackward, Write};
use crate::weights::TensorName;

/// A root mean square norm.
#[derive(Debug)]
pub(super) struct Norm<K: Kernels> {
    weight: Vector<K>,
    width: usize,
    epsilon: f32,
}

impl<K: Kernels> Norm<K> {
    pub(super) fn load<W: FrozenWeights>(
        loader: &mut Loader<'_, '_, K, W>,
        name: TensorName,
        width: usize,
        epsilon: f32,
    ) -> Result<Norm<K>, NetworkError> {
        Ok(Norm { weight: loader.vector(name, width)?, width, epsilon })
    }

    /// Whether its weight is trained.
    pub(super) fn is_trained(&self) -> bool {
        matches!(self.weight, Vector::Trained(_))
    }

    /// `x` after the norm.
    pub(super) fn forward(&self, scope: &Scope<K>, (rows, x): (usize, &K::Buffer)) -> K::Buffer {
        let mut normed = scope.kernels.activations(rows * self.width);
        self.weight.with(scope, |weight| scope.kernels.rms_norm(self.epsilon, x, weight, &mut normed));
        normed
    }

    /// Adds the gradient of the weight if it is trained, and sets or adds that of `x`.
    pub(super) fn backward(
        &self,
        scope: &Scope<K>,
        gradients: &mut K::Buffer,
        (x, out_gradient): (&K::Buffer, &K::Buffer),
        (x_gradient, write): (&mut K::Buffer, Write),
    ) {
        self.weight.with(scope, |weight| {
            let norm = || NormBackward { epsilon: self.epsilon, x, weight };
            if let Vector::Trained(range) = &self.weight {
                scope.kernels.rms_norm_weight_backward(norm(), out_gradient, range.clone(), gradients);
            }
            scope.kernels.rms_norm_backward(norm(), out_gradient, x_gradient, write);
        });
    }
}
