//! Images of a set that show the same, by the index that `prepare` decides with.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use pixtune_core::curate::formats::{know_by_colors, of_another_format};
use pixtune_core::curate::issues::{Outlier, outliers_among};
use pixtune_core::curate::measure::{Thumbnail, looks_same};
use pixtune_core::curate::near::{DISTANCE, near_images};
use pixtune_core::curate::{ImageFacts, ImageRecord};

use super::alike::{Alike, AlikeGroup};
use super::{FileSide, ImageLook, ImagePlace, LIMITS};
use crate::image::measure;

/// Different files that show the same.
pub type NearImages = Alike<NearImage>;

/// Images that show the same.
pub type NearGroup = AlikeGroup<NearImage>;

/// An image of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearImage {
    /// Where it stands first.
    pub place: ImagePlace,
    /// Width and height.
    pub size: (u32, u32),
    /// In how many of 64 bits its perceptual hash differs from that of the first of its group.
    pub distance: u32,
    /// Whether its pixels are those of the first, in another file.
    pub same_pixels: bool,
}

/// So many thumbnails of a kilobyte are held; others are made again where they are asked for.
const HELD: usize = 1 << 16;

/// Different images as they come: 96 bytes each.
#[derive(Default)]
pub(super) struct Gathered {
    images: Vec<ImageRecord>,
    places: Vec<Place>,
    thumbnails: HashMap<u32, Thumbnail>,
}

#[derive(Clone, Copy)]
struct Place {
    image: ImagePlace,
    is_held_out: bool,
}

impl Gathered {
    /// Takes note of an image that is not there yet.
    pub(super) fn add(&mut self, place: ImagePlace, side: FileSide, look: &ImageLook) {
        let Some(facts) = look.facts else { return };
        let index = self.images.len() as u32;
        if let Some(thumbnail) = look.thumbnail.as_ref().filter(|_| self.thumbnails.len() < HELD) {
            self.thumbnails.insert(index, thumbnail.clone());
        }
        self.images.push(ImageRecord { content: look.hash, facts });
        self.places.push(Place { image: place, is_held_out: side == FileSide::Validation });
    }

    /// Groups them. What is to be looked at once more, `again` reads from the file.
    pub(super) fn groups(
        &mut self,
        threads: NonZeroUsize,
        again: impl Fn(ImagePlace) -> Option<Vec<u8>>,
    ) -> NearImages {
        let mut held = std::mem::take(&mut self.thumbnails);
        let places = &self.places;
        let mut same = |one: u32, other: u32| {
            // Room is made before, so that the second does not push out the first.
            if held.len() + 2 > HELD {
                held.clear();
            }
            for index in [one, other] {
                if let std::collections::hash_map::Entry::Vacant(vacant) = held.entry(index)
                    && let Some(bytes) = again(places[index as usize].image)
                    && let Ok((_, made)) = measure::whole(&bytes, &LIMITS)
                {
                    vacant.insert(made.thumbnail);
                }
            }
            held.get(&one).zip(held.get(&other)).is_some_and(|(one, other)| looks_same(one, other))
        };
        let mut groups = near_images(&self.images, DISTANCE, threads, &mut same);
        let mut colors = HashMap::new();
        for image in of_another_format(&self.images, &mut groups) {
            let bytes = again(places[image as usize].image);
            if let Some(Ok(found)) = bytes.map(|bytes| measure::by_colors(&bytes, &LIMITS)) {
                colors.insert(self.images[image as usize].facts.pixels, found);
            }
        }
        know_by_colors(&mut self.images, colors);
        let sides = |index: u32| match self.places[index as usize].is_held_out {
            true => [false, true],
            false => [true, false],
        };
        Alike::of(groups, sides, |first, index| self.member(first, index))
    }

    fn member(&self, first: u32, index: u32) -> NearImage {
        let [leader, image] = [first, index].map(|index| &self.images[index as usize]);
        NearImage {
            place: self.places[index as usize].image,
            size: (image.facts.width, image.facts.height),
            distance: leader.distance(image),
            same_pixels: index != first && leader.identity() == image.identity(),
        }
    }

    /// What is unlike most of the set.
    pub(super) fn odd(&self) -> Vec<(Outlier, ImagePlace)> {
        let all: Vec<(usize, usize, &ImageFacts)> =
            self.images.iter().enumerate().map(|(index, image)| (index, 1, &image.facts)).collect();
        let mut odd = outliers_among(&all);
        for odd in &mut odd {
            odd.image = self.places[odd.row].image.index as usize + 1;
        }
        odd.into_iter().map(|odd| (odd, self.places[odd.row].image)).collect()
    }
}
