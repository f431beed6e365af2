//! Frozen matrices in the memory of a GPU.

use std::ops::Deref;

use pixtune_model::kernels::{FrozenTensor, UnsupportedDtype, WeightMemory};
use pixtune_model::weights::Dtype;
use pixtune_model::weights::quantized::FourBitMatrix;

use super::CudaKernels;
use super::memory::CudaBuffer;
use super::quantized::FourBit;
use crate::gpu::Gpu;

/// A frozen matrix in the memory of a GPU, in bf16 or in 4 bits.
#[derive(Debug)]
pub struct CudaWeight<G: Gpu> {
    storage: Storage<G>,
    /// The first axis of the tensor.
    pub(super) rows: usize,
    /// All other axes of the tensor.
    pub(super) columns: usize,
}

#[derive(Debug)]
enum Storage<G: Gpu> {
    Bf16(CudaBuffer<G>),
    FourBit(FourBit<G>),
}

impl<G: Gpu> CudaWeight<G> {
    pub(super) fn memory(&self) -> WeightMemory {
        let in_bf16 = (self.rows * self.columns * Dtype::BF16.size()) as u64;
        match &self.storage {
            Storage::Bf16(_) => WeightMemory { held: in_bf16, in_use: 0 },
            Storage::FourBit(matrix) => WeightMemory { held: matrix.bytes as u64, in_use: in_bf16 },
        }
    }
}

/// The numbers of a weight in bf16: its own, or those of one operation.
#[derive(Debug)]
pub(super) enum Numbers<'w, G: Gpu> {
    Stored(&'w CudaBuffer<G>),
    Dequantized(CudaBuffer<G>),
}

impl<G: Gpu> Deref for Numbers<'_, G> {
    type Target = CudaBuffer<G>;

    fn deref(&self) -> &CudaBuffer<G> {
        match self {
            Numbers::Stored(numbers) => numbers,
            Numbers::Dequantized(numbers) => numbers,
        }
    }
}

impl<G: Gpu> CudaKernels<G> {
    /// The numbers of a frozen matrix, `[rows, columns]`.
    pub(super) fn numbers<'w>(&self, weight: &'w CudaWeight<G>) -> Numbers<'w, G> {
        match &weight.storage {
            Storage::Bf16(numbers) => Numbers::Stored(numbers),
            Storage::FourBit(matrix) => Numbers::Dequantized(self.dequantized(matrix)),
        }
    }

    /// A frozen matrix. Its bytes go to the GPU as they are, or in chunks rounded to bf16.
    pub(super) fn uploaded_weight(
        &self,
        tensor: &FrozenTensor<'_>,
    ) -> Result<CudaWeight<G>, UnsupportedDtype> {
        let numbers = match tensor.dtype {
            Dtype::BF16 => {
                let buffer = self.new_buffer(tensor.bytes.len() / Dtype::BF16.size(), Dtype::BF16);
                if !tensor.bytes.is_empty() {
                    self.run(|gpu| gpu.write(buffer.address()?, &tensor.bytes));
                }
                buffer
            }
            Dtype::F32 | Dtype::F16 => self.converted(tensor, Dtype::BF16),
            other => return Err(UnsupportedDtype(other)),
        };
        let rows = tensor.shape.first().copied().unwrap_or(1);
        let columns = tensor.shape.iter().skip(1).product();
        Ok(CudaWeight { storage: Storage::Bf16(numbers), rows, columns })
    }

    /// A frozen matrix in 4 bits.
    pub(super) fn four_bit(&self, matrix: &FourBitMatrix) -> CudaWeight<G> {
        let [rows, columns] = matrix.shape;
        CudaWeight { storage: Storage::FourBit(self.uploaded_four_bit(matrix)), rows, columns }
    }
}
