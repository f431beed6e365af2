//! Groups of near-duplicate images.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::num::NonZeroUsize;

use super::groups::Groups;
use super::hamming::pairs_within;
use super::{ImageRecord, Prehashed};

/// The default maximum Hamming distance of images that are compared more closely. Nine in ten images with 3 % cropped off every
/// side are within it, and none of 7,140 pairs of different photographs.
pub const DISTANCE: u32 = 10;

/// Maximum difference of the mean chroma in each quarter: a brightened copy differs by less, a recolored one by more.
const CHROMA: u8 = 16;

/// Maximum difference of aspect ratios: cropping 3 % off two sides changes it by 6 %.
const SHAPE: f64 = 0.08;

/// Maximum images with one hash that are compared with those of another: thousands of pages of one template can share a hash,
/// and need not be compared pairwise to know that they differ.
const COMPARED: usize = 16;

/// Groups images with the same pixels, and images with hashes within `distance`, similar colors and aspect ratios for which
/// `same` returns true.
pub fn near_images(
    images: &[ImageRecord],
    distance: u32,
    threads: NonZeroUsize,
    same: &mut dyn FnMut(u32, u32) -> bool,
) -> Groups {
    let mut groups = Groups::new(images.len());
    let mut by_hash = join_identical(images, &mut groups);
    by_hash.sort_unstable();
    let shelves: Vec<&[(u64, u32)]> = by_hash.chunk_by(|one, other| one.0 == other.0).collect();
    let mut matcher = Matcher { images, groups: &mut groups, same };
    let speakers: Vec<Vec<u32>> = shelves.iter().map(|shelf| matcher.sort_out(shelf)).collect();
    let hashes: Vec<u64> = shelves.iter().map(|shelf| shelf[0].0).collect();
    for pair in pairs_within(&hashes, distance, threads) {
        for one in speakers[pair.one as usize].iter().take(COMPARED) {
            for other in speakers[pair.other as usize].iter().take(COMPARED) {
                matcher.compare(*one, *other);
            }
        }
    }
    groups
}

/// Joins images with the same pixels; returns the first of each with its hash, if it has one.
fn join_identical(images: &[ImageRecord], groups: &mut Groups) -> Vec<(u64, u32)> {
    let mut first: HashMap<u128, u32, BuildHasherDefault<Prehashed>> = HashMap::default();
    let mut different = Vec::new();
    for (index, image) in images.iter().enumerate() {
        let index = index as u32;
        let earlier = *first.entry(image.identity()).or_insert(index);
        groups.join(earlier, index);
        if earlier == index && image.facts.phash != 0 {
            different.push((image.facts.phash, index));
        }
    }
    different
}

struct Matcher<'a> {
    images: &'a [ImageRecord],
    groups: &'a mut Groups,
    same: &'a mut dyn FnMut(u32, u32) -> bool,
}

impl Matcher<'_> {
    /// Groups the images of one hash; one of each group represents it.
    fn sort_out(&mut self, shelf: &[(u64, u32)]) -> Vec<u32> {
        let mut speakers: Vec<u32> = Vec::new();
        for (_, index) in shelf {
            if !speakers.iter().rev().take(COMPARED).any(|speaker| self.compare(*speaker, *index)) {
                speakers.push(*index);
            }
        }
        speakers
    }

    /// Whether two images belong together, by earlier results or by comparison.
    fn compare(&mut self, one: u32, other: u32) -> bool {
        if self.groups.first(one) == self.groups.first(other) {
            return true;
        }
        let [a, b] = [one, other].map(|index| &self.images[index as usize]);
        let matched = plausible(a, b) && (self.same)(one, other);
        if matched {
            self.groups.join(one, other);
        }
        matched
    }
}

/// Whether colors and aspect ratios allow two images to be the same.
pub fn plausible(one: &ImageRecord, other: &ImageRecord) -> bool {
    let chroma = one.facts.chroma.as_flattened().iter().zip(other.facts.chroma.as_flattened());
    let shape = |image: &ImageRecord| f64::from(image.facts.width) / f64::from(image.facts.height.max(1));
    let (one_shape, other_shape) = (shape(one), shape(other));
    chroma.into_iter().all(|(one, other)| one.abs_diff(*other) <= CHROMA)
        && (one_shape / other_shape - 1.0).abs() <= SHAPE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::ImageFacts;

    fn image(pixels: u64, phash: u64, size: (u32, u32)) -> ImageRecord {
        let (width, height) = size;
        let facts = ImageFacts { pixels, phash, width, height, ..ImageFacts::default() };
        ImageRecord { content: u128::from(pixels) << 64 | 1, facts }
    }

    fn firsts(images: &[ImageRecord], mut same: impl FnMut(u32, u32) -> bool) -> Vec<u32> {
        let one = NonZeroUsize::MIN;
        let mut groups = near_images(images, DISTANCE, one, &mut same);
        (0..images.len() as u32).map(|index| groups.first(index)).collect()
    }

    #[test]
    fn groups_images_by_pixels_then_by_hash_and_comparison() {
        let size = (400, 300);
        let set = [
            image(1, 0b1111, size),
            image(2, 0, size),
            image(1, 0b1111, size),
            image(3, 0b1100, size),
            image(4, u64::MAX, size),
            image(5, 0b1111, (300, 300)),
            image(6, 0, size),
        ];
        assert_eq!(firsts(&set, |_, _| true), [0, 1, 0, 0, 4, 5, 6]);
        assert_eq!(firsts(&set, |_, _| false), [0, 1, 0, 3, 4, 5, 6]);
    }

    #[test]
    fn pages_of_one_template_are_not_compared_pairwise() {
        let pages: Vec<ImageRecord> = (1..2000).map(|page| image(page, 77, (400, 300))).collect();
        let mut looks = 0;
        let firsts = firsts(&pages, |_, _| {
            looks += 1;
            false
        });
        assert!(firsts.iter().enumerate().all(|(index, first)| index as u32 == *first));
        assert!(looks <= 2000 * COMPARED, "{looks}");
    }
}
