//! Packs right factors the way tiles read them: row by row, widened to f32, in panels as wide as a tile.

use super::blocks;
use super::tile::InstructionSet;
use crate::kernels::cpu::matrix::Matrix;
use crate::simd::vectorized;

/// A stored number.
pub(super) trait Stored: Copy {
    /// How many fit into 32 bits.
    const IN_WORD: usize;

    fn widen(self) -> f32;

    /// Copies a matrix that is stored row by row to a panel of `width` numbers per row, padded with zeros.
    fn copy(from: Matrix<Self>, factor: f32, width: usize, to: &mut [f32]);
}

impl Stored for f32 {
    const IN_WORD: usize = 1;

    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    fn copy(from: Matrix<f32>, factor: f32, width: usize, to: &mut [f32]) {
        vectorized! {
            fn copy(from: Matrix<f32>, factor: f32, width: usize, to: &mut [f32]) {
                copy_rows(from, factor, width, to);
            }
        }
        copy(from, factor, width, to);
    }
}

/// bf16: the upper half of an `f32`.
impl Stored for u16 {
    const IN_WORD: usize = 2;

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }

    fn copy(from: Matrix<u16>, factor: f32, width: usize, to: &mut [f32]) {
        vectorized! {
            fn copy(from: Matrix<u16>, factor: f32, width: usize, to: &mut [f32]) {
                copy_rows(from, factor, width, to);
            }
        }
        copy(from, factor, width, to);
    }
}

#[inline(always)]
fn copy_rows<T: Stored>(from: Matrix<T>, factor: f32, width: usize, to: &mut [f32]) {
    for (row, to) in to.chunks_exact_mut(width).enumerate() {
        let (to, beyond) = to.split_at_mut(from.columns);
        to.iter_mut().zip(from.row(row)).for_each(|(to, number)| *to = number.widen() * factor);
        beyond.fill(0.0);
    }
}

/// Writes `factor` times a matrix as a panel: `width` numbers per row, padded with zeros.
pub(super) fn pack<T: Stored>(
    instructions: InstructionSet,
    from: Matrix<T>,
    factor: f32,
    width: usize,
    to: &mut [f32],
) {
    assert!(from.columns <= width && to.len() == from.rows * width, "a panel holds the matrix");
    if from.column_stride == 1 {
        return T::copy(from, factor, width, to);
    }
    let (rows, columns) = squares(instructions, from, factor, width, to);
    // The panel's rows of a block stay in the L1 cache while all columns are read.
    for block in blocks(from.rows, 128) {
        for column in 0..from.columns {
            let first = if column < columns { block.start.max(rows) } else { block.start };
            for row in first..block.end {
                to[row * width + column] = from.get(row, column).widen() * factor;
            }
        }
        for row in to[block.start * width..block.end * width].chunks_exact_mut(width) {
            row[from.columns..].fill(0.0);
        }
    }
}

/// Packs the part that whole squares of vectors cover; returns its rows and columns.
fn squares<T: Stored>(
    instructions: InstructionSet,
    from: Matrix<T>,
    factor: f32,
    width: usize,
    to: &mut [f32],
) -> (usize, usize) {
    let lanes = instructions.lanes();
    let step = lanes * T::IN_WORD;
    if from.row_stride != 1 || instructions == InstructionSet::Portable {
        return (0, 0);
    }
    let (rows, columns) = (from.rows / step * step, from.columns / lanes * lanes);
    for row in (0..rows).step_by(step) {
        for column in (0..columns).step_by(lanes) {
            let square = Square {
                from: from.at.wrapping_add(row + column * from.column_stride).cast(),
                from_stride_bytes: from.column_stride * size_of::<T>(),
                to: to[row * width + column..].as_mut_ptr(),
                to_row_stride: width,
                factor,
            };
            // SAFETY: the CPU supports these instructions. `step` numbers are adjacent in each of `lanes` columns of the
            // matrix, and the panel has `lanes` numbers in each of `step` rows, as asserted in `pack`.
            unsafe {
                match instructions {
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx512 => avx512::transpose::<T>(square),
                    #[cfg(target_arch = "x86_64")]
                    InstructionSet::Avx2 => avx2::transpose::<T>(square),
                    InstructionSet::Portable => return (0, 0),
                }
            }
        }
    }
    (rows, columns)
}

/// As many columns of 32-bit words as a vector has lanes, each as long as a vector.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "only the vector code of that architecture reads it")
)]
struct Square {
    from: *const u8,
    from_stride_bytes: usize,
    to: *mut f32,
    to_row_stride: usize,
    factor: f32,
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;
    use std::array::from_fn;

    use super::{Square, Stored};

    /// # Safety
    /// The CPU supports AVX-512F; the square is in live memory, and nothing else accesses what is written.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn transpose<T: Stored>(square: Square) {
        // SAFETY: the caller's promise.
        unsafe {
            let columns = from_fn(|column| {
                _mm512_loadu_si512(square.from.add(column * square.from_stride_bytes).cast())
            });
            let factor = _mm512_set1_ps(square.factor);
            let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            for (word, words) in transposed(columns).into_iter().enumerate() {
                let to = square.to.add(word * T::IN_WORD * square.to_row_stride);
                if T::IN_WORD == 1 {
                    _mm512_storeu_ps(to, _mm512_mul_ps(_mm512_castsi512_ps(words), factor));
                } else {
                    let (first, second) = (_mm512_slli_epi32::<16>(words), _mm512_and_si512(words, high));
                    _mm512_storeu_ps(to, _mm512_mul_ps(_mm512_castsi512_ps(first), factor));
                    _mm512_storeu_ps(
                        to.add(square.to_row_stride),
                        _mm512_mul_ps(_mm512_castsi512_ps(second), factor),
                    );
                }
            }
        }
    }

    /// Swaps pairs, then fours, then the quarters of vectors.
    #[target_feature(enable = "avx512f")]
    fn transposed(x: [__m512i; 16]) -> [__m512i; 16] {
        let pairs: [__m512i; 16] = from_fn(|i| match i % 2 {
            0 => _mm512_unpacklo_epi32(x[i], x[i + 1]),
            _ => _mm512_unpackhi_epi32(x[i - 1], x[i]),
        });
        let fours: [__m512i; 16] = from_fn(|i| {
            let first = i / 4 * 4 + i % 4 / 2;
            match i % 2 {
                0 => _mm512_unpacklo_epi64(pairs[first], pairs[first + 2]),
                _ => _mm512_unpackhi_epi64(pairs[first], pairs[first + 2]),
            }
        });
        let halves = |i: usize| {
            let (a, b) = (fours[i], fours[i + 4]);
            (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b))
        };
        from_fn(|i| {
            let ((even, odd), (even_below, odd_below)) = (halves(i % 4), halves(8 + i % 4));
            match i / 4 {
                0 => _mm512_shuffle_i32x4::<0x88>(even, even_below),
                1 => _mm512_shuffle_i32x4::<0x88>(odd, odd_below),
                2 => _mm512_shuffle_i32x4::<0xdd>(even, even_below),
                _ => _mm512_shuffle_i32x4::<0xdd>(odd, odd_below),
            }
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;
    use std::array::from_fn;

    use super::{Square, Stored};

    /// # Safety
    /// The CPU supports AVX2; the square is in live memory, and nothing else accesses what is written.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn transpose<T: Stored>(square: Square) {
        // SAFETY: the caller's promise.
        unsafe {
            let columns = from_fn(|column| {
                _mm256_loadu_si256(square.from.add(column * square.from_stride_bytes).cast())
            });
            let factor = _mm256_set1_ps(square.factor);
            let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
            for (word, words) in transposed(columns).into_iter().enumerate() {
                let to = square.to.add(word * T::IN_WORD * square.to_row_stride);
                if T::IN_WORD == 1 {
                    _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_castsi256_ps(words), factor));
                } else {
                    let (first, second) = (_mm256_slli_epi32::<16>(words), _mm256_and_si256(words, high));
                    _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_castsi256_ps(first), factor));
                    _mm256_storeu_ps(
                        to.add(square.to_row_stride),
                        _mm256_mul_ps(_mm256_castsi256_ps(second), factor),
                    );
                }
            }
        }
    }

    /// Swaps pairs, then fours, then the halves of vectors.
    #[target_feature(enable = "avx2")]
    fn transposed(x: [__m256i; 8]) -> [__m256i; 8] {
        let pairs: [__m256i; 8] = from_fn(|i| match i % 2 {
            0 => _mm256_unpacklo_epi32(x[i], x[i + 1]),
            _ => _mm256_unpackhi_epi32(x[i - 1], x[i]),
        });
        let fours: [__m256i; 8] = from_fn(|i| {
            let first = i / 4 * 4 + i % 4 / 2;
            match i % 2 {
                0 => _mm256_unpacklo_epi64(pairs[first], pairs[first + 2]),
                _ => _mm256_unpackhi_epi64(pairs[first], pairs[first + 2]),
            }
        });
        from_fn(|i| match i / 4 {
            0 => _mm256_permute2x128_si256::<0x20>(fours[i], fours[i + 4]),
            _ => _mm256_permute2x128_si256::<0x31>(fours[i - 4], fours[i]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number of a panel equals the matrix's, on any instruction set, for any shape and any cut.
    fn agrees<T: Stored>(numbers: &[T]) {
        for instructions in InstructionSet::every() {
            for (rows, columns) in [(1, 1), (16, 16), (64, 48), (33, 17), (130, 7), (100, 45), (32, 8)] {
                let matrix =
                    Matrix::new(&numbers[..200 * 160], 200).rows(3..3 + columns).columns(5..5 + rows);
                for from in [
                    matrix.transposed(),
                    Matrix::new(&numbers[..200 * 160], 200).rows(0..rows).columns(9..9 + columns),
                ] {
                    let width = columns.next_multiple_of(instructions.lanes());
                    let mut to = vec![f32::NAN; rows * width];
                    pack(instructions, from, 0.5, width, &mut to);
                    for (index, found) in to.iter().enumerate() {
                        let (row, column) = (index / width, index % width);
                        let expected =
                            if column < columns { from.get(row, column).widen() * 0.5 } else { 0.0 };
                        assert_eq!(
                            found.to_bits(),
                            expected.to_bits(),
                            "{instructions:?} {rows}x{columns} {index}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn panels_hold_the_matrix() {
        agrees(&(0..200 * 160).map(|i| i as f32 - 900.5).collect::<Vec<f32>>());
        agrees(&(0..200 * 160).map(|i| (i * 7) as u16 % 0x7f80).collect::<Vec<u16>>());
    }
}
