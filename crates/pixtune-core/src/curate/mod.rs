//! Decisions over the whole dataset: which rows are duplicates, and the split of each row.
//!
//! Everything here is a function of small facts about rows; no image and no text is read.

mod bits;
mod decide;
mod duplicates;
pub mod edges;
pub mod formats;
mod groups;
pub mod hamming;
pub mod issues;
pub mod keys;
mod leaks;
pub mod measure;
pub mod minhash;
pub mod near;
mod near_texts;
mod records;
pub mod sorted;
mod split;
mod state;
mod store;
mod texts;

use std::num::NonZeroUsize;

use crate::diagnostic::Rule;

pub use decide::{SortedDecision, decide, decide_in};
pub use duplicates::{Linked, Near, Repeated};
pub use groups::Groups;
pub use measure::ImageFacts;
pub use minhash::Sketch;
pub use near_texts::{near_text_edges, near_text_groups};
pub use records::{ImageRecord, Record, Records};
pub use split::{Split, SplitKind, Subset, Unmet, Validation, ValidationError, parse_size};
pub use state::Status;
pub use store::{Store, StoredRow, Visit};
pub use texts::{TextSketch, Texts};

/// Which duplicates are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dedup {
    /// None, and none are reported.
    Off,
    /// Exact ones: the same pixels and the same text; near-duplicates are reported.
    #[default]
    Exact,
    /// Near-duplicates too.
    Near,
}

/// What duplicates are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// Images and text: several questions about one image are not duplicates.
    #[default]
    Sample,
    /// Images alone.
    Image,
}

/// The decision about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the training split.
    Train,
    /// It is in the validation split.
    Validation,
    /// It is in the test split of the dataset.
    Test,
    /// The scan rejected it.
    Rejected,
    /// It is a duplicate of another row.
    Duplicate(Repeat),
    /// One of its images is an outlier, and such rows are dropped: the index in [`Decision::outliers`].
    Outlier(usize),
}

impl Verdict {
    /// Whether the row is written to the training or the validation file.
    pub fn is_kept(self) -> bool {
        matches!(self, Verdict::Train | Verdict::Validation)
    }
}

/// The row that a row duplicates, and how similar the two are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// The row that is kept.
    pub of: usize,
    /// The similarity; `None` for the same pixels and the same text.
    pub near: Option<Near>,
}

/// The policy of the decisions.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Which duplicates are rejected.
    pub dedup: Dedup,
    /// What duplicates are compared by.
    pub by: By,
    /// Bits in which the hashes of near images may differ, at most [`hamming::MOST`].
    pub distance: u32,
    /// Rules about outlier images that reject the row.
    pub drop: Vec<&'static Rule>,
    /// The split.
    pub split: Split,
    /// Threads of the search; the result does not depend on it.
    pub threads: NonZeroUsize,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            dedup: Dedup::default(),
            by: By::default(),
            distance: near::DISTANCE,
            drop: vec![],
            split: Split::default(),
            threads: NonZeroUsize::MIN,
        }
    }
}

/// The decisions for a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// One verdict per row, in input order.
    pub verdicts: Vec<Verdict>,
    /// Rows with the id of an earlier row: (row, earlier row).
    pub repeated_ids: Vec<(usize, usize)>,
    /// Near-duplicates that are kept, in order.
    pub near: Vec<(usize, Repeat)>,
    /// Rows with the images and the prompt of an earlier row and a conflicting label: (row, earlier row).
    pub contradictions: Vec<(usize, usize)>,
    /// Outlier images, in order.
    pub outliers: Vec<issues::Outlier>,
    /// Where the split deviates from the request.
    pub unmet: Vec<Unmet>,
    /// Training rows that are in another split of the dataset too, or nearly: (row, row of the other split).
    pub leaks: Vec<(usize, usize)>,
    /// The images of all rows, grouped by content.
    pub images: Groups,
}

/// The hash that identifies images and texts: XXH3, 128 bits.
pub fn content_hash(bytes: &[u8]) -> u128 {
    twox_hash::XxHash3_128::oneshot(bytes)
}

/// The kind of an answer, for strata: 0 empty, 1 one word, 2 a number with or without a unit, 3 JSON, 4 several
/// lines, 5 one line.
pub fn answer_kind(text: &str) -> u8 {
    let text = text.trim();
    let words = text.split_whitespace().count();
    let numeric = text
        .starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+' | '$' | '€' | '£'))
        && text.chars().any(|character| character.is_ascii_digit());
    match words {
        0 => 0,
        1 | 2 if numeric => 2,
        _ if text.starts_with(['{', '[']) && text.ends_with(['}', ']']) => 3,
        1 => 1,
        _ if text.contains('\n') => 4,
        _ => 5,
    }
}

/// A short hash of a group, a stratum or an id; never 0, which means none.
pub fn label_hash(text: &str) -> u64 {
    twox_hash::XxHash3_64::oneshot(text.as_bytes()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(rows: &[(u128, &[u128], u64)]) -> Records {
        let mut records = Records::default();
        for &(text, images, id) in rows {
            let image = |content: &u128| ImageRecord { content: *content, ..ImageRecord::default() };
            let images: Vec<ImageRecord> = images.iter().map(image).collect();
            records.push(Record { text, id, ..Record::default() }, &images);
        }
        records
    }

    fn duplicates(records: &Records, dedup: Dedup, by: By) -> Vec<Option<usize>> {
        let decision = decide(records, &Policy { dedup, by, ..Policy::default() }, &mut |_, _| true);
        let of = |verdict: &Verdict| match verdict {
            Verdict::Duplicate(repeat) => Some(repeat.of),
            _ => None,
        };
        decision.verdicts.iter().map(of).collect()
    }

    #[test]
    fn several_questions_about_one_image_are_not_duplicates() {
        let set = records(&[(1, &[7], 0), (2, &[7], 0), (1, &[7], 0), (1, &[7, 8], 0), (1, &[8, 7], 0)]);
        assert_eq!(duplicates(&set, Dedup::Exact, By::Sample), [None, None, Some(0), None, None]);
        assert_eq!(duplicates(&set, Dedup::Exact, By::Image), [None, Some(0), Some(0), None, None]);
        assert_eq!(duplicates(&set, Dedup::Off, By::Sample), [None; 5]);
    }

    #[test]
    fn text_only_rows_are_not_image_duplicates() {
        let set = records(&[(1, &[], 0), (1, &[], 0)]);
        assert_eq!(duplicates(&set, Dedup::Exact, By::Image), [None, None]);
        assert_eq!(duplicates(&set, Dedup::Exact, By::Sample), [None, Some(0)]);
    }

    #[test]
    fn reports_repeated_ids_of_kept_rows() {
        let set = records(&[(1, &[1], 5), (2, &[2], 5), (1, &[1], 5), (3, &[3], 0), (4, &[4], 0)]);
        assert_eq!(decide(&set, &Policy::default(), &mut |_, _| true).repeated_ids, [(1, 0)]);
    }

    #[test]
    fn record_has_the_documented_size() {
        assert_eq!((size_of::<Record>(), size_of::<ImageRecord>()), (208, 64));
    }
}
