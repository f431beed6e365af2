//! Mixing a row of floats along its length.
use super::taps::Taps;

/// A row of floats with its edge pixels repeated to both sides, padded so that a vector load may read past the end.
pub(super) struct Row {
    values: Vec<f32>,
    width: usize,
    channels: usize,
    margin: usize,
}

/// Floats a 128-bit load or store may touch after the last one that counts.
pub(super) const SLACK: usize = 4;

impl Row {
    pub(super) fn new(width: usize, channels: usize, margin: usize) -> Self {
        Row { values: vec![0.0; (width + 2 * margin) * channels + SLACK], width, channels, margin }
    }

    /// The pixels of the image itself.
    pub(super) fn middle(&mut self) -> &mut [f32] {
        &mut self.values[self.margin * self.channels..][..self.width * self.channels]
    }

    /// Copies the outermost pixels into the margins.
    pub(super) fn replicate_edges(&mut self) {
        let n = self.channels;
        let (first, last) = (self.margin * n, (self.margin + self.width - 1) * n);
        for index in 0..self.margin {
            self.values.copy_within(first..first + n, index * n);
            self.values.copy_within(last..last + n, last + (index + 1) * n);
        }
    }
}

/// Mixes `row` into `output`, which has as many pixels as `taps` has outputs, and [`SLACK`] floats to spare.
pub(super) fn mix_along(row: &Row, taps: &Taps, output: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if let Some((starts, weights)) = taps.fours()
        && is_x86_feature_detected!("avx2")
    {
        match row.channels {
            // SAFETY: the CPU supports AVX2, the only feature that the function needs.
            1 => return unsafe { avx2::single(row, starts, weights, output) },
            // SAFETY: as above.
            3 => return unsafe { avx2::triple(row, starts, weights, output) },
            _ => {}
        }
    }
    portable(row, taps, output);
}

pub(super) fn portable(row: &Row, taps: &Taps, output: &mut [f32]) {
    let n = row.channels;
    let used = output.len() - SLACK;
    for (x, pixel) in output[..used].chunks_exact_mut(n).enumerate() {
        let (start, weights) = taps.of(x);
        let source = &row.values[(start + row.margin as isize) as usize * n..];
        match n {
            1 => pixel[0] = dot(source, weights),
            _ => mix_pixels(source, weights, pixel),
        }
    }
}

/// One channel. Four sums that are added in pairs at the end: the order of the vector code, so that both give
/// the same bits.
fn dot(source: &[f32], weights: &[f32]) -> f32 {
    let (values, values_rest) = source[..weights.len()].as_chunks::<4>();
    let (weights, weights_rest) = weights.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (values, weights) in values.iter().zip(weights) {
        for lane in 0..4 {
            sums[lane] += values[lane] * weights[lane];
        }
    }
    for (lane, (value, weight)) in values_rest.iter().zip(weights_rest).enumerate() {
        sums[lane] += value * weight;
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

/// Several channels, one after the other; four taps in the order of the vector code.
fn mix_pixels(source: &[f32], weights: &[f32], pixel: &mut [f32]) {
    let n = pixel.len();
    for (channel, to) in pixel.iter_mut().enumerate() {
        let values = source[channel..].iter().step_by(n);
        let mut products = values.zip(weights).map(|(value, weight)| value * weight);
        *to = match *weights {
            [_, _, _, _] => {
                let mut pair = || products.by_ref().take(2).sum::<f32>();
                pair() + pair()
            }
            _ => products.sum(),
        };
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::Row;

    /// Four floats from `at`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(values: &[f32], at: usize) -> __m128 {
        let four: &[f32] = &values[at..at + 4];
        // SAFETY: the slice has four floats, and the load needs no alignment.
        unsafe { _mm_loadu_ps(four.as_ptr()) }
    }

    /// Four floats from each of two places.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn load_two(values: &[f32], low: usize, high: usize) -> __m256 {
        _mm256_set_m128(load(values, high), load(values, low))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load_weights(weights: &[[f32; 4]; 2]) -> __m256 {
        // SAFETY: two arrays of four floats are eight floats in a row; the load needs no alignment.
        unsafe { _mm256_loadu_ps(weights.as_ptr().cast()) }
    }

    /// One channel: eight outputs at a time, each a dot product of four neighbors.
    #[target_feature(enable = "avx2")]
    pub(super) fn single(row: &Row, starts: &[isize], weights: &[[f32; 4]], output: &mut [f32]) {
        let place = |start: isize| (start + row.margin as isize) as usize;
        let (starts, starts_rest) = starts.as_chunks::<8>();
        let (weights, weights_rest) = weights.as_chunks::<8>();
        let used = output.len() - super::SLACK;
        let (output, output_rest) = output[..used].as_chunks_mut::<8>();
        for ((starts, weights), output) in starts.iter().zip(weights).zip(output) {
            let at = starts.map(place);
            // Outputs are paired so that the horizontal additions leave them in order: 0 and 4, 1 and 5, …
            let product = |index: usize| {
                let weights = load_weights(&[weights[index], weights[index + 4]]);
                _mm256_mul_ps(load_two(&row.values, at[index], at[index + 4]), weights)
            };
            let low = _mm256_hadd_ps(product(0), product(1));
            let high = _mm256_hadd_ps(product(2), product(3));
            let sums = _mm256_hadd_ps(low, high);
            // SAFETY: `output` is eight floats, and the store needs no alignment.
            unsafe { _mm256_storeu_ps(output.as_mut_ptr(), sums) };
        }
        for ((&start, weights), to) in starts_rest.iter().zip(weights_rest).zip(output_rest) {
            let four = &row.values[place(start)..][..4];
            *to =
                (four[0] * weights[0] + four[1] * weights[1]) + (four[2] * weights[2] + four[3] * weights[3]);
        }
    }

    /// Three channels: four neighbors of three floats each, every one times its weight.
    #[target_feature(enable = "avx2")]
    pub(super) fn triple(row: &Row, starts: &[isize], weights: &[[f32; 4]], output: &mut [f32]) {
        for (x, (&start, weights)) in starts.iter().zip(weights).enumerate() {
            let at = (start + row.margin as isize) as usize * 3;
            let values = &row.values[at..at + 13];
            let product = |tap: usize| _mm_mul_ps(load(values, 3 * tap), _mm_set1_ps(weights[tap]));
            let left = _mm_add_ps(product(0), product(1));
            let sum = _mm_add_ps(left, _mm_add_ps(product(2), product(3)));
            // The fourth float is overwritten by the next pixel, or lies in the slack.
            let pixel = &mut output[3 * x..3 * x + 4];
            // SAFETY: `pixel` is four floats, and the store needs no alignment.
            unsafe { _mm_storeu_ps(pixel.as_mut_ptr(), sum) };
        }
    }
}
