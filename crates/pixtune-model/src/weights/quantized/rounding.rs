//! How far dequantized elements are from those that were quantized, as far as the codes show it: an element was somewhere between the
//! midpoints to the neighbors of its value.

/// Expected sums of squares over some elements.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rounding {
    /// Of the differences.
    pub difference: f64,
    /// Of the elements.
    pub size: f64,
}

impl Rounding {
    /// The norm of the difference divided by the norm of the elements.
    pub fn relative(self) -> f64 {
        if self.size > 0.0 { (self.difference / self.size).sqrt() } else { 0.0 }
    }

    /// Adds codes with one scale.
    pub(super) fn add(&mut self, codes: impl Iterator<Item = usize>, table: &[Rounding], scale: f32) {
        let mut sum = Rounding::default();
        for code in codes {
            sum.difference += table[code].difference;
            sum.size += table[code].size;
        }
        let square = f64::from(scale) * f64::from(scale);
        self.difference += sum.difference * square;
        self.size += sum.size * square;
    }

    /// The same sums, of as many elements more.
    pub fn times(self, factor: f64) -> Rounding {
        Rounding { difference: self.difference * factor, size: self.size * factor }
    }
}

impl std::ops::AddAssign for Rounding {
    fn add_assign(&mut self, other: Rounding) {
        self.difference += other.difference;
        self.size += other.size;
    }
}

/// For every code: the mean square of the distance between its value and the elements that are rounded to it, if these are spread
/// evenly, and the square of its value. Nothing lies beyond the largest values, because they are the scale of their block.
pub(super) fn of_codes(values: &[f32]) -> Vec<Rounding> {
    let mut sorted: Vec<f64> =
        values.iter().filter(|value| value.is_finite()).map(|v| f64::from(*v)).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup_by(|a, b| a == b);
    let of = |value: f64| {
        let at = sorted.partition_point(|other| *other < value);
        let below = at.checked_sub(1).map_or(0.0, |index| (value - sorted[index]) / 2.0);
        let above = sorted.get(at + 1).map_or(0.0, |next| (next - value) / 2.0);
        let difference = (below.powi(3) + above.powi(3)) / (3.0 * (below + above)).max(f64::MIN_POSITIVE);
        Rounding { difference, size: value * value }
    };
    values
        .iter()
        .map(|value| if value.is_finite() { of(f64::from(*value)) } else { Rounding::default() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_steps_have_a_twelfth_of_their_square() {
        let found = of_codes(&[-1.0, 0.0, 1.0, f32::NAN]);
        assert!((found[1].difference - 1.0 / 12.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found[0].size, found[3]), (1.0, Rounding::default()));
        // At the end, half of a step remains.
        assert!((found[2].difference - 1.0 / 12.0).abs() < 1e-12, "{found:?}");
        let zeros = of_codes(&[0.0, 0.0, 2.0]);
        assert_eq!(zeros[0], zeros[1]);
    }
}
