//! Buffers, weights and indices in the memory of a GPU.

use std::sync::Arc;

use pixtune_model::kernels::{DeviceBuffer, FrozenTensor, UnsupportedDtype};
use pixtune_model::weights::Dtype;
use pixtune_model::weights::dtype::{read_f32, write_f32};

use super::CudaKernels;
use crate::error::GpuError;
use crate::gpu::{Address, Gpu};
use crate::matmul::{Matrix, Scalar};

/// Memory of a GPU, freed when it is dropped.
#[derive(Debug)]
pub(super) struct Allocation<G: Gpu> {
    gpu: Arc<G>,
    /// `None` if the allocation failed.
    address: Option<Address>,
    bytes: usize,
}

impl<G: Gpu> Allocation<G> {
    pub(super) fn address(&self) -> Result<Address, GpuError> {
        self.address.ok_or(GpuError::Unallocated)
    }
}

impl<G: Gpu> Drop for Allocation<G> {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            self.gpu.free(address, self.bytes);
        }
    }
}

/// Numbers in the memory of a GPU, in bf16 or f32.
#[derive(Debug)]
pub struct CudaBuffer<G: Gpu> {
    memory: Allocation<G>,
    dtype: Dtype,
    len: usize,
}

impl<G: Gpu> DeviceBuffer for CudaBuffer<G> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
}

impl<G: Gpu> CudaBuffer<G> {
    /// The number of numbers.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn address(&self) -> Result<Address, GpuError> {
        self.memory.address()
    }

    /// The address of the number at an index, which is at most the length.
    pub(super) fn address_of(&self, index: usize) -> Result<Address, GpuError> {
        debug_assert!(index <= self.len, "the index is within the buffer");
        Ok(self.address()?.after(index * self.dtype.size()))
    }

    pub(super) fn scalar(&self) -> Scalar {
        match self.dtype {
            Dtype::F32 => Scalar::F32,
            _ => Scalar::Bf16,
        }
    }

    /// The buffer as a matrix whose rows have `columns` numbers.
    pub(super) fn matrix(&self, columns: usize) -> Result<Matrix, GpuError> {
        self.matrix_at(0, columns)
    }

    /// The same from the number at an index.
    pub(super) fn matrix_at(&self, index: usize, columns: usize) -> Result<Matrix, GpuError> {
        let address = self.address_of(index)?;
        Ok(Matrix { address, stride: columns, scalar: self.scalar(), is_transposed: false })
    }

    /// The name of a kernel that exists for both types of buffers.
    pub(super) fn choose(&self, bf16: &'static str, f32: &'static str) -> &'static str {
        match self.scalar() {
            Scalar::F32 => f32,
            Scalar::Bf16 => bf16,
        }
    }
}

/// Row numbers or token ids in the memory of a GPU.
#[derive(Debug)]
pub struct CudaIndices<G: Gpu> {
    memory: Allocation<G>,
    len: usize,
}

impl<G: Gpu> CudaIndices<G> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn address(&self) -> Result<Address, GpuError> {
        self.memory.address()
    }
}

/// Numbers that are converted at a time on their way to the GPU, so that host memory is bounded.
const CHUNK: usize = 1 << 22;

impl<G: Gpu> CudaKernels<G> {
    pub(super) fn allocate(&self, bytes: usize) -> Allocation<G> {
        let address = self.run(|gpu| gpu.allocate(bytes.max(1)));
        Allocation { gpu: Arc::clone(&self.gpu), address, bytes: bytes.max(1) }
    }

    pub(super) fn new_buffer(&self, len: usize, dtype: Dtype) -> CudaBuffer<G> {
        assert!(matches!(dtype, Dtype::F32 | Dtype::BF16), "a GPU computes in bf16 and f32, not {dtype}");
        CudaBuffer { memory: self.allocate(len * dtype.size()), dtype, len }
    }

    /// Numbers from the host, rounded to the dtype.
    pub(super) fn uploaded(&self, values: &[f32], dtype: Dtype) -> CudaBuffer<G> {
        let buffer = self.new_buffer(values.len(), dtype);
        self.run(|gpu| {
            let mut bytes = vec![0; values.len().min(CHUNK) * dtype.size()];
            for (chunk, values) in values.chunks(CHUNK).enumerate() {
                let bytes = &mut bytes[..values.len() * dtype.size()];
                write_f32(dtype, values, bytes);
                gpu.write(buffer.address_of(chunk * CHUNK)?, bytes)?;
            }
            Ok(())
        });
        buffer
    }

    /// All numbers of a buffer; zeros after a failure.
    pub(super) fn downloaded(&self, buffer: &CudaBuffer<G>) -> Vec<f32> {
        let mut values = vec![0.0; buffer.len];
        self.run(|gpu| {
            let size = buffer.dtype.size();
            let mut bytes = vec![0; buffer.len.min(CHUNK) * size];
            for (chunk, values) in values.chunks_mut(CHUNK).enumerate() {
                let bytes = &mut bytes[..values.len() * size];
                gpu.read(buffer.address_of(chunk * CHUNK)?, bytes)?;
                read_f32(buffer.dtype, bytes, values);
            }
            Ok(())
        });
        values
    }

    pub(super) fn uploaded_bytes(&self, bytes: &[u8]) -> Allocation<G> {
        let memory = self.allocate(bytes.len());
        self.run(|gpu| match bytes.is_empty() {
            true => Ok(()),
            false => gpu.write(memory.address()?, bytes),
        });
        memory
    }

    /// The bytes of words of 32 bits.
    pub(super) fn uploaded_words(&self, words: impl ExactSizeIterator<Item = u32>) -> Allocation<G> {
        self.uploaded_bytes(&words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())
    }

    pub(super) fn uploaded_indices(&self, indices: &[u32]) -> CudaIndices<G> {
        CudaIndices { memory: self.uploaded_words(indices.iter().copied()), len: indices.len() }
    }

    /// A small frozen tensor in f32.
    pub(super) fn uploaded_vector(
        &self,
        tensor: &FrozenTensor<'_>,
    ) -> Result<CudaBuffer<G>, UnsupportedDtype> {
        match tensor.dtype {
            Dtype::BF16 | Dtype::F32 | Dtype::F16 => Ok(self.converted(tensor, Dtype::F32)),
            other => Err(UnsupportedDtype(other)),
        }
    }

    /// The numbers of a tensor in another dtype, converted chunk by chunk.
    pub(super) fn converted(&self, tensor: &FrozenTensor<'_>, dtype: Dtype) -> CudaBuffer<G> {
        let stored = tensor.dtype.size();
        let buffer = self.new_buffer(tensor.bytes.len() / stored, dtype);
        self.run(|gpu| {
            let mut values = vec![0.0; buffer.len.min(CHUNK)];
            let mut bytes = vec![0; values.len() * dtype.size()];
            for (chunk, source) in tensor.bytes.chunks(CHUNK * stored).enumerate() {
                let values = &mut values[..source.len() / stored];
                let bytes = &mut bytes[..values.len() * dtype.size()];
                read_f32(tensor.dtype, source, values);
                write_f32(dtype, values, bytes);
                gpu.write(buffer.address_of(chunk * CHUNK)?, bytes)?;
            }
            Ok(())
        });
        buffer
    }
}
