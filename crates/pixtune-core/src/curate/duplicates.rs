//! Duplicates, near-duplicates and conflicting labels.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::groups::Groups;
use super::{By, ImageRecord, Prehashed, Record, Records, Repeat, Verdict, content_hash};
use crate::split::GivenSplit;

type Keyed<T> = HashMap<u128, T, BuildHasherDefault<Prehashed>>;

/// A key in halves, to avoid padding, and the index of its row: 24 bytes, where a hash table needs two to five times as many.
type KeyedRow = ([u64; 2], u32);

/// Rows by their keys, and rows with the same key in their order.
fn sorted(keys: impl Iterator<Item = (usize, u128)>) -> Vec<KeyedRow> {
    let mut rows: Vec<KeyedRow> =
        keys.map(|(index, key)| ([(key >> 64) as u64, key as u64], index as u32)).collect();
    rows.sort_unstable();
    rows
}

/// Those of several rows with the same key.
fn repeated(rows: &[KeyedRow]) -> impl Iterator<Item = &[KeyedRow]> {
    rows.chunk_by(|one, other| one.0 == other.0).filter(|same| same.len() > 1)
}

/// Marks every exact duplicate of an earlier row.
pub(super) fn mark_exact(records: &Records, by: By, verdicts: &mut [Verdict]) {
    let trained = records.iter().enumerate().filter(|(index, _)| verdicts[*index] == Verdict::Train);
    let rows = sorted(trained.filter_map(|(index, (row, images))| {
        Some((index, key(by, row.text, images, ImageRecord::identity)?))
    }));
    for same in repeated(&rows) {
        for (_, row) in &same[1..] {
            verdicts[*row as usize] = Verdict::Duplicate(Repeat { of: same[0].1 as usize, near: None });
        }
    }
}

/// Every kept row that is a near-duplicate of another, with the row to keep: the one with the largest images, the first of
/// several.
pub(super) fn near(
    records: &Records,
    by: By,
    image_groups: &mut Groups,
    text_groups: &mut Groups,
    verdicts: &[Verdict],
) -> Vec<(usize, Repeat)> {
    let mut from = 0;
    let mut starts: Vec<u32> = Vec::with_capacity(verdicts.len());
    let rows = sorted(records.iter().enumerate().filter_map(|(index, (_, images))| {
        let mut image = from;
        starts.push(from);
        from += images.len() as u32;
        if verdicts[index] != Verdict::Train {
            return None;
        }
        let text = u128::from(text_groups.first(index as u32));
        let root = |_: &ImageRecord| {
            image += 1;
            u128::from(image_groups.first(image - 1))
        };
        Some((index, key(by, text, images, root)?))
    }));
    let mut members: Vec<Vec<u32>> =
        repeated(&rows).map(|same| same.iter().map(|(_, row)| *row).collect()).collect();
    members.sort_unstable();
    let images = |row: u32| {
        let count = records.rows[row as usize].images as usize;
        &records.images[starts[row as usize] as usize..][..count]
    };
    let mut found = Vec::new();
    for rows in members {
        pick(records, by, &rows, images, &mut found);
    }
    found.sort_unstable_by_key(|(row, _)| *row);
    found
}

fn pick<'r>(
    records: &Records,
    by: By,
    rows: &[u32],
    images: impl Fn(u32) -> &'r [ImageRecord],
    found: &mut Vec<(usize, Repeat)>,
) {
    let area = |row: u32| -> u64 {
        images(row).iter().map(|image| u64::from(image.facts.width) * u64::from(image.facts.height)).sum()
    };
    let mut left: Vec<u32> = rows.to_vec();
    left.sort_by_key(|row| (std::cmp::Reverse(area(*row)), *row));
    // Whole texts can be similar while the answers differ; such rows are not duplicates.
    while let Some((kept, others)) = left.split_first() {
        let (kept, mut different) = (*kept, Vec::new());
        let best = &records.rows[kept as usize];
        for other in others {
            let row = &records.rows[*other as usize];
            if by == By::Sample && !best.texts.same_answer(&row.texts) {
                different.push(*other);
                continue;
            }
            let distance =
                images(kept).iter().zip(images(*other)).map(|(one, other)| one.distance(other)).max();
            let near =
                Some(Near { distance: distance.unwrap_or(0) as u8, similarity: similarity(best, row) });
            found.push((*other as usize, Repeat { of: kept as usize, near }));
        }
        different.sort_unstable();
        left = different;
    }
}

/// How similar near-duplicates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// The maximum Hamming distance of the perceptual hashes of their images.
    pub distance: u8,
    /// The share of the text that is the same, in percent.
    pub similarity: u8,
}

fn similarity(one: &Record, other: &Record) -> u8 {
    if one.text == other.text { 100 } else { one.texts.similarity(&other.texts) }
}

/// Kept rows with the images and the prompt of an earlier kept row and a conflicting label.
pub(super) fn contradictions(records: &Records, verdicts: &[Verdict]) -> Vec<(usize, usize)> {
    let kept =
        records.iter().enumerate().filter(|(index, (row, _))| verdicts[*index].is_kept() && row.prompt != 0);
    let rows = sorted(kept.filter_map(|(index, (row, images))| {
        Some((index, key(By::Sample, row.prompt, images, ImageRecord::identity)?))
    }));
    let mut found = Vec::new();
    for same in repeated(&rows) {
        let first = same[0].1 as usize;
        let answer = |row: usize| records.rows[row].texts.answer_hash;
        let others = same[1..].iter().map(|(_, row)| *row as usize);
        found.extend(others.filter(|row| answer(*row) != answer(first)).map(|row| (row, first)));
    }
    found.sort_unstable();
    found
}

/// Training rows that share an image or nearly all of their text with a row of the validation or test split that the dataset
/// came with: what is measured there is partly remembered.
pub(super) fn leaks(
    records: &Records,
    image_groups: &mut Groups,
    texts: &[(u32, u32)],
    verdicts: &[Verdict],
) -> Vec<(usize, usize)> {
    let is_given = |index: usize| match records.rows[index].given {
        Some(GivenSplit::Validation) => verdicts[index] == Verdict::Validation,
        Some(GivenSplit::Test) => verdicts[index] == Verdict::Test,
        _ => false,
    };
    let is_trained = |index: usize| verdicts[index] == Verdict::Train;
    // The first row of the other splits with an image of a group.
    let mut elsewhere: HashMap<u32, usize> = HashMap::new();
    let each_image =
        |image_groups: &mut Groups, keep: &dyn Fn(usize) -> bool, found: &mut dyn FnMut(usize, u32)| {
            let mut image = 0;
            for (index, (_, images)) in records.iter().enumerate() {
                let those = image..image + images.len() as u32;
                image = those.end;
                if keep(index) {
                    those.for_each(|image| found(index, image_groups.first(image)));
                }
            }
        };
    each_image(image_groups, &is_given, &mut |index, group| {
        elsewhere.entry(group).or_insert(index);
    });
    let mut leaks: HashMap<usize, usize> = HashMap::new();
    each_image(image_groups, &is_trained, &mut |index, group| {
        if let Some(other) = elsewhere.get(&group) {
            leaks.entry(index).or_insert(*other);
        }
    });
    let text_of_given = |index: &usize| is_given(*index) && records.rows[*index].images == 0;
    let given_texts: Keyed<usize> = (0..verdicts.len())
        .rev()
        .filter(text_of_given)
        .map(|index| (records.rows[index].text, index))
        .collect();
    for (index, row) in
        records.rows.iter().enumerate().filter(|(index, row)| row.images == 0 && is_trained(*index))
    {
        if let Some(given) = given_texts.get(&row.text) {
            leaks.insert(index, *given);
        }
    }
    for (one, other) in texts.iter().map(|(one, other)| (*one as usize, *other as usize)) {
        // Prompts repeat in datasets of images; without images the text is all there is.
        let has_images = records.rows[one].images > 0 || records.rows[other].images > 0;
        for (row, given) in [(one, other), (other, one)] {
            if !has_images && is_trained(row) && is_given(given) {
                leaks.entry(row).or_insert(given);
            }
        }
    }
    let mut leaks: Vec<(usize, usize)> = leaks.into_iter().collect();
    leaks.sort_unstable();
    leaks
}

/// One hash of a row's text and images, in order; `None` if only images count and there are none.
fn key(by: By, text: u128, images: &[ImageRecord], mut of: impl FnMut(&ImageRecord) -> u128) -> Option<u128> {
    let mut bytes = Vec::with_capacity(16 * (images.len() + 1));
    match by {
        By::Image if images.is_empty() => return None,
        By::Image => {}
        By::Sample => bytes.extend_from_slice(&text.to_le_bytes()),
    }
    images.iter().for_each(|image| bytes.extend_from_slice(&of(image).to_le_bytes()));
    Some(content_hash(&bytes))
}
