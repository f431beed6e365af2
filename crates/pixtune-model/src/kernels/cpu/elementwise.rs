//! SwiGLU, GELU and dropout.

use super::simd::exp;
use crate::kernels::DropoutMask;
use crate::simd::vectorized;

vectorized! {
    pub(super) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate / (1.0 + exp(-gate)) * up;
        }
    }
}

vectorized! {
    /// `d silu(g) = s (1 + g (1 - s))` with `s = sigmoid(g)`.
    pub(super) fn swiglu_backward(dy: &[f32], gate: &mut [f32], up: &mut [f32]) {
        for ((dy, gate), up) in dy.iter().zip(gate).zip(up) {
            let sigmoid = 1.0 / (1.0 + exp(-*gate));
            let silu = *gate * sigmoid;
            (*gate, *up) = (dy * *up * (sigmoid + silu * (1.0 - sigmoid)), dy * silu);
        }
    }
}

pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `Phi(x) + x phi(x)`.
pub(super) fn gelu_derivative(x: f32) -> f32 {
    const INVERSE_ROOT_TWO_PI: f32 = 0.398_942_3;
    let cumulative = 0.5 * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2));
    cumulative + x * INVERSE_ROOT_TWO_PI * (-0.5 * x * x).exp()
}

/// A hash of a counter in 32-bit operations, so that it can be vectorized: two rounds of Chris Wellons' "lowbias32", with
/// the halves of the seed before each.
#[inline(always)]
fn mix(seed: u64, counter: u32) -> u32 {
    let mut x = counter ^ seed as u32;
    for key in [(seed >> 32) as u32, 0] {
        x ^= x >> 16;
        x = x.wrapping_mul(0x7feb_352d);
        x ^= x >> 15;
        x = x.wrapping_mul(0x846c_a68b);
        x ^= x >> 16;
        x = x.wrapping_add(key);
    }
    x
}

vectorized! {
    /// Adds `x` after dropout; `first` is the index of `x[0]` in its buffer.
    pub(super) fn add_dropout(mask: DropoutMask, first: u32, x: &[f32], out: &mut [f32]) {
        let limit = (f64::from(mask.rate) * 4_294_967_296.0) as u32;
        let factor = 1.0 / (1.0 - mask.rate);
        for (index, (out, x)) in out.iter_mut().zip(x).enumerate() {
            *out += if mix(mask.seed, first.wrapping_add(index as u32)) >= limit { x * factor } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_zeroes_its_share_and_preserves_the_mean() {
        let mask = DropoutMask { rate: 0.2, seed: 0x1234_5678_9abc };
        let mut out = vec![0.0; 200_000];
        add_dropout(mask, 0, &vec![1.0; 200_000], &mut out);
        let kept = out.iter().filter(|x| **x > 0.0).count();
        assert!((159_000..161_000).contains(&kept), "{kept}");
        assert!(out.iter().all(|x| *x == 0.0 || *x == 1.25));
        let mut again = vec![0.0; 1000];
        add_dropout(mask, 5000, &[1.0; 1000], &mut again);
        assert_eq!(again, out[5000..6000]);
        let mut other = vec![0.0; 1000];
        add_dropout(DropoutMask { seed: 1, ..mask }, 5000, &[1.0; 1000], &mut other);
        assert_ne!(again, other);
    }
}
