//! Rounding once: values times a factor, into a weight type, with the largest error it costs.

use crate::weights::Dtype;
use crate::weights::dtype::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

/// The largest relative error of a rounding, and where.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rounding {
    /// |stored − exact| / |exact|, at most; 0 where nothing was rounded.
    pub largest: f64,
    /// The module with the largest error.
    pub module: Option<String>,
    /// Values that were too small or too large for the type and became zero or infinite.
    pub lost: u64,
}

impl Rounding {
    /// Takes another's error in.
    pub fn take(&mut self, other: f64, lost: u64, module: &str) {
        self.lost += lost;
        if other > self.largest {
            self.largest = other;
            self.module = Some(module.to_owned());
        }
    }
}

/// What came out of a multiplication and rounding.
#[derive(Debug)]
pub struct Rounded {
    /// The values as they are stored.
    pub bytes: Vec<u8>,
    /// The largest relative error against `exact`.
    pub error: f64,
    /// Values that became zero or infinite.
    pub lost: u64,
}

/// Multiplies with a factor, exactly, and rounds once to `dtype`. `exact` is the factor before it became an `f32`: the
/// error is measured against it.
///
/// The product of two `f32` is exact in `f64`, so for an `f32` this is the `f32` multiplication.
pub fn scale(values: &[f32], factor: f32, exact: f64, dtype: Dtype) -> Rounded {
    let mut rounded = Rounded { bytes: Vec::with_capacity(values.len() * dtype.size()), error: 0.0, lost: 0 };
    for value in values {
        let stored = store(f64::from(*value) * f64::from(factor), dtype, &mut rounded.bytes);
        let wanted = f64::from(*value) * exact;
        let is_lost = wanted != 0.0 && (stored == 0.0 || !stored.is_finite());
        if is_lost {
            rounded.lost += 1;
        } else if wanted != 0.0 {
            rounded.error = rounded.error.max(((stored - wanted) / wanted).abs());
        }
    }
    rounded
}

/// Appends a value in a weight type and returns what it became.
fn store(value: f64, dtype: Dtype, out: &mut Vec<u8>) -> f64 {
    match dtype {
        Dtype::BF16 => {
            let bits = f32_to_bf16(to_odd(value));
            out.extend_from_slice(&bits.to_le_bytes());
            f64::from(bf16_to_f32(bits))
        }
        Dtype::F16 => {
            let bits = f32_to_f16(to_odd(value));
            out.extend_from_slice(&bits.to_le_bytes());
            f64::from(f16_to_f32(bits))
        }
        _ => {
            let value = value as f32;
            out.extend_from_slice(&value.to_le_bytes());
            f64::from(value)
        }
    }
}

/// An `f32` that still shows on which side of it the value lay, so that rounding it further rounds the value once:
/// cut off, with the last bit set where something was cut.
fn to_odd(value: f64) -> f32 {
    let near = value as f32;
    let beyond = near.is_infinite() && value.is_finite() || f64::from(near).abs() > value.abs();
    let cut = if beyond { f32::from_bits(near.to_bits() - 1) } else { near };
    if f64::from(cut) == value || value.is_nan() { cut } else { f32::from_bits(cut.to_bits() | 1) }
}

/// Refuses NaN and infinities, by the number of them in a module.
pub fn count_not_finite(values: &[f32]) -> usize {
    values.iter().filter(|value| !value.is_finite()).count()
}

/// The floating type of this name on the command line.
pub fn parse_dtype(name: &str) -> Option<Dtype> {
    match name {
        "bf16" => Some(Dtype::BF16),
        "f16" => Some(Dtype::F16),
        "f32" => Some(Dtype::F32),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_two_costs_nothing() {
        let values = [1.0f32, -0.3, 7.25e-3];
        let halved = scale(&values, 0.5, 0.5, Dtype::F32);
        assert_eq!(halved.error, 0.0);
        let expected: Vec<u8> = values.iter().flat_map(|value| (value * 0.5).to_le_bytes()).collect();
        assert_eq!(halved.bytes, expected);
    }

    #[test]
    fn a_product_is_rounded_once() {
        // 1 + 2^-8 is a tie of bf16 and goes down to 1; a little more has to go up, although the f32 nearest to it is
        // the tie itself.
        let tie = 1.0 + f64::powi(2.0, -8);
        let stored = |value: f64| store(value, Dtype::BF16, &mut Vec::new());
        assert_eq!(stored(tie), 1.0);
        assert_eq!(stored(tie + f64::powi(2.0, -40)), 1.0 + f64::powi(2.0, -7));
        assert_eq!(stored(-tie - f64::powi(2.0, -40)), -1.0 - f64::powi(2.0, -7));
        assert_eq!(stored(tie - f64::powi(2.0, -40)), 1.0);
        assert!(stored(1e39).is_infinite());
    }

    #[test]
    fn errors_and_losses_are_counted() {
        let third = scale(&[1.0], 1.0 / 3.0, 1.0 / 3.0, Dtype::BF16);
        assert!(third.error > 0.0 && third.error < f64::powi(2.0, -8));
        let lost = scale(&[1e-30, 1e30, 1.0, 0.0], 1.0, 1.0, Dtype::F16);
        assert_eq!(lost.lost, 2);
    }
}
