//! Rows compared by vectors.

use std::arch::x86_64::*;

use super::{Found, Search, Step};
use crate::curate::hamming::index::{Half, ROW};

/// Sixteen comparisons at a time: a row against the other row rotated by an even and by an odd number of lanes.
#[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
pub(super) fn neighbors_avx512(
    search: &Search<'_>,
    here: usize,
    first: usize,
    steps: &[Step],
    found: &mut Found,
) {
    let twice = |row: &Half| {
        // SAFETY: the row has 8 values.
        _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(row.as_ptr().cast()) })
    };
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7, 8);
    let seven = _mm512_set1_epi32(ROW as i32 - 1);
    search.neighbors(
        (here, first),
        steps,
        found,
        |row| {
            let row = twice(row);
            let turned = |by| {
                let lanes = _mm512_and_si512(_mm512_add_epi32(lanes, _mm512_set1_epi32(by)), seven);
                _mm512_permutexvar_epi32(lanes, row)
            };
            (turned(0), turned(2), turned(4), turned(6))
        },
        |(a, b, c, d), there, limit| {
            let there = twice(there);
            let apart = |here| _mm512_popcnt_epi32(_mm512_xor_si512(here, there));
            let least = _mm512_min_epu32(
                _mm512_min_epu32(apart(*a), apart(*b)),
                _mm512_min_epu32(apart(*c), apart(*d)),
            );
            _mm512_cmple_epu32_mask(least, _mm512_set1_epi32(limit as i32))
        },
    );
}

/// Eight comparisons at a time.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn neighbors_avx2(
    search: &Search<'_>,
    here: usize,
    first: usize,
    steps: &[Step],
    found: &mut Found,
) {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let low = _mm256_set1_epi8(15);
    let counts = _mm256_setr_epi8(
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, //
        0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
    );
    let bits = |x: __m256i| {
        let lower = _mm256_shuffle_epi8(counts, _mm256_and_si256(x, low));
        let upper = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16::<4>(x), low));
        let pairs = _mm256_maddubs_epi16(_mm256_add_epi8(lower, upper), _mm256_set1_epi8(1));
        _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
    };
    let load = |row: &Half| {
        // SAFETY: the row has 8 values.
        unsafe { _mm256_loadu_si256(row.as_ptr().cast()) }
    };
    search.neighbors(
        (here, first),
        steps,
        found,
        |row| {
            std::array::from_fn::<_, ROW, _>(|turn| {
                let lanes = _mm256_add_epi32(lanes, _mm256_set1_epi32(turn as i32));
                _mm256_permutevar8x32_epi32(load(row), lanes)
            })
        },
        |here, there, limit| {
            let there = load(there);
            let apart = here.iter().map(|here| bits(_mm256_xor_si256(*here, there)));
            let least = apart.fold(_mm256_set1_epi32(64), |least, apart| _mm256_min_epi32(least, apart));
            let near = _mm256_cmpgt_epi32(_mm256_set1_epi32(limit as i32 + 1), least);
            _mm256_movemask_ps(_mm256_castsi256_ps(near)) as u16
        },
    );
}
