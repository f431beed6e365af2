//! Loading frozen weights from their source to the device.

use std::borrow::Cow;

use super::adapter_layout::AdapterLayout;
use super::error::NetworkError;
use super::parameter::{Matrix, Vector};
use super::shape::ModelShape;
use crate::kernels::{FrozenTensor, Kernels, TrainedMatrix, UnsupportedDtype, WeightMemory};
use crate::weights::quantized::FourBitMatrix;
use crate::weights::{Checkpoint, Dtype, RowOrder, Spelling, TensorName, dtype};

/// A source of frozen weights: a checkpoint on disk, or a model made for a test.
pub trait FrozenWeights {
    /// The sizes of the model.
    fn shape(&self) -> Result<ModelShape, NetworkError>;

    /// A tensor, with the rows of q and k in transformers' order ([`RowOrder::HalfSplit`]).
    fn tensor(&self, name: TensorName) -> Result<Option<FrozenTensor<'_>>, NetworkError>;

    /// A matrix that is stored in 4 bits, with rows in the same order.
    fn four_bit(&self, name: TensorName) -> Result<Option<FourBitMatrix>, NetworkError> {
        let _ = name;
        Ok(None)
    }
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

    fn four_bit(&self, name: TensorName) -> Result<Option<FourBitMatrix>, NetworkError> {
        // Blocks of 4-bit codes are not made of whole rows: where rows are reordered, they are quantized again.
        let is_reordered =
            self.rotary_head_dim(name.module).is_some() && self.row_order() != RowOrder::HalfSplit;
        match Checkpoint::tensor(self, name).filter(|_| !is_reordered) {
            Some(tensor) => Ok(tensor.four_bit()?),
            None => Ok(None),
        }
    }
}

/// Reads tensors from their source, checks their shapes and copies them to the device.
pub(super) struct Loader<'w, 'k, K, W> {
    pub(super) weights: &'w W,
    pub(super) kernels: &'k K,
    /// Which tensors are trained.
    pub(super) layout: &'k AdapterLayout,
    /// Whether frozen linears are loaded in 4 bits.
    pub(super) in_4bit: bool,
    /// The memory of all frozen tensors; of that in use, the largest.
    pub(super) memory: WeightMemory,
    /// The initial values of all trained parameters.
    pub(super) initial: Vec<f32>,
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
        Ok(tensor)
    }

    /// Loads the matrix of a linear, in 4 bits if requested and if it is not trained.
    pub(super) fn linear(
        &mut self,
        name: TensorName,
        shape: [usize; 2],
    ) -> Result<Matrix<'w, K>, NetworkError> {
        if !self.in_4bit || self.layout.whole(name).is_some() {
            return self.matrix(name, &shape);
        }
        let matrix = match self.weights.four_bit(name)?.filter(|stored| stored.shape == shape) {
            Some(stored) => stored,
            None => {
                let tensor = self.tensor(name, &shape)?;
                FourBitMatrix::quantize(shape, tensor.dtype, &tensor.bytes)
                    .map_err(|source| NetworkError::FourBit { name: path(name), source })?
            }
        };
        let weight = self.kernels.four_bit_weight(matrix);
        self.count(&weight);
        Ok(Matrix::Frozen(weight))
    }

    fn count(&mut self, weight: &K::Weight<'_>) {
        let WeightMemory { held, in_use } = self.kernels.weight_memory(weight);
        self.memory.held += held;
        self.memory.in_use = self.memory.in_use.max(in_use);
    }

    /// Loads a matrix, or a convolution whose filters are its rows. A trained one starts with the values of its source.
    pub(super) fn matrix(
        &mut self,
        name: TensorName,
        shape: &[usize],
    ) -> Result<Matrix<'w, K>, NetworkError> {
        let Some(range) = self.layout.whole(name) else {
            return self.frozen_matrix(name, shape).map(Matrix::Frozen);
        };
        let tensor = self.tensor(name, shape)?;
        self.start_with(name, &tensor)?;
        let outputs = shape.first().copied().unwrap_or(1);
        Ok(Matrix::Trained(TrainedMatrix { range, inputs: shape[1..].iter().product(), outputs }))
    }

    /// Loads a matrix that is never trained as a whole.
    pub(super) fn frozen_matrix(
        &mut self,
        name: TensorName,
        shape: &[usize],
    ) -> Result<K::Weight<'w>, NetworkError> {
        let tensor = self.tensor(name, shape)?;
        let weight = self.kernels.weight(tensor);
        let weight = weight.map_err(|source| NetworkError::TensorDtype { name: path(name), source })?;
        self.count(&weight);
        Ok(weight)
    }

    /// Loads a norm or a bias.
    pub(super) fn vector(&mut self, name: TensorName, len: usize) -> Result<Vector<K>, NetworkError> {
        let tensor = self.tensor(name, &[len])?;
        if let Some(range) = self.layout.whole(name) {
            self.start_with(name, &tensor)?;
            return Ok(Vector::Trained(range));
        }
        self.memory.held += (len * Dtype::F32.size()) as u64;
        let vector = self.kernels.vector(tensor);
        vector.map(Vector::Frozen).map_err(|source| NetworkError::TensorDtype { name: path(name), source })
    }

    /// Sets the initial values of a trained tensor.
    fn start_with(&mut self, name: TensorName, tensor: &FrozenTensor<'_>) -> Result<(), NetworkError> {
        let Some(range) = self.layout.whole(name) else { return Ok(()) };
        let unsupported =
            || NetworkError::TensorDtype { name: path(name), source: UnsupportedDtype(tensor.dtype) };
        let values = dtype::to_f32(tensor.dtype, &tensor.bytes).ok_or_else(unsupported)?;
        self.initial[range].copy_from_slice(&values);
        Ok(())
    }
}

/// The name of a tensor in messages.
fn path(name: TensorName) -> String {
    name.path(Spelling::Live)
}
