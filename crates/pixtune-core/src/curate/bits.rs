//! A bit for each row.

/// A set of rows: a bit for each.
#[derive(Debug, Clone)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// A set without rows.
    pub(super) fn new(rows: usize) -> Bits {
        Bits(vec![0; rows.div_ceil(64)])
    }

    /// Adds a row.
    pub(super) fn set(&mut self, row: u32) {
        self.0[row as usize / 64] |= 1 << (row % 64);
    }

    /// Whether it has a row.
    pub(super) fn has(&self, row: u32) -> bool {
        self.0[row as usize / 64] >> (row % 64) & 1 != 0
    }
}
