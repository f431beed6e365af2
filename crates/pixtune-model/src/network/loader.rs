//! Loading frozen weights from their source to the device.

use std::borrow::Cow;

use super::error::NetworkError;
use super::shape::ModelShape;
use crate::kernels::{FrozenTensor, Kernels};
use crate::weights::{Checkpoint, RowOrder, Spelling, TensorName};

/// A source of frozen weights: a checkpoint on disk, or a model made for a test.
pub trait FrozenWeights {
    /// The sizes of the model.
    fn shape(&self) -> Result<ModelShape, NetworkError>;

    /// A tensor, with the rows of q and k in transformers' order ([`RowOrder::HalfSplit`]).
    fn tensor(&self, name: TensorName) -> Result<Option<FrozenTensor<'_>>, NetworkError>;
}

impl FrozenWeights for Checkpoint {
    fn shape(&self) -> Result<ModelShape, NetworkError> {
        ModelShape::new(self.config())
    }

    fn tensor(&self, name: TensorName) -> Result<Option<FrozenTensor<'_>>, NetworkError> {
        let Some(tensor) = Checkpoint::tensor(self, name) else { return Ok(None) };
        let bytes = tensor.bytes()?;
        let rows = tensor.shape().first().copied().unwrap_or(1).max(1);
        let bytes = match self.rotary_head_dim(name.module) {
            Some(head_size) if self.row_order() != RowOrder::HalfSplit => {
                let mut ordered = vec![0; bytes.len()];
                self.row_order().permute(
                    RowOrder::HalfSplit,
                    head_size,
                    bytes.len() / rows,
                    &bytes,
                    &mut ordered,
                );
                Cow::Owned(ordered)
            }
            _ => bytes,
        };
        Ok(Some(FrozenTensor { dtype: tensor.dtype(), shape: tensor.shape().to_vec(), bytes }))
    }
}

/// Reads tensors from their source, checks their shapes and copies them to the device.
pub(super) struct Loader<'w, 'k, K, W> {
    pub(super) weights: &'w W,
    pub(super) kernels: &'k K,
    /// Bytes of all loaded tensors, as stored.
    pub(super) bytes: u64,
}

impl<'w, K: Kernels, W: FrozenWeights> Loader<'w, '_, K, W> {
    fn tensor(&mut self, name: TensorName, expected: &[usize]) -> Result<FrozenTensor<'w>, NetworkError> {
        let tensor =
            self.weights.tensor(name)?.ok_or_else(|| NetworkError::MissingTensor { name: path(name) })?;
        let numbers: usize = expected.iter().product();
        if tensor.shape != expected || tensor.bytes.len() != numbers * tensor.dtype.size() {
            return Err(NetworkError::TensorShape {
                name: path(name),
                found: tensor.shape,
                expected: expected.to_vec(),
            });
        }
        self.bytes += tensor.bytes.len() as u64;
        Ok(tensor)
    }

    /// Loads a matrix, or a convolution whose filters are its rows.
    pub(super) fn matrix(
        &mut self,
        name: TensorName,
        shape: &[usize],
    ) -> Result<K::Weight<'w>, NetworkError> {
        let tensor = self.tensor(name, shape)?;
        self.kernels.weight(tensor).map_err(|source| NetworkError::TensorDtype { name: path(name), source })
    }

    /// Loads a norm or a bias.
    pub(super) fn vector(&mut self, name: TensorName, len: usize) -> Result<K::Buffer, NetworkError> {
        let tensor = self.tensor(name, &[len])?;
        self.kernels.vector(tensor).map_err(|source| NetworkError::TensorDtype { name: path(name), source })
    }
}

/// The name of a tensor in messages.
fn path(name: TensorName) -> String {
    name.path(Spelling::Live)
}
