//! Searches one band: compares buckets with those whose numbers are close.

#[cfg(target_arch = "x86_64")]
mod x86;

use super::index::{Half, Index, ROW, part};
use super::{Pair, radii};

pub(super) struct Search<'i> {
    index: &'i Index,
    distance: u32,
    /// Bits that number a bucket within its block.
    pub(super) bits: u32,
    /// In which bits the numbers of two blocks may differ.
    blocks: Vec<u32>,
    /// How two buckets may differ within their blocks, by the number of bits in which these differ.
    within: Vec<Vec<Step>>,
    /// The same for one block, by the highest bit.
    by_highest: Vec<Vec<Step>>,
    neighbors: Neighbors,
}

/// [`Search::neighbors`] for an instruction set that this CPU supports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neighbors(Function);

type Function = unsafe fn(&Search<'_>, usize, usize, &[Step], &mut Found);

impl Neighbors {
    /// For any CPU.
    pub(super) const PORTABLE: Neighbors = Neighbors(neighbors_portable);

    #[cfg(target_arch = "x86_64")]
    pub(super) fn avx512() -> Option<Neighbors> {
        let has = is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("popcnt");
        has.then_some(Neighbors(x86::neighbors_avx512))
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn avx2() -> Option<Neighbors> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
        has.then_some(Neighbors(x86::neighbors_avx2))
    }

    /// All variants that this CPU supports, the fastest first.
    pub(super) fn every() -> Vec<Neighbors> {
        let mut all = vec![Neighbors::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Neighbors::avx2());
            all.extend(Neighbors::avx512());
        }
        all.reverse();
        all
    }
}

/// From one bucket to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The bits in which their numbers differ.
    mask: u32,
    /// In how many of the bits after the band their hashes may differ.
    limit: u32,
}

/// What a thread found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) pairs: Vec<Pair>,
    /// Rows that are looked at next, and in which lanes.
    rows: Vec<(u32, u16)>,
}

fn neighbors_portable(search: &Search<'_>, here: usize, first: usize, steps: &[Step], found: &mut Found) {
    let close = |one: &Half, other: u32, limit| one.iter().any(|one| (one ^ other).count_ones() <= limit);
    search.neighbors(
        (here, first),
        steps,
        found,
        |row| *row,
        |here, there, limit| {
            let lanes = there.iter().enumerate();
            lanes.fold(0, |bits, (lane, there)| bits | u16::from(close(here, *there, limit)) << lane)
        },
    );
}

impl<'i> Search<'i> {
    pub(super) fn new(index: &'i Index, distance: u32, bits: u32, neighbors: Neighbors) -> Search<'i> {
        let radius = radii(distance)[index.band];
        let steps = |between: u32| -> Vec<Step> {
            let limit = |mask: u32| distance - between - mask.count_ones();
            masks(bits, radius - between).into_iter().map(|mask| Step { mask, limit: limit(mask) }).collect()
        };
        let with_highest =
            |bit| steps(0).into_iter().filter(|step| step.mask.checked_ilog2() == Some(bit)).collect();
        Search {
            index,
            distance,
            bits,
            blocks: masks(index.depth - bits, radius),
            within: (0..=radius).map(steps).collect(),
            by_highest: (0..bits).map(with_highest).collect(),
            neighbors,
        }
    }

    /// Compares the buckets of a block with all that are close, itself included.
    pub(super) fn block(&self, block: u32, found: &mut Found) {
        for mask in &self.blocks {
            // Each pair of blocks is looked at once, from the smaller.
            if block ^ mask > block {
                self.two_blocks(block, *mask, found);
            }
        }
        self.one_block(block, found);
    }

    fn two_blocks(&self, block: u32, mask: u32, found: &mut Found) {
        let index = self.index;
        let len = 1usize << self.bits;
        let (ours, theirs) = ((block as usize) << self.bits, ((block ^ mask) as usize) << self.bits);
        let steps = &self.within[mask.count_ones() as usize];
        for at in 0..len {
            for level in 0..index.levels {
                self.near_bucket(index.row(level, ours + at), theirs + at, steps, found);
            }
        }
        for row in index.further_rows(theirs..theirs + len) {
            self.near_bucket(row, ours + (index.bucket(row) - theirs), steps, found);
        }
        for row in index.further_rows(ours..ours + len) {
            let at = theirs + (index.bucket(row) - ours);
            self.near_bucket(row, at, steps, found);
            for step in steps {
                let to = at ^ step.mask as usize;
                for there in index.further_rows(to..to + 1) {
                    self.row(row, there, step.limit, found);
                }
            }
        }
    }

    fn one_block(&self, block: u32, found: &mut Found) {
        let index = self.index;
        let ours = (block as usize) << self.bits..((block as usize) + 1) << self.bits;
        for bucket in ours.clone() {
            for level in 0..index.levels {
                let row = index.row(level, bucket);
                // Each pair of buckets is looked at once, from the one without the highest bit in which they differ.
                for (bit, steps) in self.by_highest.iter().enumerate() {
                    if bucket >> bit & 1 == 0 {
                        self.near_bucket(row, bucket, steps, found);
                    }
                }
                for above in level + 1..index.levels {
                    self.row(row, index.row(above, bucket), self.distance, found);
                }
                self.own(row, found);
            }
        }
        for row in index.further_rows(ours) {
            let bucket = index.bucket(row);
            self.near_bucket(row, bucket, &self.within[0], found);
            for step in &self.within[0] {
                let to = bucket ^ step.mask as usize;
                let there = index.further_rows(to..to + 1);
                for there in there.start.max(row + 1)..there.end {
                    self.row(row, there, step.limit, found);
                }
            }
            self.own(row, found);
        }
    }

    /// Compares a row with those that every bucket has, of the buckets that are a step from this one.
    fn near_bucket(&self, here: usize, bucket: usize, steps: &[Step], found: &mut Found) {
        if self.index.rests(here).is_empty() {
            return;
        }
        for level in 0..self.index.levels {
            self.near_rows(here, self.index.row(level, bucket), steps, found);
        }
    }

    /// Compares two rows.
    fn row(&self, here: usize, there: usize, limit: u32, found: &mut Found) {
        self.near_rows(here, there, &[Step { mask: 0, limit }], found);
    }

    fn near_rows(&self, here: usize, first: usize, steps: &[Step], found: &mut Found) {
        let Neighbors(function) = self.neighbors;
        // SAFETY: the CPU supports the instruction set of the function.
        unsafe { function(self, here, first, steps, found) };
    }

    /// Compares a row with those that are a step from `first`. `turn` prepares a row for `near`: which lanes
    /// of another are within so many bits of any of its own, as bits that may repeat after those of a row.
    #[inline(always)]
    pub(super) fn neighbors<W>(
        &self,
        (here, first): (usize, usize),
        steps: &[Step],
        found: &mut Found,
        turn: impl Fn(&Half) -> W,
        near: impl Fn(&W, &Half, u32) -> u16,
    ) {
        let Found { pairs, rows } = found;
        if rows.len() < steps.len() {
            rows.resize(steps.len(), (0, 0));
        }
        let turned = turn(self.index.filters(here));
        // Without a branch that depends on the hashes.
        let mut count = 0;
        for step in steps {
            let there = first ^ step.mask as usize;
            let lanes = near(&turned, self.index.filters(there), step.limit);
            rows[count] = (there as u32, lanes);
            count += usize::from(lanes != 0);
        }
        for (there, lanes) in &rows[..count] {
            self.look(here, (*there as usize, *lanes), pairs);
        }
    }

    /// Compares whole hashes: all of a row with those in some lanes of another.
    #[inline(always)]
    fn look(&self, here: usize, (there, lanes): (usize, u16), pairs: &mut Vec<Pair>) {
        let (filters, rests) = (self.index.filters(here), self.index.rests(here));
        let (their_filters, their_rests) = (self.index.filters(there), self.index.rests(there));
        let mut lanes = (lanes | lanes >> ROW) & ((1 << their_rests.len()) - 1);
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            for (at, (filter, rest)) in filters.iter().zip(rests).enumerate() {
                let apart = (filter ^ their_filters[lane]).count_ones();
                if apart <= self.distance && apart + (rest ^ their_rests[lane]).count_ones() <= self.distance
                {
                    pairs.extend(self.pair((here, at), (there, lane)));
                }
            }
        }
    }

    /// Compares the hashes of a row with each other.
    fn own(&self, row: usize, found: &mut Found) {
        let filters = self.index.filters(row);
        for at in 1..self.index.rests(row).len() {
            for before in 0..at {
                if (filters[at] ^ filters[before]).count_ones() <= self.distance {
                    found.pairs.extend(self.pair((row, at), (row, before)));
                }
            }
        }
    }

    /// The pair at two lanes of rows, if it is close and this band is the first in which it is.
    #[cold]
    fn pair(&self, one: (usize, usize), other: (usize, usize)) -> Option<Pair> {
        let ((one_hash, one), (other_hash, other)) =
            (self.index.hash(one.0, one.1), self.index.hash(other.0, other.1));
        let difference = one_hash ^ other_hash;
        let apart = difference.count_ones();
        let radii = radii(self.distance);
        let close_in = |band: usize| part(difference, band).count_ones() <= radii[band];
        let first = close_in(self.index.band) && !(0..self.index.band).any(close_in);
        let close = apart <= self.distance && first;
        close.then(|| Pair { distance: apart as u8, one: one.min(other), other: one.max(other) })
    }
}

/// All values of so many bits with at most `radius` of them set.
pub(super) fn masks(bits: u32, radius: u32) -> Vec<u32> {
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
