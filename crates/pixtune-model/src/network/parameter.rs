//! Tensors that are frozen, or trained as a whole.

use std::ops::Range;

use super::scope::Scope;
use crate::kernels::{Kernels, TrainedMatrix};

/// A matrix.
#[derive(Debug)]
pub(super) enum Matrix<'w, K: Kernels> {
    Frozen(K::Weight<'w>),
    Trained(TrainedMatrix),
}

/// A bias, or the weight of a norm.
#[derive(Debug)]
pub(super) enum Vector<K: Kernels> {
    Frozen(K::Buffer),
    /// Its position in the flat buffers.
    Trained(Range<usize>),
}

impl<K: Kernels> Matrix<'_, K> {
    pub(super) fn is_trained(&self) -> bool {
        matches!(self, Matrix::Trained(_))
    }
}

impl<K: Kernels> Vector<K> {
    /// Calls `work` with its numbers.
    pub(super) fn with<R>(&self, scope: &Scope<K>, work: impl FnOnce(&K::Buffer) -> R) -> R {
        match self {
            Vector::Frozen(values) => work(values),
            Vector::Trained(range) => work(&scope.kernels.part(scope.parameters, range.clone())),
        }
    }
}
