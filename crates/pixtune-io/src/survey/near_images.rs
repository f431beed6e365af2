//! Near-duplicate images of a dataset, found with the index that `prepare` uses.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use pixtune_core::curate::formats::{know_by_colors, of_another_format};
use pixtune_core::curate::issues::{Outlier, outliers_among};
use pixtune_core::curate::measure::{Thumbnail, looks_same};
use pixtune_core::curate::near::{DISTANCE, near_images};
use pixtune_core::curate::{ImageFacts, ImageRecord};

use super::near_groups::{NearDuplicates, NearGroup};
use super::{FileSide, ImagePlace, InspectedImage};
use crate::image::measure::{by_colors, measure_image};
use crate::image::{Limits, Loaded};

/// Near-duplicate images: different files that show the same.
pub type NearImages = NearDuplicates<NearImage>;

/// A group of near-duplicate images.
pub type NearImageGroup = NearGroup<NearImage>;

/// An image of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearImage {
    /// Its first place.
    pub place: ImagePlace,
    /// Width and height.
    pub size: (u32, u32),
    /// The Hamming distance of its 64-bit perceptual hash from that of the first image of its group.
    pub distance: u32,
    /// Whether its pixels are those of the first image, in another file.
    pub same_pixels: bool,
}

/// Thumbnails of a kilobyte that are kept in memory; others are computed again when needed.
const HELD: usize = 1 << 16;

/// Distinct images in input order: 96 bytes each.
#[derive(Default)]
pub(super) struct ImageIndex {
    images: Vec<ImageRecord>,
    entries: Vec<Entry>,
    thumbnails: HashMap<u32, Thumbnail>,
}

#[derive(Clone, Copy)]
struct Entry {
    image: ImagePlace,
    is_validation: bool,
}

impl ImageIndex {
    /// Adds an image that is not in the index yet.
    pub(super) fn add(&mut self, place: ImagePlace, side: FileSide, look: &InspectedImage) {
        let Some(facts) = look.facts else { return };
        let index = self.images.len() as u32;
        if let Some(thumbnail) = look.thumbnail.as_ref().filter(|_| self.thumbnails.len() < HELD) {
            self.thumbnails.insert(index, thumbnail.clone());
        }
        self.images.push(ImageRecord { content: look.hash, facts });
        self.entries.push(Entry { image: place, is_validation: side == FileSide::Validation });
    }

    /// Groups the images. `reread` reads an image whose thumbnail is needed again.
    pub(super) fn groups(
        &mut self,
        threads: NonZeroUsize,
        limits: &Limits,
        reread: impl Fn(ImagePlace) -> Option<Loaded>,
    ) -> NearImages {
        let mut held = std::mem::take(&mut self.thumbnails);
        let entries = &self.entries;
        let mut same = |one: u32, other: u32| {
            // Cleared before, so that the second thumbnail does not evict the first.
            if held.len() + 2 > HELD {
                held.clear();
            }
            for index in [one, other] {
                if let std::collections::hash_map::Entry::Vacant(vacant) = held.entry(index)
                    && let Some(image) = reread(entries[index as usize].image)
                    && let Ok(made) = measure_image(&image, limits)
                {
                    vacant.insert(made.thumbnail);
                }
            }
            held.get(&one).zip(held.get(&other)).is_some_and(|(one, other)| looks_same(one, other))
        };
        let mut groups = near_images(&self.images, DISTANCE, threads, &mut same);
        let mut colors = HashMap::new();
        for image in of_another_format(&self.images, &mut groups) {
            let loaded = reread(entries[image as usize].image);
            if let Some(Ok(found)) = loaded.map(|loaded| by_colors(&loaded, limits)) {
                colors.insert(self.images[image as usize].facts.pixels, found);
            }
        }
        know_by_colors(&mut self.images, colors);
        let sides = |index: u32| match self.entries[index as usize].is_validation {
            true => [false, true],
            false => [true, false],
        };
        NearDuplicates::of(groups, sides, |first, index| self.member(first, index))
    }

    fn member(&self, first: u32, index: u32) -> NearImage {
        let [leader, image] = [first, index].map(|index| &self.images[index as usize]);
        NearImage {
            place: self.entries[index as usize].image,
            size: (image.facts.width, image.facts.height),
            distance: leader.distance(image),
            same_pixels: index != first && leader.identity() == image.identity(),
        }
    }

    /// Outliers of the dataset.
    pub(super) fn odd(&self) -> Vec<(Outlier, ImagePlace)> {
        let all: Vec<(usize, usize, &ImageFacts)> =
            self.images.iter().enumerate().map(|(index, image)| (index, 1, &image.facts)).collect();
        let mut odd = outliers_among(&all);
        for odd in &mut odd {
            odd.image = self.entries[odd.row].image.index as usize + 1;
        }
        odd.into_iter().map(|odd| (odd, self.entries[odd.row].image)).collect()
    }
}
