//! The inner loop of GEMM: a tile of the result stays in registers for the whole inner axis.

/// One of the products that are summed into a tile: `sum over k of left[row, k] * right[k, column]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileTerm {
    pub(super) left: *const f32,
    pub(super) left_row_stride: usize,
    pub(super) left_column_stride: usize,
    /// The columns of a row are adjacent.
    pub(super) right: *const f32,
    pub(super) right_row_stride: usize,
    pub(super) depth: usize,
}

/// Where a tile is written: `out = alpha * sum`, or added. The columns of a row are adjacent.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileOutput {
    pub(super) out: *mut f32,
    pub(super) row_stride: usize,
    pub(super) alpha: f32,
    pub(super) add: bool,
}

/// The instructions that compute tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels::cpu) enum InstructionSet {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What the compiler generates for plain Rust.
    Portable,
}

impl InstructionSet {
    /// The fastest of this CPU.
    pub(in crate::kernels::cpu) fn detect() -> InstructionSet {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return InstructionSet::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return InstructionSet::Avx2;
            }
        }
        InstructionSet::Portable
    }

    /// All that this CPU supports.
    #[cfg(test)]
    pub(in crate::kernels::cpu) fn every() -> Vec<InstructionSet> {
        let mut all = vec![InstructionSet::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let best = InstructionSet::detect();
            if best != InstructionSet::Portable {
                all.push(InstructionSet::Avx2);
            }
            if best == InstructionSet::Avx512 {
                all.push(best);
            }
        }
        all
    }

    /// Numbers per vector.
    pub(in crate::kernels::cpu) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => 16,
            _ => 8,
        }
    }

    /// Maximum rows of a tile.
    pub(in crate::kernels::cpu) fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => 8,
            _ => 4,
        }
    }

    /// Maximum columns of a tile.
    pub(in crate::kernels::cpu) fn columns(self) -> usize {
        VECTORS * self.lanes()
    }

    /// Computes a tile of `rows` rows and `vectors` vectors of columns.
    ///
    /// # Safety
    /// The CPU supports these instructions; there are at most [`InstructionSet::rows`] rows and [`VECTORS`] vectors; every
    /// number that the strides reach is in live memory, and nothing else accesses what is written.
    pub(super) unsafe fn tile(self, (rows, vectors): (usize, usize), terms: &[TileTerm], to: TileOutput) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => avx512::tile((rows, vectors), terms, to),
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx2 => avx2::tile((rows, vectors), terms, to),
                InstructionSet::Portable => portable::tile((rows, vectors), terms, to),
            }
        }
    }
}

/// Maximum vectors of columns of a tile. With three, 8 rows take 24 of AVX-512's 32 registers, and 4 rows 12 of AVX2's 16.
pub(super) const VECTORS: usize = 3;

/// The tiles of one instruction set, for every size up to the largest.
macro_rules! tiles {
    ($(#[$target:meta])* $vector:ty, $lanes:literal, [$($rows:literal)*], $load:path, $store:path, $splat:path, $fma:path, $mul:path, $add:path) => {
        $(#[$target])*
        pub(super) unsafe fn tile(size: (usize, usize), terms: &[TileTerm], to: TileOutput) {
            // SAFETY: the caller's promise.
            unsafe {
                match size {
                    $(
                        ($rows, 1) => sized::<$rows, 1>(terms, to),
                        ($rows, 2) => sized::<$rows, 2>(terms, to),
                        ($rows, 3) => sized::<$rows, 3>(terms, to),
                    )*
                    _ => unreachable!("a tile fits into the registers"),
                }
            }
        }

        $(#[$target])*
        unsafe fn sized<const ROWS: usize, const VECTORS: usize>(terms: &[TileTerm], to: TileOutput) {
            // SAFETY: the caller's promise.
            unsafe {
                let mut sums: [[$vector; VECTORS]; ROWS] = [[$splat(0.0); VECTORS]; ROWS];
                for term in terms {
                    let (mut left, mut right) = (term.left, term.right);
                    for _ in 0..term.depth {
                        let mut columns = [$splat(0.0); VECTORS];
                        for (vector, columns) in columns.iter_mut().enumerate() {
                            *columns = $load(right.add(vector * $lanes));
                        }
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let factor = $splat(*left.add(row * term.left_row_stride));
                            for (sum, columns) in sums.iter_mut().zip(columns) {
                                *sum = $fma(factor, columns, *sum);
                            }
                        }
                        left = left.wrapping_add(term.left_column_stride);
                        right = right.wrapping_add(term.right_row_stride);
                    }
                }
                let alpha = $splat(to.alpha);
                for (row, sums) in sums.iter().enumerate() {
                    for (vector, sum) in sums.iter().enumerate() {
                        let out = to.out.add(row * to.row_stride + vector * $lanes);
                        let scaled = $mul(*sum, alpha);
                        $store(out, if to.add { $add($load(out), scaled) } else { scaled });
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{TileOutput, TileTerm};

    tiles!(#[target_feature(enable = "avx512f")] __m512, 16, [1 2 3 4 5 6 7 8], _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_add_ps);
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{TileOutput, TileTerm};

    tiles!(#[target_feature(enable = "avx2,fma")] __m256, 8, [1 2 3 4], _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_mul_ps, _mm256_add_ps);
}

/// Arrays that the compiler vectorizes.
mod portable {
    use super::{TileOutput, TileTerm};

    type Vector = [f32; 8];

    tiles!(Vector, 8, [1 2 3 4], load, store, splat, fma, mul, add);

    unsafe fn load(at: *const f32) -> Vector {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<Vector>().read_unaligned() }
    }

    unsafe fn store(at: *mut f32, vector: Vector) {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<Vector>().write_unaligned(vector) }
    }

    fn splat(value: f32) -> Vector {
        [value; 8]
    }

    /// Fused only where every CPU of this architecture has an instruction for it.
    fn fma(a: Vector, b: Vector, c: Vector) -> Vector {
        let fused = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
        std::array::from_fn(|lane| match fused {
            true => a[lane].mul_add(b[lane], c[lane]),
            false => a[lane] * b[lane] + c[lane],
        })
    }

    fn mul(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    fn add(a: Vector, b: Vector) -> Vector {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }
}
