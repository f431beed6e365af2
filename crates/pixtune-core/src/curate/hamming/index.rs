//! Hashes put into buckets by some bits of a band, in rows of one size.

use std::ops::Range;

/// First bit and number of bits of each band.
pub(super) const BANDS: [(u32, u32); 3] = [(0, 22), (22, 22), (44, 20)];

/// The bits of a hash that belong to a band.
pub(super) fn part(hash: u64, band: usize) -> u32 {
    let (first, bits) = BANDS[band];
    ((hash >> first) & ((1 << bits) - 1)) as u32
}

/// Hashes in a row.
pub(super) const ROW: usize = 8;

/// 32 bits of each hash in a row.
pub(super) type Half = [u32; ROW];

/// Hashes in a bucket on average, at least, while the band has bits enough.
const IN_A_BUCKET: usize = 3;

/// How many bits number the buckets of so many hashes.
pub(super) fn depth(hashes: usize, band: usize) -> u32 {
    (hashes / IN_A_BUCKET).max(1).ilog2().min(BANDS[band].1)
}

/// Hashes in buckets by the low bits of one band. Every bucket has the same number of rows, found by its number alone; what
/// does not fit into them is in further rows at the end.
pub(super) struct Index {
    pub(super) band: usize,
    /// Bits that buckets are numbered by.
    pub(super) depth: u32,
    /// Rows that every bucket has.
    pub(super) levels: usize,
    /// The bits after the band. Lanes without a hash repeat the first, and add no matches.
    filters: Vec<Half>,
    /// The other bits.
    rests: Vec<Half>,
    /// How many hashes are in a row, the first lanes.
    filled: Vec<u8>,
    indices: Vec<[u32; ROW]>,
    /// Of each further row its bucket.
    buckets: Vec<u32>,
    /// Where the further rows of each bucket start, and the end.
    starts: Vec<u32>,
}

impl Index {
    pub(super) fn new(hashes: &[u64], band: usize, depth: u32) -> Index {
        let count = 1usize << depth;
        let bucket = |hash: u64| part(hash, band) as usize & (count - 1);
        let mut sizes = vec![0u32; count];
        hashes.iter().for_each(|hash| sizes[bucket(*hash)] += 1);
        // Capacity above the average, enough for most buckets.
        let levels = (hashes.len() / count * 5 / 4).div_ceil(ROW).max(1);
        let (mut starts, mut buckets) = (vec![0], Vec::new());
        for (bucket, size) in sizes.iter_mut().enumerate() {
            let more = (*size as usize).saturating_sub(levels * ROW).div_ceil(ROW);
            buckets.extend(std::iter::repeat_n(bucket as u32, more));
            starts.push(buckets.len() as u32);
            *size = 0;
        }
        let rows = levels * count + buckets.len();
        let mut index = Index {
            band,
            depth,
            levels,
            filters: vec![[0; ROW]; rows],
            rests: vec![[0; ROW]; rows],
            filled: vec![0; rows],
            indices: vec![[0; ROW]; rows],
            buckets,
            starts,
        };
        let (first, bits) = BANDS[band];
        for (at, hash) in hashes.iter().enumerate() {
            let bucket = bucket(*hash);
            let (level, lane) = (sizes[bucket] as usize / ROW, sizes[bucket] as usize % ROW);
            sizes[bucket] += 1;
            let row = match level.checked_sub(levels) {
                None => index.row(level, bucket),
                Some(further) => index.further_rows(bucket..bucket + 1).start + further,
            };
            let turned = hash.rotate_right(first + bits);
            let filter = turned as u32;
            match lane {
                0 => index.filters[row] = [filter; ROW],
                _ => index.filters[row][lane] = filter,
            }
            index.filled[row] = lane as u8 + 1;
            index.rests[row][lane] = (turned >> 32) as u32;
            index.indices[row][lane] = at as u32;
        }
        index
    }

    /// A row that every bucket has, of those of this one.
    pub(super) fn row(&self, level: usize, bucket: usize) -> usize {
        level << self.depth | bucket
    }

    /// The further rows of buckets that follow one another.
    pub(super) fn further_rows(&self, buckets: Range<usize>) -> Range<usize> {
        let first = self.levels << self.depth;
        first + self.starts[buckets.start] as usize..first + self.starts[buckets.end] as usize
    }

    /// The bucket of a further row.
    pub(super) fn bucket(&self, row: usize) -> usize {
        self.buckets[row - (self.levels << self.depth)] as usize
    }

    /// The bits after the band of the hashes in a row; the first again in lanes without one.
    pub(super) fn filters(&self, row: usize) -> &Half {
        &self.filters[row]
    }

    /// The other bits of the hashes in a row.
    pub(super) fn rests(&self, row: usize) -> &[u32] {
        &self.rests[row][..usize::from(self.filled[row]).min(ROW)]
    }

    /// The hash in a lane of a row, and its index.
    pub(super) fn hash(&self, row: usize, lane: usize) -> (u64, u32) {
        let (first, bits) = BANDS[self.band];
        let turned = u64::from(self.rests[row][lane]) << 32 | u64::from(self.filters[row][lane]);
        (turned.rotate_left(first + bits), self.indices[row][lane])
    }
}
