//! All pairs of 64-bit hashes that differ in few bits.
//!
//! A hash is cut into three bands of 21, 21 and 22 bits. Two hashes that differ in at most 10 bits differ in at most
//! 3, 3 or 2 bits of one of them (3 + 3 + 2 + 2 = 10 is the most that escapes none). So hashes are put into buckets by
//! the bits of a band, about eight in each, and a bucket is compared with those whose number is that close: a
//! thousand of them, taken so that both stay in the processor's cache. Two buckets are compared all with all and
//! without a branch; only where some are close they are looked at one by one.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// A pair of hashes that are close, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// In how many bits they differ.
    pub distance: u8,
    /// The smaller index.
    pub one: u32,
    /// The larger index.
    pub other: u32,
}

/// The largest distance that can be searched for.
pub const MOST: u32 = 10;

/// So few hashes are compared each with each.
const FEW: usize = 4_000;

/// First bit and number of bits of each band.
const BANDS: [(u32, u32); 3] = [(0, 21), (21, 21), (42, 22)];

/// In how many bits of its band a pair at this distance differs at most, for at least one band.
fn radii(distance: u32) -> [u32; 3] {
    // Radii r1, r2, r3 find every pair up to r1 + r2 + r3 + 2: beyond them in all bands are r1 + r2 + r3 + 3 bits.
    std::array::from_fn(|band| (distance.saturating_sub(band as u32)) / 3)
}

/// All pairs of `hashes` that differ in at most `distance` bits, in order of their indices; `distance` is at most
/// [`MOST`]. Equal hashes should have been put together before: among many of them every pair is told.
pub fn pairs_within(hashes: &[u64], distance: u32, threads: NonZeroUsize) -> Vec<Pair> {
    let distance = distance.min(MOST);
    let mut pairs = if hashes.len() <= FEW {
        brute_force(hashes, distance)
    } else {
        (0..BANDS.len()).flat_map(|band| search_band(hashes, band, distance, threads)).collect()
    };
    pairs.sort_unstable_by_key(|pair| (pair.one, pair.other));
    pairs
}

fn brute_force(hashes: &[u64], distance: u32) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (one, hash) in hashes.iter().enumerate() {
        for (other, more) in hashes.iter().enumerate().skip(one + 1) {
            let apart = (hash ^ more).count_ones();
            if apart <= distance {
                pairs.push(Pair { distance: apart as u8, one: one as u32, other: other as u32 });
            }
        }
    }
    pairs
}

/// The bits of a band that buckets are numbered by. More buckets than this would not be fewer comparisons.
const DEEPEST: u32 = 21;

/// Hashes in a bucket, on average: few enough that most comparisons are with what is close in the band, and enough to
/// fill a vector.
const IN_A_BUCKET: usize = 8;

/// So many buckets are compared with so many others in one go, as a power of two: the hashes of both sides are half a
/// megabyte.
const BLOCK: u32 = 12;

/// Hashes in buckets by the low bits of one band.
struct Index {
    band: usize,
    /// Bits that buckets are numbered by.
    depth: u32,
    /// Where each bucket starts, and the end.
    starts: Vec<u32>,
    /// And [`PADDING`] more that vectors may read.
    hashes: Vec<u64>,
    indices: Vec<u32>,
}

const PADDING: usize = 8;

fn part(hash: u64, band: usize) -> u32 {
    let (first, bits) = BANDS[band];
    ((hash >> first) & ((1 << bits) - 1)) as u32
}

impl Index {
    fn new(hashes: &[u64], band: usize, depth: u32) -> Index {
        let buckets = 1usize << depth;
        let bucket = |hash: u64| part(hash, band) as usize & (buckets - 1);
        let mut starts = vec![0u32; buckets + 1];
        hashes.iter().for_each(|hash| starts[bucket(*hash) + 1] += 1);
        (0..buckets).for_each(|at| starts[at + 1] += starts[at]);
        let mut next = starts.clone();
        let (mut sorted, mut indices) = (vec![0; hashes.len() + PADDING], vec![0; hashes.len()]);
        for (index, hash) in hashes.iter().enumerate() {
            let place = &mut next[bucket(*hash)];
            sorted[*place as usize] = *hash;
            indices[*place as usize] = index as u32;
            *place += 1;
        }
        Index { band, depth, starts, hashes: sorted, indices }
    }

    /// The starts of the buckets of a block, and the end of the last.
    fn block(&self, block: u32, bits: u32) -> &[u32] {
        &self.starts[(block as usize) << bits..][..(1 << bits) + 1]
    }

    /// The pair at two places, if it is close and this band is the first in which it is.
    fn pair(&self, one: usize, other: usize, distance: u32) -> Option<Pair> {
        let difference = self.hashes[one] ^ self.hashes[other];
        let apart = difference.count_ones();
        let radii = radii(distance);
        let close_in = |band: usize| part(difference, band).count_ones() <= radii[band];
        if apart > distance || !close_in(self.band) || (0..self.band).any(close_in) {
            return None;
        }
        let (one, other) = (self.indices[one], self.indices[other]);
        Some(Pair { distance: apart as u8, one: one.min(other), other: one.max(other) })
    }
}

/// Finds the pairs that this band is the first to show.
fn search_band(hashes: &[u64], band: usize, distance: u32, threads: NonZeroUsize) -> Vec<Pair> {
    let depth = (hashes.len() / IN_A_BUCKET).max(1).ilog2().min(DEEPEST);
    let index = Index::new(hashes, band, depth);
    // Many blocks, taken in turn, so that no thread waits for another.
    let bits = BLOCK.min(depth.saturating_sub(6));
    let next = AtomicU32::new(0);
    let work = || {
        let search = Search { index: &index, distance, bits, masks: Masks::new(&index, bits, distance) };
        let mut found = Vec::new();
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block >= 1 << (depth - bits) {
                return found;
            }
            search.block(block, &mut found);
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(work)).collect();
        let mut found = work();
        for other in others {
            found.extend(other.join().unwrap_or_default());
        }
        found
    })
}

/// In which bits the numbers of two buckets may differ: those that tell a block, and those within it by how many of them
/// there may be.
struct Masks {
    blocks: Vec<u32>,
    within: Vec<Vec<u32>>,
}

impl Masks {
    fn new(index: &Index, bits: u32, distance: u32) -> Masks {
        let radius = radii(distance)[index.band];
        let within = (0..=radius).map(|radius| masks(bits, radius)).collect();
        Masks { blocks: masks(index.depth - bits, radius), within }
    }
}

struct Search<'i> {
    index: &'i Index,
    distance: u32,
    /// Bits that number a bucket within its block.
    bits: u32,
    masks: Masks,
}

impl Search<'_> {
    /// Compares the buckets of a block with all that are close, itself included, on the widest vectors there are.
    fn block(&self, block: u32, found: &mut Vec<Pair>) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512vpopcntdq") && is_x86_feature_detected!("avx512f") {
                // SAFETY: the processor has the features that the function asks for.
                return unsafe { x86::block_avx512(self, block, found) };
            }
        }
        self.block_at_most_avx2(block, found);
    }

    fn block_at_most_avx2(&self, block: u32, found: &mut Vec<Pair>) {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
                // SAFETY: the processor has the features that the function asks for.
                return unsafe { x86::block_avx2(self, block, found) };
            }
        }
        self.block_with(block, found, |_, _| true);
    }

    /// `any_near` may say of two runs of hashes, of which the second is followed by [`PADDING`] others, that none of the
    /// first is close to one of the second.
    #[inline(always)]
    fn block_with(
        &self,
        block: u32,
        found: &mut Vec<Pair>,
        any_near: impl Fn(&[u64], &[u64]) -> bool + Copy,
    ) {
        let index = self.index;
        let radius = self.masks.within.len() as u32 - 1;
        let ours = index.block(block, self.bits);
        for mask in &self.masks.blocks {
            let other = block ^ mask;
            // Each pair of buckets is looked at once, from the smaller.
            if other < block {
                continue;
            }
            let theirs = index.block(other, self.bits);
            let apart = mask.count_ones();
            for within in &self.masks.within[(radius - apart) as usize] {
                for at in 0..1usize << self.bits {
                    let to = at ^ *within as usize;
                    if other == block && to <= at {
                        continue;
                    }
                    let here = ours[at] as usize..ours[at + 1] as usize;
                    let there = theirs[to] as usize..theirs[to + 1] as usize;
                    let padded = &index.hashes[there.start..there.end + PADDING];
                    if any_near(&index.hashes[here.clone()], padded) {
                        self.look(here, there, found);
                    }
                }
            }
        }
        for bucket in ours.windows(2) {
            for place in bucket[0] as usize..bucket[1] as usize {
                self.look(place..place + 1, place + 1..bucket[1] as usize, found);
            }
        }
    }

    /// Compares whole hashes.
    fn look(&self, here: Range<usize>, there: Range<usize>, found: &mut Vec<Pair>) {
        for one in here {
            let hash = self.index.hashes[one];
            for (at, other) in self.index.hashes[there.clone()].iter().enumerate() {
                if (hash ^ other).count_ones() <= self.distance {
                    found.extend(self.index.pair(one, there.start + at, self.distance));
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{PADDING, Pair, Search};

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn block_avx2(search: &Search<'_>, block: u32, found: &mut Vec<Pair>) {
        let low = _mm256_set1_epi8(15);
        let counts = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, //
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
        );
        let too_far = _mm256_set1_epi32(search.distance as i32 + 1);
        search.block_with(block, found, |here, there| {
            let mut least = _mm256_set1_epi64x(64);
            for others in there[..there.len() - PADDING + 3].chunks_exact(4) {
                // SAFETY: the chunk has 4 values.
                let others = unsafe { _mm256_loadu_si256(others.as_ptr().cast()) };
                for one in here {
                    let apart = _mm256_xor_si256(others, _mm256_set1_epi64x(*one as i64));
                    let lower = _mm256_shuffle_epi8(counts, _mm256_and_si256(apart, low));
                    let upper =
                        _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16::<4>(apart), low));
                    let bits = _mm256_sad_epu8(_mm256_add_epi8(lower, upper), _mm256_setzero_si256());
                    // The upper halves of the sums are 0, so 32 bits do for a comparison.
                    least = _mm256_min_epi32(least, bits);
                }
            }
            let near = _mm256_castsi256_pd(_mm256_slli_epi64::<32>(_mm256_cmpgt_epi32(too_far, least)));
            _mm256_movemask_pd(near) != 0
        });
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
    pub(super) fn block_avx512(search: &Search<'_>, block: u32, found: &mut Vec<Pair>) {
        let most = _mm512_set1_epi64(i64::from(search.distance));
        search.block_with(block, found, |here, there| {
            let mut least = _mm512_set1_epi64(64);
            for others in there[..there.len() - PADDING + 7].chunks_exact(8) {
                // SAFETY: the chunk has 8 values.
                let others = unsafe { _mm512_loadu_si512(others.as_ptr().cast()) };
                for one in here {
                    let apart = _mm512_xor_si512(others, _mm512_set1_epi64(*one as i64));
                    least = _mm512_min_epi64(least, _mm512_popcnt_epi64(apart));
                }
            }
            _mm512_cmple_epi64_mask(least, most) != 0
        });
    }
}

/// All values of so many bits with at most `radius` of them set.
fn masks(bits: u32, radius: u32) -> Vec<u32> {
    let mut all = vec![0u32];
    let mut from = 0;
    for _ in 0..radius {
        let last = all.len();
        for at in from..last {
            let mask = all[at];
            let above = 32 - mask.leading_zeros();
            all.extend((above..bits).map(|bit| mask | 1 << bit));
        }
        from = last;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn masks_are_all_there_once() {
        let all = masks(21, 3);
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), different.len()), (1 + 21 + 210 + 1330, all.len()));
    }

    #[test]
    fn radii_leave_no_pair_out() {
        for distance in 0..=MOST {
            let radii = radii(distance);
            assert!(radii.iter().sum::<u32>() + 3 > distance, "{distance}: {radii:?}");
        }
    }

    fn made_up(seed: u64, count: u64) -> Vec<u64> {
        let random = |n: u64| twox_hash::XxHash3_64::oneshot_with_seed(seed, &n.to_le_bytes());
        let mut hashes: Vec<u64> = (0..count).map(random).collect();
        for n in 0..count / 3 {
            let flips = (0..random(n) % 14).fold(0, |flips, k| flips | 1u64 << (random(n + 77 * k) % 64));
            hashes.push(hashes[n as usize] ^ flips);
        }
        hashes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn the_index_finds_what_brute_force_finds(seed in any::<u64>(), distance in 0..=MOST) {
            let hashes = made_up(seed, FEW as u64);
            let found = pairs_within(&hashes, distance, NonZeroUsize::new(2).unwrap());
            prop_assert_eq!(found, brute_force(&hashes, distance));
        }

        #[test]
        fn buckets_of_any_number_and_every_kind_of_vector_find_the_same(
            seed in any::<u64>(), distance in 0..=MOST, depth in 0..=14u32, bits in 0..=9u32,
        ) {
            let hashes = made_up(seed, 1000);
            let (mut portable, mut widest, mut narrower) = (Vec::new(), Vec::new(), Vec::new());
            for band in 0..BANDS.len() {
                let index = Index::new(&hashes, band, depth);
                let bits = bits.min(depth);
                let masks = Masks::new(&index, bits, distance);
                let search = Search { index: &index, distance, bits, masks };
                for block in 0..1 << (depth - bits) {
                    search.block_with(block, &mut portable, |_, _| true);
                    search.block(block, &mut widest);
                    search.block_at_most_avx2(block, &mut narrower);
                }
            }
            let wanted = brute_force(&hashes, distance);
            for mut found in [portable, widest, narrower] {
                found.sort_unstable_by_key(|pair| (pair.one, pair.other));
                prop_assert_eq!(&found, &wanted);
            }
        }
    }
}
