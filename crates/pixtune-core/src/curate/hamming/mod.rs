//! All pairs of 64-bit hashes with a small Hamming distance.
//!
//! A hash is split into three bands of 22, 22 and 20 bits. Two hashes that differ in at most 10 bits differ in at most 3, 3 or
//! 2 bits of one band (3 + 3 + 2 + 2 = 10 is the maximum that no pair escapes); the band with the fewest neighbors is the shortest. So hashes are stored in buckets by the bits of
//! a band, three to eight per bucket, and a bucket is compared with those whose index is that close: one or two thousand, in an
//! order that keeps both in the CPU's cache. Buckets are compared pairwise, eight hashes with eight, without a branch and first
//! by 32 of the bits outside the band; only candidates are compared by all bits.

mod index;
mod search;

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};

use index::{BANDS, Index};
use search::{Found, Neighbors, Search};

/// A pair of hashes that are close, by their indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The number of bits in which they differ.
    pub distance: u8,
    /// The smaller index.
    pub one: u32,
    /// The larger index.
    pub other: u32,
}

/// The maximum distance.
pub const MOST: u32 = 10;

/// Up to this many hashes are compared pairwise.
const FEW: usize = 4_000;

/// Maximum bits in which a pair at this distance differs in at least one band.
fn radii(distance: u32) -> [u32; 3] {
    // Radii r1, r2, r3 find every pair up to r1 + r2 + r3 + 2: beyond them in all bands are r1 + r2 + r3 + 3 bits.
    std::array::from_fn(|band| (distance.saturating_sub(band as u32)) / 3)
}

/// All pairs of `hashes` that differ in at most `distance` bits, in order of their indices; `distance` is at most
/// [`MOST`]. Equal hashes should be grouped before: every pair of them would be reported.
pub fn pairs_within(hashes: &[u64], distance: u32, threads: NonZeroUsize) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let Ok(()) = each_pair_within(hashes, distance, threads, |pair| {
        pairs.push(pair);
        Ok::<(), Infallible>(())
    });
    pairs.sort_unstable_by_key(|pair| (pair.one, pair.other));
    pairs
}

/// Calls `found` with the pairs of [`pairs_within`], in any order. Memory holds 24 bytes for each hash, and few pairs at a time.
pub fn each_pair_within<E>(
    hashes: &[u64],
    distance: u32,
    threads: NonZeroUsize,
    mut found: impl FnMut(Pair) -> Result<(), E>,
) -> Result<(), E> {
    let distance = distance.min(MOST);
    if hashes.len() <= FEW {
        return brute_force(hashes, distance).into_iter().try_for_each(found);
    }
    for band in 0..BANDS.len() {
        let index = Index::new(hashes, band, index::depth(hashes.len(), band));
        search_band(&index, distance, threads, &mut found)?;
    }
    Ok(())
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

/// Buckets per block, as a power of two: blocks of 256 KiB are compared at a time.
const BLOCK: u32 = 13;

/// Parts of a band that are searched one after the other, as a power of two, so that the pairs of few are in memory.
const PARTS: u32 = 4;

/// Reports the pairs that this band is the first to find.
fn search_band<E>(
    index: &Index,
    distance: u32,
    threads: NonZeroUsize,
    found: &mut impl FnMut(Pair) -> Result<(), E>,
) -> Result<(), E> {
    // Many small blocks, so that threads finish at about the same time.
    let bits = BLOCK.min(index.depth.saturating_sub(6 + PARTS));
    let search = Search::new(index, distance, bits, Neighbors::every()[0]);
    let blocks = 1u32 << (index.depth - search.bits);
    let next = AtomicU32::new(0);
    let work = |end: u32| {
        let mut found = Found::default();
        loop {
            let block = next.fetch_add(1, Ordering::Relaxed);
            if block >= end {
                return found.pairs;
            }
            search.block(block, &mut found);
        }
    };
    for start in (0..blocks).step_by((blocks >> PARTS).max(1) as usize) {
        let end = blocks.min(start + (blocks >> PARTS).max(1));
        next.store(start, Ordering::Relaxed);
        let pairs = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(|| work(end))).collect();
            let mut pairs = work(end);
            for other in others {
                pairs.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            pairs
        });
        pairs.into_iter().try_for_each(&mut *found)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::search::masks;
    use super::*;

    #[test]
    fn masks_are_complete_and_distinct() {
        let all = masks(21, 3);
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), different.len()), (1 + 21 + 210 + 1330, all.len()));
    }

    #[test]
    fn radii_miss_no_pair() {
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

    fn search_with(
        hashes: &[u64],
        distance: u32,
        (depth, bits): (u32, u32),
        neighbors: Neighbors,
    ) -> Vec<Pair> {
        let mut found = Found::default();
        for band in 0..BANDS.len() {
            let index = Index::new(hashes, band, depth);
            let search = Search::new(&index, distance, bits.min(depth), neighbors);
            (0..1 << (depth - search.bits)).for_each(|block| search.block(block, &mut found));
        }
        found.pairs.sort_unstable_by_key(|pair| (pair.one, pair.other));
        found.pairs
    }

    /// One hash for each way to spread up to eleven differences over the bands.
    #[test]
    fn finds_pairs_at_the_edge_of_every_band() {
        let flip = |(first, bits): (u32, u32), count: u32, turn: u32| -> u64 {
            (0..count).fold(0, |flips, at| flips | 1 << (first + (turn + 3 * at) % bits))
        };
        let mut hashes = vec![0x0123_4567_89ab_cdef];
        for differences in 0..=MOST + 1 {
            for a in 0..=differences {
                for b in 0..=differences - a {
                    let counts = [a, b, differences - a - b];
                    let flips = (0..3).fold(0, |flips, band| {
                        flips | flip(BANDS[band], counts[band], a + 5 * b + 3 * differences)
                    });
                    assert_eq!(flips.count_ones(), differences);
                    hashes.push(hashes[0] ^ flips);
                }
            }
        }
        for distance in [3, 9, 10] {
            let wanted = brute_force(&hashes, distance);
            for depth in [0, 7, 12] {
                for neighbors in Neighbors::every() {
                    assert_eq!(search_with(&hashes, distance, (depth, 9), neighbors), wanted);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn index_finds_what_brute_force_finds(seed in any::<u64>(), distance in 0..=MOST) {
            let hashes = made_up(seed, FEW as u64);
            let found = pairs_within(&hashes, distance, NonZeroUsize::new(2).unwrap());
            prop_assert_eq!(found, brute_force(&hashes, distance));
        }

        /// Many of one cluster share a bucket in two of three bands.
        #[test]
        fn finds_whole_clusters(seed in any::<u64>(), distance in 0..=MOST, depth in 0..=14u32, bits in 0..=9u32) {
            let flips = |n: u64| 1u64 << (n % 64) | 1 << (n / 64 % 64);
            let hashes: Vec<u64> = (0..300).map(|n| seed ^ flips(n * 7)).chain(made_up(seed, 300)).collect();
            let wanted = brute_force(&hashes, distance);
            for neighbors in Neighbors::every() {
                prop_assert_eq!(&search_with(&hashes, distance, (depth, bits), neighbors), &wanted);
            }
        }

        #[test]
        fn buckets_of_any_number_and_every_kind_of_vector_find_the_same(
            seed in any::<u64>(), distance in 0..=MOST, depth in 0..=14u32, bits in 0..=9u32,
        ) {
            let hashes = made_up(seed, 1000);
            let wanted = brute_force(&hashes, distance);
            for neighbors in Neighbors::every() {
                prop_assert_eq!(&search_with(&hashes, distance, (depth, bits), neighbors), &wanted);
            }
        }
    }
}
