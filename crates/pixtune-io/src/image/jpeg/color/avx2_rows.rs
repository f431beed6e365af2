//! Color conversion of whole rows with AVX2, sixteen pixels at a time, bit for bit that of the parent module.

use super::{HALF, fixed};
use std::arch::x86_64::*;

/// Converts whole groups of 16 pixels. Returns the number of converted pixels.
#[target_feature(enable = "avx2")]
pub(super) fn ycc_to_rgb(luma: &[u8], blue: &[u8], red: &[u8], out: &mut [[u8; 3]]) -> usize {
    let sources = luma.as_chunks::<16>().0.iter().zip(blue.as_chunks::<16>().0).zip(red.as_chunks::<16>().0);
    let out = out.as_chunks_mut::<16>().0;
    let count = 16 * out.len();
    for (out, ((luma, blue), red)) in out.iter_mut().zip(sources) {
        let wide = |bytes: &[u8; 16]| _mm256_cvtepu8_epi16(load(bytes));
        let centred = |bytes: &[u8; 16]| _mm256_sub_epi16(wide(bytes), _mm256_set1_epi16(128));
        let (y, cb, cr) = (wide(luma), centred(blue), centred(red));

        // Factors that do not fit in 16 bits are split into a whole number and the rest.
        let r = _mm256_add_epi16(cr, rounded_product(cr, fixed(1.402) - (1 << 16)));
        let b = _mm256_add_epi16(_mm256_add_epi16(cb, cb), rounded_product(cb, fixed(1.772) - (2 << 16)));
        let factors = pair(-fixed(0.34414), (1 << 16) - fixed(0.71414));
        let green = |pairs: __m256i| {
            let sum = _mm256_add_epi32(_mm256_madd_epi16(pairs, factors), _mm256_set1_epi32(HALF));
            _mm256_srai_epi32::<16>(sum)
        };
        let (low, high) = (green(_mm256_unpacklo_epi16(cb, cr)), green(_mm256_unpackhi_epi16(cb, cr)));
        let g = _mm256_sub_epi16(_mm256_packs_epi32(low, high), cr);

        let colors = [r, g, b].map(|color| narrow(_mm256_add_epi16(y, color)));
        interleave(colors, out.as_flattened_mut());
    }
    count
}

/// Converts whole groups of 16 pixels. Returns the number of converted pixels.
#[target_feature(enable = "avx2")]
pub(super) fn rgb_to_ycc(rgb: &[[u8; 3]], [luma, blue, red]: [&mut [u8]; 3]) -> usize {
    let rgb = rgb.as_chunks::<16>().0;
    let planes = luma.as_chunks_mut::<16>().0.iter_mut().zip(blue.as_chunks_mut::<16>().0);
    for (pixels, ((luma, blue), red)) in rgb.iter().zip(planes.zip(red.as_chunks_mut::<16>().0)) {
        let [r, g, b] = separate(pixels.as_flattened()).map(|bytes| _mm256_cvtepu8_epi16(bytes));
        let center = _mm256_set1_epi32((128 << 16) + HALF - 1);
        let y = convert(|unpack| {
            // The factor of green does not fit in 16 bits: a quarter of it comes with blue.
            let quarter = fixed(0.25);
            let left = _mm256_madd_epi16(unpack.pairs(r, g), pair(fixed(0.299), fixed(0.587) - quarter));
            let right = _mm256_madd_epi16(unpack.pairs(b, g), pair(fixed(0.114), quarter));
            _mm256_add_epi32(_mm256_add_epi32(left, right), _mm256_set1_epi32(HALF))
        });
        // The factor 0.5 is a shift.
        let chroma = |strong: __m256i, weak: [__m256i; 2], factors: __m256i| {
            convert(|unpack| {
                let half = _mm256_srli_epi32::<1>(unpack.pairs(_mm256_setzero_si256(), strong));
                let rest = _mm256_madd_epi16(unpack.pairs(weak[0], weak[1]), factors);
                _mm256_add_epi32(_mm256_add_epi32(half, rest), center)
            })
        };
        store(y, luma);
        store(chroma(b, [r, g], pair(-fixed(0.16874), -fixed(0.33126))), blue);
        store(chroma(r, [g, b], pair(-fixed(0.41869), -fixed(0.08131))), red);
    }
    16 * rgb.len()
}

/// The upper halves of sums that are made once for the lower and once for the upper lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn convert(sum: impl Fn(Unpack) -> __m256i) -> __m128i {
    let (low, high) = (sum(Unpack::Low), sum(Unpack::High));
    narrow(_mm256_packs_epi32(_mm256_srli_epi32::<16>(low), _mm256_srli_epi32::<16>(high)))
}

/// Which lanes are brought together in pairs.
#[derive(Clone, Copy)]
enum Unpack {
    Low,
    High,
}

impl Unpack {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pairs(self, first: __m256i, second: __m256i) -> __m256i {
        match self {
            Self::Low => _mm256_unpacklo_epi16(first, second),
            Self::High => _mm256_unpackhi_epi16(first, second),
        }
    }
}

/// round(values x factor / 65536) with halves up; the product is doubled first, so that the half is a one.
#[inline]
#[target_feature(enable = "avx2")]
fn rounded_product(values: __m256i, factor: i32) -> __m256i {
    let doubled = _mm256_mulhi_epi16(_mm256_add_epi16(values, values), _mm256_set1_epi16(factor as i16));
    _mm256_srai_epi16::<1>(_mm256_add_epi16(doubled, _mm256_set1_epi16(1)))
}

/// Two 16-bit factors in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn pair(first: i32, second: i32) -> __m256i {
    _mm256_set1_epi32(second << 16 | (first & 0xffff))
}

/// Sixteen values, clamped to bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow(values: __m256i) -> __m128i {
    _mm_packus_epi16(_mm256_castsi256_si128(values), _mm256_extracti128_si256::<1>(values))
}

/// Shuffles that put bytes of color `c` in their places in vector `v` of sixteen interleaved pixels.
const SCATTER: [[[u8; 16]; 3]; 3] = {
    let mut masks = [[[0x80; 16]; 3]; 3];
    let mut at = 0;
    while at < 48 {
        masks[at / 16][at % 3][at % 16] = (at / 3) as u8;
        at += 1;
    }
    masks
};

/// Shuffles that take bytes of color `c` out of vector `v` of sixteen interleaved pixels.
const GATHER: [[[u8; 16]; 3]; 3] = {
    let mut masks = [[[0x80; 16]; 3]; 3];
    let mut at = 0;
    while at < 48 {
        masks[at / 16][at % 3][at / 3] = (at % 16) as u8;
        at += 1;
    }
    masks
};

#[inline]
#[target_feature(enable = "avx2")]
fn interleave([r, g, b]: [__m128i; 3], out: &mut [u8]) {
    for (out, [mr, mg, mb]) in out.as_chunks_mut::<16>().0.iter_mut().zip(&SCATTER) {
        let (r, g) = (_mm_shuffle_epi8(r, load(mr)), _mm_shuffle_epi8(g, load(mg)));
        store(_mm_or_si128(_mm_or_si128(r, g), _mm_shuffle_epi8(b, load(mb))), out);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn separate(pixels: &[u8]) -> [__m128i; 3] {
    let mut colors = [_mm_setzero_si128(); 3];
    for (bytes, masks) in pixels.as_chunks::<16>().0.iter().zip(&GATHER) {
        for (color, mask) in colors.iter_mut().zip(masks) {
            *color = _mm_or_si128(*color, _mm_shuffle_epi8(load(bytes), load(mask)));
        }
    }
    colors
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the 16 bytes that are read are those of the array.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(vector: __m128i, bytes: &mut [u8; 16]) {
    // SAFETY: the 16 bytes that are written are those of the array.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
}
