//! Where frozen weights come from.

use std::borrow::Cow;

use super::error::NetworkError;
use super::shape::ModelShape;
use crate::kernels::Kernels;
use crate::weights::{Checkpoint, Dtype, RowOrder, TensorName};

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

/// A tensor as it is stored: little-endian, row by row.
#[derive(Debug, Clone)]
pub struct FrozenTensor<'w> {
    /// The kind of number.
    pub storage: Storage,
    /// Its axes.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub bytes: Cow<'w, [u8]>,
}

/// Where frozen weights come from: a checkpoint on disk, or a model made for a test.
pub trait FrozenWeights {
    /// The sizes.
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
        let storage = match tensor.dtype() {
            Dtype::BF16 => Storage::Bf16,
            Dtype::F16 => Storage::F16,
            Dtype::F32 => Storage::F32,
            other => {
                let reason = format!("`{}` is stored as {other}", tensor.info.name);
                return Err(NetworkError::Configuration { reason });
            }
        };
        let bytes = tensor.bytes()?;
        let rows = tensor.shape().first().copied().unwrap_or(1).max(1);
        let bytes = match self.rotary_head_dim(name.module) {
            Some(head_size) if self.row_order() != RowOrder::HalfSplit => {
                let mut ordered = vec![0; bytes.len()];
                self.row_order().permute(
                    RowOrder::HalfSplit,
                    head_size,
                    bytes.len() / rows,
                    bytes,
                    &mut ordered,
                );
                Cow::Owned(ordered)
            }
            _ => Cow::Borrowed(bytes),
        };
        Ok(Some(FrozenTensor { storage, shape: tensor.shape().to_vec(), bytes }))
    }
}

/// Takes tensors out of their source, checks their shapes and brings them to the device.
pub(super) struct Loader<'w, 'k, K, W> {
    pub(super) weights: &'w W,
    pub(super) kernels: &'k K,
    /// Bytes of all tensors taken, as they are stored.
    pub(super) bytes: u64,
}

impl<'w, K: Kernels, W: FrozenWeights> Loader<'w, '_, K, W> {
    fn tensor(&mut self, name: TensorName, expected: &[usize]) -> Result<FrozenTensor<'w>, NetworkError> {
        let path = || name.path(crate::weights::Spelling::Live);
        let tensor =
            self.weights.tensor(name)?.ok_or_else(|| NetworkError::MissingTensor { name: path() })?;
        let size = if tensor.storage == Storage::F32 { 4 } else { 2 };
        let numbers: usize = expected.iter().product();
        if tensor.shape != expected || tensor.bytes.len() != numbers * size {
            return Err(NetworkError::TensorShape {
                name: path(),
                found: tensor.shape,
                expected: expected.to_vec(),
            });
        }
        self.bytes += tensor.bytes.len() as u64;
        Ok(tensor)
    }

    /// A matrix, or a convolution whose filters are its rows.
    pub(super) fn matrix(
        &mut self,
        name: TensorName,
        shape: &[usize],
    ) -> Result<K::Weight<'w>, NetworkError> {
        let tensor = self.tensor(name, shape)?;
        Ok(self.kernels.weight(tensor))
    }

    /// A norm or a bias.
    pub(super) fn vector(&mut self, name: TensorName, len: usize) -> Result<K::Buffer, NetworkError> {
        let tensor = self.tensor(name, &[len])?;
        Ok(self.kernels.vector(tensor))
    }
}
