//! Samples of a set that nearly say the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pixtune_core::curate::{TextSketch, near_text_groups};

use super::alike::{Alike, AlikeGroup};
use super::{FileSide, LinePlace, SampleLook};

/// Different texts that nearly say the same, prompt and answer.
pub type NearTexts = Alike<NearText>;

/// Texts that nearly say the same.
pub type NearTextGroup = AlikeGroup<NearText>;

/// A text of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearText {
    /// Where it stands first.
    pub place: LinePlace,
    /// About which share of its words it has in common with the first of its group, in per cent.
    pub similarity: u8,
    /// Whether the samples show the same image files, or none.
    pub same_images: bool,
}

/// Different texts as they come: 120 bytes each, and 16 in a table with its spare room.
#[derive(Default)]
pub(super) struct GatheredTexts {
    texts: Vec<Text>,
    known: HashMap<u64, u32>,
}

struct Text {
    sketch: TextSketch,
    place: LinePlace,
    /// Of the sample that has it first.
    images: [u32; 2],
    /// Whether it is trained on and whether it is held out.
    sides: [bool; 2],
}

impl GatheredTexts {
    /// Takes note of a sample's text.
    pub(super) fn add(&mut self, place: LinePlace, side: FileSide, sample: &SampleLook) {
        let side = usize::from(side == FileSide::Validation);
        let text = match self.known.entry(sample.words.hash()) {
            Entry::Occupied(known) => &mut self.texts[*known.get() as usize],
            Entry::Vacant(vacant) => {
                vacant.insert(self.texts.len() as u32);
                let images = sample.images_hash();
                let images = [images as u32, (images >> 32) as u32];
                let sketch = sample.words.sketch;
                self.texts.push(Text { sketch, place, images, sides: [false; 2] });
                self.texts.last_mut().expect("it was just pushed")
            }
        };
        text.sides[side] = true;
    }

    /// Groups them.
    pub(super) fn groups(&self) -> NearTexts {
        let text = |index: u32| &self.texts[index as usize];
        let member = |first, index| NearText {
            place: text(index).place,
            similarity: text(first).sketch.similarity(&text(index).sketch),
            same_images: text(first).images == text(index).images,
        };
        Alike::of(near_text_groups(&self.texts, |text| &text.sketch), |index| text(index).sides, member)
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
