//! The inner loop of every product: a tile of the result, kept in registers while the inner axis goes by.

/// A stretch of the inner axis: `sum over k of left[row, k] * right[k, column]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) left: *const f32,
    /// From one row of the left factor to the next.
    pub(super) left_row: usize,
    /// From one column of the left factor to the next.
    pub(super) left_inner: usize,
    /// Columns lie side by side.
    pub(super) right: *const f32,
    /// From one row of the right factor to the next.
    pub(super) right_inner: usize,
    pub(super) depth: usize,
}

/// Where a tile goes: `out = alpha * sum`, or added. Columns lie side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) out: *mut f32,
    /// From one row to the next.
    pub(super) row: usize,
    pub(super) alpha: f32,
    pub(super) add: bool,
}

/// Instructions to compute tiles with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the compiler makes of plain Rust.
    Portable,
}

impl Instructions {
    /// The best of this processor.
    pub(super) fn detect() -> Instructions {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Instructions::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Instructions::Avx2;
            }
        }
        Instructions::Portable
    }

    /// All that this processor has.
    #[cfg(test)]
    pub(super) fn every() -> Vec<Instructions> {
        let mut all = vec![Instructions::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let best = Instructions::detect();
            if best != Instructions::Portable {
                all.push(Instructions::Avx2);
            }
            if best == Instructions::Avx512 {
                all.push(best);
            }
        }
        all
    }

    /// Numbers of a vector.
    pub(super) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => 16,
            _ => 8,
        }
    }

    /// Rows of a tile at most.
    pub(super) fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => 8,
            _ => 4,
        }
    }

    /// Columns of a tile at most.
    pub(super) fn columns(self) -> usize {
        VECTORS * self.lanes()
    }

    /// Computes a tile of `rows` rows and `vectors` vectors of columns.
    ///
    /// # Safety
    /// The processor has these instructions; there are at most [`Instructions::rows`] rows and [`VECTORS`] vectors; every
    /// number that the strides reach lies in memory that lives, and no one else uses what is written.
    pub(super) unsafe fn tile(self, (rows, vectors): (usize, usize), stretches: &[Stretch], target: Target) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512 => avx512::tile((rows, vectors), stretches, target),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2 => avx2::tile((rows, vectors), stretches, target),
                Instructions::Portable => portable::tile((rows, vectors), stretches, target),
            }
        }
    }
}

/// Vectors of columns of a tile at most. With three, 8 rows take 24 of AVX-512's 32 registers, 4 rows 12 of AVX2's 16.
pub(super) const VECTORS: usize = 3;

/// The tiles of one set of instructions, for every size up to the largest.
macro_rules! tiles {
    ($(#[$target:meta])* $vector:ty, $lanes:literal, [$($rows:literal)*], $load:path, $store:path, $splat:path, $fma:path, $mul:path, $add:path) => {
        $(#[$target])*
        pub(super) unsafe fn tile(size: (usize, usize), stretches: &[Stretch], target: Target) {
            // SAFETY: the caller's promise.
            unsafe {
                match size {
                    $(
                        ($rows, 1) => sized::<$rows, 1>(stretches, target),
                        ($rows, 2) => sized::<$rows, 2>(stretches, target),
                        ($rows, 3) => sized::<$rows, 3>(stretches, target),
                    )*
                    _ => unreachable!("a tile is no larger than its registers"),
                }
            }
        }

        $(#[$target])*
        unsafe fn sized<const ROWS: usize, const VECTORS: usize>(stretches: &[Stretch], target: Target) {
            // SAFETY: the caller's promise.
            unsafe {
                let mut sums: [[$vector; VECTORS]; ROWS] = [[$splat(0.0); VECTORS]; ROWS];
                for stretch in stretches {
                    let (mut left, mut right) = (stretch.left, stretch.right);
                    for _ in 0..stretch.depth {
                        let mut columns = [$splat(0.0); VECTORS];
                        for (vector, columns) in columns.iter_mut().enumerate() {
                            *columns = $load(right.add(vector * $lanes));
                        }
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let factor = $splat(*left.add(row * stretch.left_row));
                            for (sum, columns) in sums.iter_mut().zip(columns) {
                                *sum = $fma(factor, columns, *sum);
                            }
                        }
                        left = left.wrapping_add(stretch.left_inner);
                        right = right.wrapping_add(stretch.right_inner);
                    }
                }
                let alpha = $splat(target.alpha);
                for (row, sums) in sums.iter().enumerate() {
                    for (vector, sum) in sums.iter().enumerate() {
                        let out = target.out.add(row * target.row + vector * $lanes);
                        let scaled = $mul(*sum, alpha);
                        $store(out, if target.add { $add($load(out), scaled) } else { scaled });
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Stretch, Target};

    tiles!(#[target_feature(enable = "avx512f")] __m512, 16, [1 2 3 4 5 6 7 8], _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_mul_ps, _mm512_add_ps);
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Stretch, Target};

    tiles!(#[target_feature(enable = "avx2,fma")] __m256, 8, [1 2 3 4], _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_mul_ps, _mm256_add_ps);
}

/// Arrays that the compiler turns into vectors.
mod portable {
    use super::{Stretch, Target};

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

    /// Fused only where that is an instruction of every processor of this architecture.
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
