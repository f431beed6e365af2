//! Frozen matrices in 4 bits: codes and scales stay on the GPU, and every operation makes the numbers in bf16 for itself.
//!
//! That is 2.5 bytes of traffic per number beside the product, which reads 2; the buffer is freed after it.

use pixtune_model::weights::Dtype;
use pixtune_model::weights::quantized::{FourBitMatrix, Scales};

use super::memory::{Allocation, CudaBuffer};
use super::{CudaKernels, int};
use crate::gpu::{Gpu, Launch};
use crate::launch;

/// Numbers that a thread makes.
const PER_THREAD: usize = 8;
/// Shared memory of a block: the values of the 16 codes.
const TABLE_BYTES: usize = 16 * 4;

/// A matrix in 4 bits.
#[derive(Debug)]
pub(super) struct FourBit<G: Gpu> {
    codes: Allocation<G>,
    values: CudaBuffer<G>,
    scales: DeviceScales<G>,
    /// The logarithm of the elements of a block.
    block: u32,
    count: usize,
    /// Bytes of codes and scales.
    pub(super) bytes: usize,
}

#[derive(Debug)]
enum DeviceScales<G: Gpu> {
    Plain(CudaBuffer<G>),
    Double { codes: Allocation<G>, map: CudaBuffer<G>, outer: CudaBuffer<G>, block: u32, offset: f32 },
}

impl<G: Gpu> CudaKernels<G> {
    pub(super) fn uploaded_four_bit(&self, matrix: &FourBitMatrix) -> FourBit<G> {
        let floats = |values: &[f32]| self.uploaded(values, Dtype::F32);
        let scales = match &matrix.scales {
            Scales::Plain(scales) => DeviceScales::Plain(floats(scales)),
            Scales::Double { codes, map, outer, block, offset } => DeviceScales::Double {
                codes: self.uploaded_bytes(codes),
                map: floats(&map[..]),
                outer: floats(outer),
                block: block.ilog2(),
                offset: *offset,
            },
        };
        let [rows, columns] = matrix.shape;
        FourBit {
            codes: self.uploaded_bytes(&matrix.codes),
            values: floats(matrix.kind.values()),
            scales,
            block: matrix.block.ilog2(),
            count: rows * columns,
            bytes: matrix.bytes(),
        }
    }

    pub(super) fn dequantized(&self, weight: &FourBit<G>) -> CudaBuffer<G> {
        let FourBit { codes, values, scales, block, count, .. } = weight;
        let out = self.new_buffer(*count, Dtype::BF16);
        let flat =
            |kernel| Launch { shared_bytes: TABLE_BYTES, ..Launch::flat(kernel, count.div_ceil(PER_THREAD)) };
        self.run(|gpu| {
            let (codes, values, numbers) = (codes.address()?, values.address()?, out.address()?);
            let (count, block) = (*count as u64, int(*block as usize)?);
            match scales {
                DeviceScales::Plain(scales) => {
                    let launch = flat("dequantize_4bit");
                    launch!(gpu, launch, codes, values, scales.address()?, numbers, count, block)
                }
                DeviceScales::Double { codes: scales, map, outer, block: scales_block, offset } => launch!(
                    gpu,
                    flat("dequantize_4bit_double"),
                    codes,
                    values,
                    scales.address()?,
                    map.address()?,
                    outer.address()?,
                    numbers,
                    count,
                    block,
                    int(*scales_block as usize)?,
                    *offset
                ),
            }
        });
        out
    }
}
