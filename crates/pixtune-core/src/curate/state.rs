//! What is known of every row while it is decided about: two bytes and a bit.

use std::collections::BTreeMap;

use super::bits::Bits;

/// The decision about a row, without its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It is in the training split.
    Train,
    /// It is in the validation split.
    Validation,
    /// It is in the test split of the dataset.
    Test,
    /// The scan rejected it.
    Rejected,
    /// It is a duplicate of another row.
    Duplicate,
    /// One of its images is an outlier, and such rows are dropped.
    Outlier,
}

impl Status {
    /// Whether the row is written to the training or the validation file.
    pub fn is_kept(self) -> bool {
        matches!(self, Status::Train | Status::Validation)
    }
}

/// The number of images of each row: a byte each, and an entry for rows with many.
#[derive(Debug, Clone, Default)]
struct Counts {
    small: Vec<u8>,
    large: BTreeMap<u32, u32>,
}

/// All rows.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) status: Vec<Status>,
    counts: Counts,
    /// Rows whose text is long enough to connect rows with images.
    telling: Bits,
}

/// Shorter texts are too common to connect two rows with images.
const TELLING: u16 = 16;

impl State {
    /// No rows yet, of so many.
    pub(super) fn new(rows: usize) -> State {
        let counts = Counts { small: Vec::with_capacity(rows), large: BTreeMap::new() };
        State { status: Vec::with_capacity(rows), counts, telling: Bits::new(rows) }
    }

    /// Adds the next row.
    pub(super) fn push(&mut self, status: Status, images: u32, shingles: u16) {
        let row = self.status.len() as u32;
        self.status.push(status);
        let small = u8::try_from(images).unwrap_or(u8::MAX);
        self.counts.small.push(small);
        if small == u8::MAX {
            self.counts.large.insert(row, images);
        }
        if shingles >= TELLING {
            self.telling.set(row);
        }
    }

    /// All rows.
    pub(super) fn rows(&self) -> std::ops::Range<u32> {
        0..self.status.len() as u32
    }

    /// The decision about a row so far.
    pub(super) fn of(&self, row: u32) -> Status {
        self.status[row as usize]
    }

    /// Decides about a row.
    pub(super) fn set(&mut self, row: u32, status: Status) {
        self.status[row as usize] = status;
    }

    /// Whether a row is in the training split.
    pub(super) fn is_train(&self, row: u32) -> bool {
        self.of(row) == Status::Train
    }

    /// The number of images of a row.
    pub(super) fn images(&self, row: u32) -> u32 {
        match self.counts.small[row as usize] {
            u8::MAX => self.counts.large.get(&row).copied().unwrap_or(u32::from(u8::MAX)),
            small => u32::from(small),
        }
    }

    /// Whether similar texts connect two rows: long ones, or those of rows without images.
    pub(super) fn are_tied(&self, one: u32, other: u32) -> bool {
        self.telling.has(one) && self.telling.has(other) || self.images(one) == 0 && self.images(other) == 0
    }

    /// The rows with the indices of their images among those of all rows.
    pub(super) fn with_images(&self) -> impl Iterator<Item = (u32, std::ops::Range<u32>)> {
        let mut next = 0;
        self.rows().map(move |row| {
            let images = next..next + self.images(row);
            next = images.end;
            (row, images)
        })
    }
}
