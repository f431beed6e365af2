//! W + s·(B·A) over a block of rows: the arithmetic of a merge.
//!
//! Every element is a chain of fused multiply-adds over the rank, from the first to the last, then one multiplication
//! with the scaling and one addition. Elements do not depend on each other, so vector width, blocking and threads never
//! change a bit. Checked against peft's own merge (PyTorch 2.15.0) in `tests/adapter/merge.rs`.

/// Columns of A that are kept together: a vector of AVX-512, two of AVX2.
const LANES: usize = 16;

/// Rows of W that share one pass over A.
const ROWS: usize = 4;

/// A, laid out for reading: for every `LANES` columns their values of each rank, one after the other.
#[derive(Debug)]
pub struct PackedA {
    panels: Vec<[f32; LANES]>,
    rank: usize,
    columns: usize,
}

impl PackedA {
    /// An A of zeros, `rank` rows of `columns`.
    pub fn zeros(rank: usize, columns: usize) -> PackedA {
        PackedA { panels: vec![[0.0; LANES]; columns.div_ceil(LANES) * rank], rank, columns }
    }

    /// Packs A, `rank` rows of `columns`.
    pub fn new(a: &[f32], rank: usize, columns: usize) -> PackedA {
        assert_eq!(a.len(), rank * columns, "A is rank × columns");
        let mut packed = PackedA::zeros(rank, columns);
        a.chunks_exact(columns.max(1)).enumerate().for_each(|(row, values)| packed.set_row(row, values));
        packed
    }

    /// Packs one row.
    pub fn set_row(&mut self, row: usize, values: &[f32]) {
        assert!(row < self.rank && values.len() == self.columns, "A is rank × columns");
        for (index, values) in values.chunks(LANES).enumerate() {
            self.panels[index * self.rank + row][..values.len()].copy_from_slice(values);
        }
    }

    /// Columns of A, and of the weight it changes.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Adds `scaling`·(B·A) to whole rows of a weight; `b` holds the same rows of B.
    pub fn add_to(&self, weight: &mut [f32], b: &[f32], scaling: f32) {
        assert_eq!(weight.len() * self.rank, b.len() * self.columns, "as many rows of B as of the weight");
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: the CPU has the features that the function is compiled for.
                return unsafe { add_avx512(self, weight, b, scaling) };
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the CPU has the features that the function is compiled for.
                return unsafe { add_avx2(self, weight, b, scaling) };
            }
        }
        add(self, weight, b, scaling);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn add_avx512(a: &PackedA, weight: &mut [f32], b: &[f32], scaling: f32) {
    add(a, weight, b, scaling);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn add_avx2(a: &PackedA, weight: &mut [f32], b: &[f32], scaling: f32) {
    add(a, weight, b, scaling);
}

#[inline(always)]
fn add(a: &PackedA, weight: &mut [f32], b: &[f32], scaling: f32) {
    let row_blocks = weight.chunks_mut(ROWS * a.columns).zip(b.chunks(ROWS * a.rank));
    for (weight, b) in row_blocks {
        for (index, panel) in a.panels.chunks_exact(a.rank).enumerate() {
            let start = index * LANES;
            let width = LANES.min(a.columns - start);
            if weight.len() == ROWS * a.columns {
                add_tile::<ROWS>(panel, &mut weight[start..], a.columns, width, b, scaling);
            } else {
                for (weight, b) in weight.chunks_exact_mut(a.columns).zip(b.chunks_exact(a.rank)) {
                    add_tile::<1>(panel, &mut weight[start..], a.columns, width, b, scaling);
                }
            }
        }
    }
}

/// `N` rows and up to `LANES` columns. Counted loops keep the sums in registers: with iterators they go through memory, and
/// a merge of rank 64 takes thirteen times as long.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "counted loops keep the sums in registers")]
fn add_tile<const N: usize>(
    panel: &[[f32; LANES]],
    weight: &mut [f32],
    stride: usize,
    width: usize,
    b: &[f32],
    scaling: f32,
) {
    let rank = panel.len();
    let left: [&[f32]; N] = std::array::from_fn(|row| &b[row * rank..][..rank]);
    let mut sums = [[0.0f32; LANES]; N];
    for k in 0..rank {
        let a = &panel[k];
        for row in 0..N {
            let b = left[row][k];
            for lane in 0..LANES {
                sums[row][lane] = b.mul_add(a[lane], sums[row][lane]);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (weight, sum) in weight[row * stride..][..width].iter_mut().zip(sums) {
            *weight += sum * scaling;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_and_shape_gives_the_same_bits() {
        let value = |seed: usize| ((seed * 7919 + 13) % 1009) as f32 / 311.0 - 1.6;
        for (rows, rank, columns) in [(1, 1, 1), (4, 3, 32), (7, 8, 70), (9, 5, 33), (3, 16, 31)] {
            let a: Vec<f32> = (0..rank * columns).map(value).collect();
            let b: Vec<f32> = (0..rows * rank).map(|at| value(at + 500)).collect();
            let weight: Vec<f32> = (0..rows * columns).map(|at| value(at + 900)).collect();
            let expected: Vec<u32> = (0..rows * columns)
                .map(|at| {
                    let (row, column) = (at / columns, at % columns);
                    let sum = (0..rank)
                        .fold(0.0f32, |sum, k| b[row * rank + k].mul_add(a[k * columns + column], sum));
                    (weight[at] + sum * 1.5).to_bits()
                })
                .collect();
            let packed = PackedA::new(&a, rank, columns);
            for way in [PackedA::add_to, add] {
                let mut found = weight.clone();
                way(&packed, &mut found, &b, 1.5);
                assert_eq!(found.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), expected);
            }
        }
    }
}
