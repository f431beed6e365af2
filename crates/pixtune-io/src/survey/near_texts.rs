//! Near-duplicate texts of a dataset.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pixtune_core::curate::{TextSketch, near_text_groups};

use super::near_groups::{NearDuplicates, NearGroup};
use super::{FileSide, InspectedSample};
use crate::read::LinePlace;

/// Near-duplicate texts: prompt and response.
pub type NearTexts = NearDuplicates<NearText>;

/// A group of near-duplicate texts.
pub type NearTextGroup = NearGroup<NearText>;

/// A text of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearText {
    /// Its first place.
    pub place: LinePlace,
    /// The estimated percentage of its words that the first text of its group has as well.
    pub similarity: u8,
    /// Whether both samples have the same image files, or none.
    pub same_images: bool,
}

/// Distinct texts in input order: 120 bytes each, and 16 in a hash table plus its unused entries.
#[derive(Default)]
pub(super) struct TextIndex {
    texts: Vec<Text>,
    known: HashMap<u64, u32>,
}

struct Text {
    sketch: TextSketch,
    place: LinePlace,
    /// A hash of the images of its first sample.
    images: [u32; 2],
    /// Whether it is in the training split, and whether it is in the validation split.
    splits: [bool; 2],
}

impl TextIndex {
    /// Adds the text of a sample.
    pub(super) fn add(&mut self, place: LinePlace, side: FileSide, sample: &InspectedSample) {
        let side = usize::from(side == FileSide::Validation);
        let text = match self.known.entry(sample.words.hash()) {
            Entry::Occupied(known) => &mut self.texts[*known.get() as usize],
            Entry::Vacant(vacant) => {
                vacant.insert(self.texts.len() as u32);
                let images = sample.images_hash();
                let images = [images as u32, (images >> 32) as u32];
                let sketch = sample.words.sketch;
                self.texts.push(Text { sketch, place, images, splits: [false; 2] });
                self.texts.last_mut().expect("it was just pushed")
            }
        };
        text.splits[side] = true;
    }

    /// Groups the texts.
    pub(super) fn groups(&self) -> NearTexts {
        let text = |index: u32| &self.texts[index as usize];
        let member = |first, index| NearText {
            place: text(index).place,
            similarity: text(first).sketch.similarity(&text(index).sketch),
            same_images: text(first).images == text(index).images,
        };
        NearDuplicates::of(
            near_text_groups(&self.texts, |text| &text.sketch),
            |index| text(index).splits,
            member,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_small_as_documented() {
        assert_eq!(size_of::<Text>(), 120);
    }
}
