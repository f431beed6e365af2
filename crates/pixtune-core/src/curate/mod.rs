//! Deciding over the whole set: which rows are duplicates, which side of the split each row stands on.
//!
//! Everything here is a function of small facts about rows; no picture and no text is looked at.

pub mod measure;
mod split;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub use measure::PictureFacts;
pub use split::{Side, Split, SplitKind, Validation, ValidationError, parse_size};

/// What is remembered of one row: 112 bytes, and 64 more for each of its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// Which input it came from.
    pub input: u32,
    /// How many pictures it has; what is known of them stands beside the rows.
    pub images: u32,
    /// The line of the input, from 1.
    pub line: u64,
    /// Where the row starts in the input.
    pub offset: u64,
    /// How many bytes the row has in the input.
    pub length: u64,
    /// How many bytes its finished line has, the line end included.
    pub bytes: u64,
    /// Whether the scan already rejected it.
    pub rejected: bool,
    /// Hash of everything in the sample but its pictures.
    pub text: u128,
    /// Hash of its group; 0 for none.
    pub group: u64,
    /// Hash of its stratum; 0 for none.
    pub stratum: u64,
    /// Hash of its id; 0 for none.
    pub id: u64,
    /// Tokens of the whole sample.
    pub tokens: u32,
    /// Of these, tokens of pictures.
    pub image_tokens: u32,
    /// Of these, tokens with loss.
    pub trained_tokens: u32,
    /// Pictures made smaller.
    pub shrunk: u32,
}

/// What is remembered of one picture: 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Image {
    /// Hash of its file, or of its address where it stays one.
    pub content: u128,
    /// What was measured; of pictures that were not decoded nothing is.
    pub facts: PictureFacts,
}

/// The facts of all rows, in input order.
#[derive(Debug, Clone, Default)]
pub struct Records {
    rows: Vec<Record>,
    images: Vec<Image>,
}

impl Records {
    /// Adds a row and its pictures, in order of appearance.
    pub fn push(&mut self, mut row: Record, images: &[Image]) {
        row.images = u32::try_from(images.len()).unwrap_or(u32::MAX);
        self.rows.push(row);
        self.images.extend_from_slice(images);
    }

    /// The rows.
    pub fn rows(&self) -> &[Record] {
        &self.rows
    }

    /// The pictures of all rows, one after the other.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The rows with their pictures.
    pub fn iter(&self) -> impl Iterator<Item = (&Record, &[Image])> {
        let mut from = 0;
        self.rows.iter().map(move |row| {
            let images = &self.images[from..from + row.images as usize];
            from += images.len();
            (row, images)
        })
    }
}

/// What counts as a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dedup {
    /// Nothing does.
    Off,
    /// The same pictures, byte for byte, and the same text.
    #[default]
    Sample,
    /// The same pictures, whatever is asked about them.
    Image,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is trained on.
    Train,
    /// It is held out.
    Validation,
    /// The scan rejected it.
    Rejected,
    /// It repeats the row at this index.
    Duplicate(usize),
}

/// The outcome for a whole set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// One verdict a row, in input order.
    pub verdicts: Vec<Verdict>,
    /// Rows whose id an earlier row carries: (row, earlier row).
    pub repeated_ids: Vec<(usize, usize)>,
}

/// Decides about every row.
pub fn decide(records: &Records, dedup: Dedup, split: &Split) -> Decision {
    let mut verdicts = vec![Verdict::Train; records.rows.len()];
    mark_duplicates(records, dedup, &mut verdicts);
    split::assign(records, split, &mut verdicts);
    Decision { repeated_ids: repeated_ids(records, &verdicts), verdicts }
}

fn mark_duplicates(records: &Records, dedup: Dedup, verdicts: &mut [Verdict]) {
    let mut first: HashMap<u128, usize, BuildHasherDefault<Prehashed>> = HashMap::default();
    for (index, (row, images)) in records.iter().enumerate() {
        if row.rejected {
            verdicts[index] = Verdict::Rejected;
            continue;
        }
        let key = match dedup {
            Dedup::Off => continue,
            Dedup::Image if images.is_empty() => continue,
            Dedup::Image => hash_all(0, images),
            Dedup::Sample => hash_all(row.text, images),
        };
        match first.entry(key) {
            std::collections::hash_map::Entry::Occupied(earlier) => {
                verdicts[index] = Verdict::Duplicate(*earlier.get());
            }
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(index);
            }
        }
    }
}

fn repeated_ids(records: &Records, verdicts: &[Verdict]) -> Vec<(usize, usize)> {
    let mut first: HashMap<u64, usize, BuildHasherDefault<Prehashed>> = HashMap::default();
    let mut repeated = Vec::new();
    for (index, row) in records.rows.iter().enumerate() {
        let kept = matches!(verdicts[index], Verdict::Train | Verdict::Validation);
        if row.id == 0 || !kept {
            continue;
        }
        let earlier = *first.entry(row.id).or_insert(index);
        if earlier != index {
            repeated.push((index, earlier));
        }
    }
    repeated
}

/// One hash of several, sensitive to their order.
fn hash_all(first: u128, more: &[Image]) -> u128 {
    let mut bytes = Vec::with_capacity(16 * (more.len() + 1));
    bytes.extend_from_slice(&first.to_le_bytes());
    more.iter().for_each(|image| bytes.extend_from_slice(&image.content.to_le_bytes()));
    content_hash(&bytes)
}

/// The hash by which pictures and texts are told apart: XXH3, 128 bits.
pub fn content_hash(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// A short hash of a group, a stratum or an id; never 0, which stands for none.
pub fn label_hash(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes()).max(1)
}

/// A hasher for keys that are hashes already.
#[derive(Default)]
struct Prehashed(u64);

impl Hasher for Prehashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(rows: &[(u128, &[u128], u64)]) -> Records {
        let mut records = Records::default();
        for &(text, images, id) in rows {
            let image = |content: &u128| Image { content: *content, ..Image::default() };
            let images: Vec<Image> = images.iter().map(image).collect();
            records.push(Record { text, id, ..Record::default() }, &images);
        }
        records
    }

    fn duplicates(records: &Records, dedup: Dedup) -> Vec<Option<usize>> {
        let decision = decide(records, dedup, &Split::default());
        let of = |verdict: &Verdict| match verdict {
            Verdict::Duplicate(of) => Some(*of),
            _ => None,
        };
        decision.verdicts.iter().map(of).collect()
    }

    #[test]
    fn several_questions_about_one_picture_are_no_duplicates() {
        let set = records(&[(1, &[7], 0), (2, &[7], 0), (1, &[7], 0), (1, &[7, 8], 0), (1, &[8, 7], 0)]);
        assert_eq!(duplicates(&set, Dedup::Sample), [None, None, Some(0), None, None]);
        assert_eq!(duplicates(&set, Dedup::Image), [None, Some(0), Some(0), None, None]);
        assert_eq!(duplicates(&set, Dedup::Off), [None; 5]);
    }

    #[test]
    fn text_alone_is_no_picture_duplicate() {
        let set = records(&[(1, &[], 0), (1, &[], 0)]);
        assert_eq!(duplicates(&set, Dedup::Image), [None, None]);
        assert_eq!(duplicates(&set, Dedup::Sample), [None, Some(0)]);
    }

    #[test]
    fn repeated_ids_are_told_of_rows_that_stay() {
        let set = records(&[(1, &[1], 5), (2, &[2], 5), (1, &[1], 5), (3, &[3], 0), (4, &[4], 0)]);
        assert_eq!(decide(&set, Dedup::Sample, &Split::default()).repeated_ids, [(1, 0)]);
    }

    #[test]
    fn a_record_is_as_small_as_documented() {
        assert_eq!((size_of::<Record>(), size_of::<Image>()), (112, 64));
    }
}
