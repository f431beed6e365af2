//! The order of coefficients in a block, and the inverse transform in portable code.
//!
//! The transform is the "accurate integer" one of libjpeg (Loeffler, Ligtenberg and Moschytz, ICASSP 1989, with 13
//! fractional bits), in the arithmetic of its SIMD versions: factors have 16 bits and wrap, sums of products
//! have 32 bits, and what goes from the first pass to the second is saturated to 16 bits. Real images stay far from
//! these limits.

use super::tables::ZIGZAG;

/// Coefficients of a block, or the steps they are multiplied with, in the order of [`POSITION`].
pub(super) type Coefficients = [i16; 64];

/// Rows whose coefficients alternate in memory, so that one 16-bit multiply-add takes both.
pub(super) const PAIRS: [(usize, usize); 4] = [(0, 4), (2, 6), (7, 1), (3, 5)];

/// Position in a block of the coefficient with zigzag index k; indexes past 63 map to a slot behind the block.
pub(super) const POSITION: [u8; 256] = {
    let mut positions = [64; 256];
    let mut k = 0;
    while k < 64 {
        positions[k] = place(ZIGZAG[k] as usize / 8, ZIGZAG[k] as usize % 8) as u8;
        k += 1;
    }
    positions
};

const fn place(row: usize, column: usize) -> usize {
    let mut pair = 0;
    while PAIRS[pair].0 != row && PAIRS[pair].1 != row {
        pair += 1;
    }
    pair * 16 + column * 2 + (PAIRS[pair].1 == row) as usize
}

/// Brings the steps of a quantization table into block order. Steps above 32767 wrap, as they do in libjpeg.
pub(super) fn steps_in_block_order(steps: &[u16; 64]) -> Coefficients {
    let mut block = [0; 64];
    for (index, &step) in steps.iter().enumerate() {
        block[place(index / 8, index % 8)] = step as i16;
    }
    block
}

// The constants of the paper as round(8192 x).
pub(super) const C_0_298: i32 = 2446;
pub(super) const C_0_390: i32 = 3196;
pub(super) const C_0_541: i32 = 4433;
pub(super) const C_0_765: i32 = 6270;
pub(super) const C_0_899: i32 = 7373;
pub(super) const C_1_175: i32 = 9633;
pub(super) const C_1_501: i32 = 12299;
pub(super) const C_1_847: i32 = 15137;
pub(super) const C_1_961: i32 = 16069;
pub(super) const C_2_053: i32 = 16819;
pub(super) const C_2_562: i32 = 20995;
pub(super) const C_3_072: i32 = 25172;

/// Fractional bits of the constants.
pub(super) const CONSTANT_BITS: u32 = 13;
/// Fractional bits kept between the passes.
pub(super) const BETWEEN_BITS: u32 = 2;

type Lanes = [i32; 8];

/// Turns a block into 8 rows of 8 samples at the start of `out`.
pub(super) fn idct(block: &Coefficients, steps: &Coefficients, out: &mut [u8], stride: usize) {
    let mut rows = [[0_i32; 8]; 8];
    let value = |at: usize| i32::from(block[at].wrapping_mul(steps[at]));
    for (pair, (first, second)) in PAIRS.into_iter().enumerate() {
        rows[first] = std::array::from_fn(|column| value(pair * 16 + column * 2));
        rows[second] = std::array::from_fn(|column| value(pair * 16 + column * 2 + 1));
    }
    let columns = transposed(&pass(&rows, CONSTANT_BITS - BETWEEN_BITS));
    // The result of the two passes is eight times too large.
    let samples = transposed(&pass(&columns, CONSTANT_BITS + BETWEEN_BITS + 3));
    for (row, samples) in out.chunks_mut(stride).zip(&samples) {
        for (out, &sample) in row.iter_mut().zip(samples) {
            *out = (sample.clamp(-128, 127) + 128) as u8;
        }
    }
}

/// The samples of a block that has nothing but its DC coefficient: all the same.
pub(super) fn flat_sample(dc: i16, step: i16) -> u8 {
    let scaled = dc.wrapping_mul(step).wrapping_shl(BETWEEN_BITS);
    (((i32::from(scaled) + 16) >> 5).clamp(-128, 127) + 128) as u8
}

/// Writes 8 rows of 8 equal samples at the start of `out`.
#[inline(always)]
pub(super) fn fill_flat(sample: u8, out: &mut [u8], stride: usize) {
    for row in out.chunks_mut(stride).take(8) {
        row[..8].fill(sample);
    }
}

/// One-dimensional transforms of eight lanes; the results are rounded by `shift` bits and saturated.
#[inline(always)]
fn pass(input: &[Lanes; 8], shift: u32) -> [Lanes; 8] {
    let mut output = [[0; 8]; 8];
    for lane in 0..8 {
        let at = |row: usize| input[row][lane];
        let wrapped = |sum: i32| i32::from(sum as i16);

        let t2 = at(2) * C_0_541 + at(6) * (C_0_541 - C_1_847);
        let t3 = at(2) * (C_0_541 + C_0_765) + at(6) * C_0_541;
        let (t0, t1) = (wrapped(at(0) + at(4)) << CONSTANT_BITS, wrapped(at(0) - at(4)) << CONSTANT_BITS);
        let even = [t0.wrapping_add(t3), t1.wrapping_add(t2), t1.wrapping_sub(t2), t0.wrapping_sub(t3)];

        let (s3, s4) = (wrapped(at(7) + at(3)), wrapped(at(5) + at(1)));
        let z3 = s3 * (C_1_175 - C_1_961) + s4 * C_1_175;
        let z4 = s3 * C_1_175 + s4 * (C_1_175 - C_0_390);
        let odd = [
            (at(7) * -C_0_899 + at(1) * (C_1_501 - C_0_899)).wrapping_add(z4),
            (at(3) * (C_3_072 - C_2_562) + at(5) * -C_2_562).wrapping_add(z3),
            (at(3) * -C_2_562 + at(5) * (C_2_053 - C_2_562)).wrapping_add(z4),
            (at(7) * (C_0_298 - C_0_899) + at(1) * -C_0_899).wrapping_add(z3),
        ];

        let rounded = |sum: i32| {
            (sum.wrapping_add(1 << (shift - 1)) >> shift).clamp(i32::from(i16::MIN), i32::from(i16::MAX))
        };
        for k in 0..4 {
            output[k][lane] = rounded(even[k].wrapping_add(odd[k]));
            output[7 - k][lane] = rounded(even[k].wrapping_sub(odd[k]));
        }
    }
    output
}

fn transposed(rows: &[Lanes; 8]) -> [Lanes; 8] {
    std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column]))
}
