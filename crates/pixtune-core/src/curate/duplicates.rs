//! Duplicates, near-duplicates and conflicting labels.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::groups::Groups;
use super::{By, ImageRecord, Prehashed, Record, Records, Repeat, Verdict, content_hash};
use crate::split::GivenSplit;

type Keyed<T> = HashMap<u128, T, BuildHasherDefault<Prehashed>>;

/// Marks every exact duplicate of an earlier row.
pub(super) fn mark_exact(records: &Records, by: By, verdicts: &mut [Verdict]) {
    let mut first: Keyed<usize> = HashMap::default();
    for (index, (row, images)) in records.iter().enumerate() {
        let Some(key) = key(by, row.text, images, ImageRecord::identity) else { continue };
        if verdicts[index] != Verdict::Train {
            continue;
        }
        let earlier = *first.entry(key).or_insert(index);
        if earlier != index {
            verdicts[index] = Verdict::Duplicate(Repeat { of: earlier, near: None });
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
    let mut groups: Keyed<Vec<u32>> = HashMap::default();
    let mut from = 0;
    let mut starts = Vec::with_capacity(verdicts.len());
    for (index, (_, images)) in records.iter().enumerate() {
        starts.push(from);
        let mut image = from;
        from += images.len();
        if verdicts[index] != Verdict::Train {
            continue;
        }
        let text = u128::from(text_groups.first(index as u32));
        let root = |_: &ImageRecord| {
            image += 1;
            u128::from(image_groups.first(image as u32 - 1))
        };
        if let Some(key) = key(by, text, images, root) {
            groups.entry(key).or_default().push(index as u32);
        }
    }
    let mut members: Vec<Vec<u32>> = groups.into_values().filter(|rows| rows.len() > 1).collect();
    members.sort_unstable();
    let images = |row: u32| {
        let count = records.rows[row as usize].images as usize;
        &records.images[starts[row as usize]..][..count]
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
    let mut first: Keyed<usize> = HashMap::default();
    let mut found = Vec::new();
    for (index, (row, images)) in records.iter().enumerate() {
        if !verdicts[index].is_kept() || row.prompt == 0 {
            continue;
        }
        let Some(key) = key(By::Sample, row.prompt, images, ImageRecord::identity) else { continue };
        let earlier = *first.entry(key).or_insert(index);
        if earlier != index && records.rows[earlier].texts.answer_hash != row.texts.answer_hash {
            found.push((index, earlier));
        }
    }
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
