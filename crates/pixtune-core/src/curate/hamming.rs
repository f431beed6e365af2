//! All pairs of 64-bit hashes that differ in few bits.
//!
//! A hash is cut into three bands of 21, 21 and 22 bits. Two hashes that differ in at most 10 bits differ in at most
//! 3, 3 or 2 bits of one of them (3 + 3 + 2 + 2 = 10 is the most that escapes none), so it is enough to compare a hash
//! with those whose band is that close: a few thousand places to look at, most of them with a handful of hashes.

use std::num::NonZeroUsize;
use std::ops::Range;

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

/// Hashes sorted by one band.
struct Index {
    band: usize,
    /// Where the hashes of each value of the band start, and the end.
    starts: Vec<u32>,
    hashes: Vec<u64>,
    indices: Vec<u32>,
}

fn part(hash: u64, band: usize) -> u32 {
    let (first, bits) = BANDS[band];
    ((hash >> first) & ((1 << bits) - 1)) as u32
}

impl Index {
    fn new(hashes: &[u64], band: usize) -> Index {
        let values = 1usize << BANDS[band].1;
        let mut starts = vec![0u32; values + 1];
        hashes.iter().for_each(|hash| starts[part(*hash, band) as usize + 1] += 1);
        (0..values).for_each(|value| starts[value + 1] += starts[value]);
        let mut next = starts.clone();
        let (mut sorted, mut indices) = (vec![0; hashes.len()], vec![0; hashes.len()]);
        for (index, hash) in hashes.iter().enumerate() {
            let place = &mut next[part(*hash, band) as usize];
            sorted[*place as usize] = *hash;
            indices[*place as usize] = index as u32;
            *place += 1;
        }
        Index { band, starts, hashes: sorted, indices }
    }

    fn with(&self, value: u32) -> Range<usize> {
        self.starts[value as usize] as usize..self.starts[value as usize + 1] as usize
    }
}

fn search_band(hashes: &[u64], band: usize, distance: u32, threads: NonZeroUsize) -> Vec<Pair> {
    let index = Index::new(hashes, band);
    let masks = masks(BANDS[band].1, radii(distance)[band]);
    let values = 1u32 << BANDS[band].1;
    // Many small shares, taken in turn, so that no thread waits for another; their order is that of the values.
    let share = (values / 256).max(1);
    let shares = values.div_ceil(share);
    let next = std::sync::atomic::AtomicU32::new(0);
    let work = || {
        let mut found = Vec::new();
        loop {
            let turn = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if turn >= shares {
                return found;
            }
            search_share(
                &index,
                &masks,
                distance,
                turn * share..((turn + 1) * share).min(values),
                &mut found,
            );
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

/// Looks at the values of a band, on the processor's own instruction where it has one.
fn search_share(index: &Index, masks: &[u32], distance: u32, values: Range<u32>, found: &mut Vec<Pair>) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "popcnt")]
        fn with_popcnt(
            index: &Index,
            masks: &[u32],
            distance: u32,
            values: Range<u32>,
            found: &mut Vec<Pair>,
        ) {
            search_values(index, masks, distance, values, found);
        }
        if std::is_x86_feature_detected!("popcnt") {
            // SAFETY: the processor has the one feature that the function asks for.
            return unsafe { with_popcnt(index, masks, distance, values, found) };
        }
    }
    search_values(index, masks, distance, values, found);
}

#[inline(always)]
fn search_values(index: &Index, masks: &[u32], distance: u32, values: Range<u32>, found: &mut Vec<Pair>) {
    for value in values {
        let here = index.with(value);
        if here.is_empty() {
            continue;
        }
        for mask in masks {
            let there = index.with(value ^ mask);
            // Each pair of values is looked at once, from the smaller.
            if value ^ mask < value {
                continue;
            }
            for place in here.clone() {
                let hash = index.hashes[place];
                let from = if *mask == 0 { place + 1 } else { there.start };
                for (at, other) in index.hashes[from..there.end].iter().enumerate() {
                    if (hash ^ other).count_ones() <= distance {
                        found.extend(index.pair(place, from + at, distance));
                    }
                }
            }
        }
    }
}

impl Index {
    /// The pair at two places, unless an earlier band has found it.
    fn pair(&self, one: usize, other: usize, distance: u32) -> Option<Pair> {
        let difference = self.hashes[one] ^ self.hashes[other];
        let radii = radii(distance);
        let earlier = (0..self.band).any(|band| part(difference, band).count_ones() <= radii[band]);
        let (one, other) = (self.indices[one], self.indices[other]);
        let distance = difference.count_ones() as u8;
        (!earlier).then_some(Pair { distance, one: one.min(other), other: one.max(other) })
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn the_index_finds_what_brute_force_finds(seed in any::<u64>(), distance in 0..=MOST) {
            let random = |n: u64| xxhash_rust::xxh3::xxh3_64_with_seed(&n.to_le_bytes(), seed);
            let mut hashes: Vec<u64> = (0..FEW as u64 + 200).map(random).collect();
            for n in 0..1500 {
                let flips = (0..random(n) % 14).fold(0, |flips, k| flips | 1u64 << (random(n + 77 * k) % 64));
                hashes.push(hashes[n as usize] ^ flips);
            }
            let found = pairs_within(&hashes, distance, NonZeroUsize::new(2).unwrap());
            prop_assert_eq!(found, brute_force(&hashes, distance));
        }
    }
}
