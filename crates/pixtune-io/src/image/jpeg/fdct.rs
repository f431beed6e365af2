//! Samples to quantized coefficients, in portable code.
//!
//! The forward transform is the one that [`super::idct`] inverts: 13-bit constants, rows first, two extra bits between
//! the passes, results eight times too large. Quantisation divides that factor out and rounds halves away from zero.

use super::idct::{
    BETWEEN_BITS, C_0_298, C_0_390, C_0_541, C_0_765, C_0_899, C_1_175, C_1_501, C_1_847, C_1_961, C_2_053,
    C_2_562, C_3_072, CONSTANT_BITS,
};

/// Quantised coefficients of a block, row-major.
#[repr(align(32))]
pub(super) struct Quantised {
    pub(super) values: [i16; 64],
    /// Bit i is set where `values[i]` is not zero.
    pub(super) nonzero: u64,
}

/// Division by eight times the step of each coefficient, as multiplication.
///
/// For a divisor d with 2^s < d <= 2^(s+1) and a dividend below 2^15, multiplying with m = ceil(2^(16+s) / d) and
/// dropping 16 + s bits is exact (Granlund and Montgomery, PLDI 1994, theorem 4.2): m d - 2^(16+s) < d <= 2^(s+1).
#[repr(align(32))]
pub(super) struct Divisors {
    /// Half the divisor: what rounding adds.
    pub(super) halves: [u16; 64],
    pub(super) reciprocals: [u16; 64],
    /// 2^(16-s): taking the high half of a product with it drops the last s bits.
    pub(super) scales: [u16; 64],
}

impl Divisors {
    /// `steps` are row-major.
    pub(super) fn new(steps: &[u8; 64]) -> Self {
        let mut divisors = Self { halves: [0; 64], reciprocals: [0; 64], scales: [0; 64] };
        for (index, &step) in steps.iter().enumerate() {
            let divisor = 8 * u32::from(step.max(1));
            let shift = (divisor - 1).ilog2();
            divisors.halves[index] = (divisor / 2) as u16;
            divisors.reciprocals[index] = (1_u32 << (16 + shift)).div_ceil(divisor) as u16;
            divisors.scales[index] = 1 << (16 - shift);
        }
        divisors
    }
}

type Lanes = [i32; 8];

/// Transforms and quantizes the 8 rows of 8 samples at the start of `samples`.
pub(super) fn quantized_block(samples: &[u8], stride: usize, divisors: &Divisors, out: &mut Quantised) {
    let mut columns = [[0_i32; 8]; 8];
    for (y, row) in samples.chunks(stride).take(8).enumerate() {
        for (column, &sample) in columns.iter_mut().zip(&row[..8]) {
            column[y] = i32::from(sample) - 128;
        }
    }
    let first = pass(&columns, |sum| sum << BETWEEN_BITS, CONSTANT_BITS - BETWEEN_BITS);
    let rows: [Lanes; 8] = std::array::from_fn(|y| std::array::from_fn(|u| first[u][y]));
    let second = pass(&rows, |sum| rounded(sum, BETWEEN_BITS), CONSTANT_BITS + BETWEEN_BITS);
    out.nonzero = 0;
    for (index, &value) in second.as_flattened().iter().enumerate() {
        let sum = value.unsigned_abs() + u32::from(divisors.halves[index]);
        let product = (sum * u32::from(divisors.reciprocals[index])) >> 16;
        let quotient = ((product * u32::from(divisors.scales[index])) >> 16) as i16;
        out.values[index] = if value < 0 { -quotient } else { quotient };
        out.nonzero |= u64::from(quotient != 0) << index;
    }
}

#[inline(always)]
fn rounded(sum: i32, shift: u32) -> i32 {
    (sum + (1 << (shift - 1))) >> shift
}

/// One-dimensional transforms of eight lanes. `plain` scales the two results that need no constant.
#[inline(always)]
fn pass(input: &[Lanes; 8], plain: impl Fn(i32) -> i32, shift: u32) -> [Lanes; 8] {
    let mut output = [[0; 8]; 8];
    for lane in 0..8 {
        let sum = |k: usize| input[k][lane] + input[7 - k][lane];
        let difference = |k: usize| input[k][lane] - input[7 - k][lane];

        let (e0, e1, e2, e3) = (sum(0) + sum(3), sum(1) + sum(2), sum(1) - sum(2), sum(0) - sum(3));
        output[0][lane] = plain(e0 + e1);
        output[4][lane] = plain(e0 - e1);
        output[2][lane] = rounded(e2 * C_0_541 + e3 * (C_0_541 + C_0_765), shift);
        output[6][lane] = rounded(e2 * (C_0_541 - C_1_847) + e3 * C_0_541, shift);

        let (d4, d5, d6, d7) = (difference(3), difference(2), difference(1), difference(0));
        let (s3, s4) = (d4 + d6, d5 + d7);
        let z3 = s3 * (C_1_175 - C_1_961) + s4 * C_1_175;
        let z4 = s3 * C_1_175 + s4 * (C_1_175 - C_0_390);
        output[7][lane] = rounded(d4 * (C_0_298 - C_0_899) + d7 * -C_0_899 + z3, shift);
        output[5][lane] = rounded(d5 * (C_2_053 - C_2_562) + d6 * -C_2_562 + z4, shift);
        output[3][lane] = rounded(d5 * -C_2_562 + d6 * (C_3_072 - C_2_562) + z3, shift);
        output[1][lane] = rounded(d4 * -C_0_899 + d7 * (C_1_501 - C_0_899) + z4, shift);
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplication_divides_exactly() {
        for step in 1..=255 {
            let divisors = Divisors::new(&[step; 64]);
            let divisor = 8 * u32::from(step);
            for sum in 0..1 << 15 {
                let product = (sum * u32::from(divisors.reciprocals[0])) >> 16;
                assert_eq!(
                    (product * u32::from(divisors.scales[0])) >> 16,
                    sum / divisor,
                    "{sum} / {divisor}"
                );
            }
        }
    }
}
