//! The two transforms with AVX2, bit for bit those of [`super::idct`] and [`super::fdct`].
//!
//! Both work on eight lanes of 32 bits, each of which holds a *pair* of 16-bit values: one multiply-add with a pair of
//! constants does two products and a sum. Which values form a pair is chosen so that the sums between lanes that the
//! algorithm needs are plain additions of pairs.

use super::fdct::{Divisors, Quantised};
use super::idct::{
    BETWEEN_BITS, C_0_298, C_0_390, C_0_541, C_0_765, C_0_899, C_1_175, C_1_501, C_1_847, C_1_961, C_2_053,
    C_2_562, C_3_072, CONSTANT_BITS, Coefficients,
};
use std::arch::x86_64::*;

/// Whether the machine has what [`super::baseline`] and [`super::encode`] are compiled for besides the transforms.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
}

/// [`super::idct::idct`]
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn idct(block: &Coefficients, steps: &Coefficients, out: &mut [u8], stride: usize) {
    let pairs = std::array::from_fn(|pair| _mm256_mullo_epi16(load(block, pair), load(steps, pair)));
    let rows = inverse_pass::<{ (CONSTANT_BITS - BETWEEN_BITS) as i32 }>(pairs);
    // The result of the two passes is eight times too large.
    let pairs = turned(rows, pair_order([0, 4, 2, 6, 7, 1, 3, 5]));
    let columns = inverse_pass::<{ (CONSTANT_BITS + BETWEEN_BITS + 3) as i32 }>(pairs);

    let bytes = |first: usize| {
        let left = _mm256_packs_epi32(columns[first], columns[first + 1]);
        let right = _mm256_packs_epi32(columns[first + 2], columns[first + 3]);
        let samples = _mm256_xor_si256(_mm256_packs_epi16(left, right), _mm256_set1_epi8(-128));
        // Four columns of four bytes in each half: make them rows.
        let turn = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        _mm256_shuffle_epi8(samples, _mm256_broadcastsi128_si256(turn))
    };
    let (left, right) = (bytes(0), bytes(4));
    let (upper, lower) = (_mm256_unpacklo_epi32(left, right), _mm256_unpackhi_epi32(left, right));
    store_rows(
        [
            _mm256_castsi256_si128(upper),
            _mm256_castsi256_si128(lower),
            _mm256_extracti128_si256::<1>(upper),
            _mm256_extracti128_si256::<1>(lower),
        ],
        out,
        stride,
    );
}

/// One-dimensional inverse transforms of eight lanes, from the pairs of [`super::idct::PAIRS`].
#[inline]
#[target_feature(enable = "avx2")]
fn inverse_pass<const SHIFT: i32>([p04, p26, p71, p35]: [__m256i; 4]) -> [__m256i; 8] {
    let half = _mm256_set1_epi32(1 << (SHIFT - 1));
    // To the left and back: a sum of more than 16 bits wraps.
    let scaled = |sum| _mm256_srai_epi32::<{ 16 - CONSTANT_BITS as i32 }>(_mm256_slli_epi32::<16>(sum));
    let t0 = _mm256_add_epi32(scaled(product(p04, 1, 1)), half);
    let t1 = _mm256_add_epi32(scaled(product(p04, 1, -1)), half);
    let t2 = product(p26, C_0_541, C_0_541 - C_1_847);
    let t3 = product(p26, C_0_541 + C_0_765, C_0_541);
    let even = [
        _mm256_add_epi32(t0, t3),
        _mm256_add_epi32(t1, t2),
        _mm256_sub_epi32(t1, t2),
        _mm256_sub_epi32(t0, t3),
    ];
    let sums = _mm256_add_epi16(p71, p35);
    let z3 = product(sums, C_1_175 - C_1_961, C_1_175);
    let z4 = product(sums, C_1_175, C_1_175 - C_0_390);
    let odd = [
        _mm256_add_epi32(product(p71, -C_0_899, C_1_501 - C_0_899), z4),
        _mm256_add_epi32(product(p35, C_3_072 - C_2_562, -C_2_562), z3),
        _mm256_add_epi32(product(p35, -C_2_562, C_2_053 - C_2_562), z4),
        _mm256_add_epi32(product(p71, C_0_298 - C_0_899, -C_0_899), z3),
    ];
    let mut out = [half; 8];
    for k in 0..4 {
        out[k] = _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(even[k], odd[k]));
        out[7 - k] = _mm256_srai_epi32::<SHIFT>(_mm256_sub_epi32(even[k], odd[k]));
    }
    out
}

/// [`super::fdct::quantized_block`]
///
/// Not inlined: seeing where the mask goes, LLVM 21 takes it apart bit by bit, which made encoding half as fast.
#[inline(never)]
#[target_feature(enable = "avx2")]
pub(super) fn quantized_block(samples: &[u8], stride: usize, divisors: &Divisors, out: &mut Quantised) {
    let order = pair_order([0, 3, 7, 4, 2, 1, 5, 6]);
    let rows = load_rows(samples, stride);
    let pairs = paired(
        std::array::from_fn(|k| {
            let rows = _mm_unpacklo_epi64(rows[k], rows[k + 4]);
            _mm256_sub_epi16(_mm256_cvtepu8_epi16(rows), _mm256_set1_epi16(128))
        }),
        order,
    );
    let columns = forward_pass::<{ (CONSTANT_BITS - BETWEEN_BITS) as i32 }, { 1 << BETWEEN_BITS }, 0>(pairs);
    let pairs = turned(columns, order);
    let rows = forward_pass::<{ (CONSTANT_BITS + BETWEEN_BITS) as i32 }, 1, { BETWEEN_BITS as i32 }>(pairs);

    let mut zeros = [_mm256_setzero_si256(); 4];
    for (index, zeros) in zeros.iter_mut().enumerate() {
        let packed = _mm256_packs_epi32(rows[2 * index], rows[2 * index + 1]);
        let values = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
        let sums = _mm256_add_epi16(_mm256_abs_epi16(values), load(&divisors.halves, index));
        let products = _mm256_mulhi_epu16(sums, load(&divisors.reciprocals, index));
        // Changes nothing, as products are below 2^15, but keeps LLVM from widening the next multiplication.
        let products = _mm256_sign_epi16(products, _mm256_set1_epi16(1));
        let quotients = _mm256_mulhi_epu16(products, load(&divisors.scales, index));
        let quotients = _mm256_sign_epi16(quotients, values);
        *zeros = _mm256_cmpeq_epi16(quotients, _mm256_setzero_si256());
        store(quotients, &mut out.values, index);
    }
    let mask = |first: usize| {
        let bytes = _mm256_packs_epi16(zeros[first], zeros[first + 1]);
        _mm256_movemask_epi8(_mm256_permute4x64_epi64::<0b11_01_10_00>(bytes)) as u32
    };
    out.nonzero = !(u64::from(mask(0)) | u64::from(mask(2)) << 32);
}

/// One-dimensional forward transforms of eight lanes. The two results that need no constant are multiplied with
/// `FACTOR` and rounded by `PLAIN` bits, the others by `SHIFT` bits.
#[inline]
#[target_feature(enable = "avx2")]
fn forward_pass<const SHIFT: i32, const FACTOR: i32, const PLAIN: i32>(
    [p03, p74, p21, p56]: [__m256i; 4],
) -> [__m256i; 8] {
    let (s03, s21) = (_mm256_add_epi16(p03, p74), _mm256_add_epi16(p21, p56));
    let (d74, d56) = (_mm256_sub_epi16(p03, p74), _mm256_sub_epi16(p21, p56));
    let plain = |sums: __m256i| {
        let half = _mm256_set1_epi32((1 << PLAIN) >> 1);
        _mm256_srai_epi32::<PLAIN>(_mm256_add_epi32(product(sums, FACTOR, FACTOR), half))
    };
    let scaled = |left: __m256i, right: __m256i| {
        let half = _mm256_set1_epi32(1 << (SHIFT - 1));
        _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(_mm256_add_epi32(left, right), half))
    };
    let (c2, c6) = (C_0_541 + C_0_765, C_0_541 - C_1_847);
    let sums = _mm256_add_epi16(d74, d56);
    let z3 = product(sums, C_1_175, C_1_175 - C_1_961);
    let z4 = product(sums, C_1_175 - C_0_390, C_1_175);
    [
        plain(_mm256_add_epi16(s03, s21)),
        scaled(product(d74, C_1_501 - C_0_899, -C_0_899), z4),
        scaled(product(s03, c2, -c2), product(s21, -C_0_541, C_0_541)),
        scaled(product(d56, -C_2_562, C_3_072 - C_2_562), z3),
        plain(_mm256_sub_epi16(s03, s21)),
        scaled(product(d56, C_2_053 - C_2_562, -C_2_562), z4),
        scaled(product(s03, C_0_541, -C_0_541), product(s21, -c6, c6)),
        scaled(product(d74, -C_0_899, C_0_298 - C_0_899), z3),
    ]
}

/// In each lane, the first of the pair times `first` plus the second times `second`.
#[inline]
#[target_feature(enable = "avx2")]
fn product(pairs: __m256i, first: i32, second: i32) -> __m256i {
    _mm256_madd_epi16(pairs, _mm256_set1_epi32(second << 16 | (first & 0xffff)))
}

/// A shuffle that brings the eight values of each half into this order.
#[inline]
#[target_feature(enable = "avx2")]
fn pair_order(order: [i8; 8]) -> __m256i {
    let half = |k: usize| i64::from(2 * order[k]) | i64::from(2 * order[k] + 1) << 8;
    let word = |k: usize| half(k) | half(k + 1) << 16 | half(k + 2) << 32 | half(k + 3) << 48;
    _mm256_setr_epi64x(word(0), word(4), word(0), word(4))
}

/// Results of a pass, saturated to 16 bits, as pairs for the next one: what was the vector is now the lane.
#[inline]
#[target_feature(enable = "avx2")]
fn turned(vectors: [__m256i; 8], order: __m256i) -> [__m256i; 4] {
    paired(
        std::array::from_fn(|k| {
            _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(vectors[k], vectors[k + 4]))
        }),
        order,
    )
}

/// Pairs, with a lane for each line, of eight lines of eight values; vector k holds the lines k and k + 4.
#[inline]
#[target_feature(enable = "avx2")]
fn paired(lines: [__m256i; 4], order: __m256i) -> [__m256i; 4] {
    let [a, b, c, d] = lines.map(|line| _mm256_shuffle_epi8(line, order));
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// A 16-bit integer.
trait Half: Copy {}
impl Half for i16 {}
impl Half for u16 {}

#[inline]
#[target_feature(enable = "avx2")]
fn load<T: Half>(values: &[T; 64], sixteen: usize) -> __m256i {
    let values: &[T] = &values[16 * sixteen..][..16];
    // SAFETY: the slice has 16 values of 16 bits, which are the 32 bytes that are read.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(vector: __m256i, values: &mut [i16; 64], sixteen: usize) {
    let values: &mut [i16] = &mut values[16 * sixteen..][..16];
    // SAFETY: the slice has 16 values of 16 bits, which are the 32 bytes that are written.
    unsafe { _mm256_storeu_si256(values.as_mut_ptr().cast(), vector) }
}

/// Eight rows of eight bytes, each in the lower half of a vector.
#[inline]
#[target_feature(enable = "avx2")]
fn load_rows(samples: &[u8], stride: usize) -> [__m128i; 8] {
    let samples = &samples[..7 * stride + 8];
    std::array::from_fn(|row| {
        // Eight rows are more streams than the hardware follows: this saves a sixth of the time of encoding.
        _mm_prefetch::<_MM_HINT_T0>(samples.as_ptr().wrapping_add(row * stride + 128).cast());
        // SAFETY: row is at most 7, and the slice reaches 8 bytes behind the start of row 7.
        unsafe { _mm_loadl_epi64(samples.as_ptr().add(row * stride).cast()) }
    })
}

/// Writes eight rows of eight bytes, two from each vector.
#[inline]
#[target_feature(enable = "avx2")]
fn store_rows(pairs: [__m128i; 4], out: &mut [u8], stride: usize) {
    let out = &mut out[..7 * stride + 8];
    for (pair, rows) in pairs.into_iter().enumerate() {
        // SAFETY: the rows are at most number 7, and the slice reaches 8 bytes behind the start of row 7.
        unsafe {
            let first = out.as_mut_ptr().add(2 * pair * stride);
            _mm_storel_epi64(first.cast(), rows);
            _mm_storeh_pd(first.add(stride).cast(), _mm_castsi128_pd(rows));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fdct, idct as portable};
    use super::*;

    /// Numbers that are the same on every run.
    fn numbers(count: usize) -> impl Iterator<Item = u64> {
        let mut state = 7_u64;
        (0..count).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 20
        })
    }

    #[test]
    fn the_inverse_transform_is_the_portable_one() {
        if !is_available() {
            return;
        }
        for number in numbers(20_000) {
            // From nearly empty blocks with small values to full ones with any value at all.
            let (spread, density) = (1 + number % 16, 1 + number / 16 % 64);
            let mut values = numbers(number as usize % 99 + 128).skip(number as usize % 99);
            let mut next = || values.next().unwrap();
            let block: Coefficients = std::array::from_fn(|_| {
                let (value, chosen) = (next(), next() % 64 < density);
                if chosen { (value as i16) >> (16 - spread) } else { 0 }
            });
            let steps: Coefficients = std::array::from_fn(|k| 1 + (number as i16 >> (k % 13) & 255));
            let (mut expected, mut found) = ([0; 80], [0; 80]);
            portable::idct(&block, &steps, &mut expected, 10);
            // SAFETY: AVX2 is available.
            unsafe { idct(&block, &steps, &mut found, 10) };
            assert_eq!(expected, found);
        }
    }

    #[test]
    fn the_forward_transform_is_the_portable_one() {
        if !is_available() {
            return;
        }
        for number in numbers(20_000) {
            let seed = number as usize % 99;
            let samples: Vec<u8> = numbers(80 + seed)
                .skip(seed)
                .map(
                    |value| {
                        if number % 3 == 0 { 255 * (value as u8 & 1) } else { value as u8 >> (number % 8) }
                    },
                )
                .collect();
            let steps = std::array::from_fn(|k| (number >> (k % 20)) as u8);
            let divisors = Divisors::new(&steps);
            let mut expected = Quantised { values: [0; 64], nonzero: 0 };
            let mut found = Quantised { values: [1; 64], nonzero: 1 };
            fdct::quantized_block(&samples, 10, &divisors, &mut expected);
            // SAFETY: AVX2 is available.
            unsafe { quantized_block(&samples, 10, &divisors, &mut found) };
            assert_eq!((expected.values, expected.nonzero), (found.values, found.nonzero));
        }
    }
}
