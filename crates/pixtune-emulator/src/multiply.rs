//! Matrix multiplications as cuBLASLt computes them: factors widened to f32, sums in f32, the result rounded once.

use pixtune_cuda::gpu::Address;
use pixtune_cuda::matmul::{Matmul, Scalar};
use pixtune_model::weights::dtype::{bf16_to_f32, f32_to_bf16};

/// `d = alpha * op(a) op(b) + beta * d`, column by column.
///
/// # Safety
/// The matrices of the call are inside allocations.
pub(super) unsafe fn multiply(call: &Matmul) {
    let Matmul { rows, columns, inner, a, b, d, .. } = *call;
    // Both factors with the inner axis side by side.
    let left: Vec<f32> = (0..rows * inner)
        .map(|index| {
            let (row, k) = (index / inner, index % inner);
            let at = if a.is_transposed { k + row * a.leading } else { row + k * a.leading };
            // SAFETY: the caller's.
            unsafe { load(a.address, a.scalar, at) }
        })
        .collect();
    let mut right = vec![0.0; inner];
    for column in 0..columns {
        for (k, value) in right.iter_mut().enumerate() {
            let at = if b.is_transposed { column + k * b.leading } else { k + column * b.leading };
            // SAFETY: the caller's.
            *value = unsafe { load(b.address, b.scalar, at) };
        }
        for (row, left) in left.chunks_exact(inner).enumerate() {
            let sum: f32 = left.iter().zip(&right).map(|(a, b)| a * b).sum();
            let at = row + column * d.leading;
            // SAFETY: the caller's.
            unsafe {
                // With a factor of zero, the old contents are not read: they may be NaN.
                let old = if call.beta == 0.0 { 0.0 } else { call.beta * load(d.address, d.scalar, at) };
                store(d.address, d.scalar, at, call.alpha * sum + old);
            }
        }
    }
}

unsafe fn load(address: Address, scalar: Scalar, index: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        match scalar {
            Scalar::F32 => (address.0 as *const f32).add(index).read_unaligned(),
            Scalar::Bf16 => bf16_to_f32((address.0 as *const u16).add(index).read_unaligned()),
        }
    }
}

unsafe fn store(address: Address, scalar: Scalar, index: usize, value: f32) {
    // SAFETY: the caller's.
    unsafe {
        match scalar {
            Scalar::F32 => (address.0 as *mut f32).add(index).write_unaligned(value),
            Scalar::Bf16 => (address.0 as *mut u16).add(index).write_unaligned(f32_to_bf16(value)),
        }
    }
}
