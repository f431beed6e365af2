//! Groups of near-duplicate images.

use std::num::NonZeroUsize;

use super::ImageRecord;
use super::edges::{Edge, Shelved, Shelves, Stars};
use super::groups::Groups;
use super::hamming::{Pair, each_pair_within};
use super::keys::{ImageKey, Keyed};
use super::sorted::{List, Memory, Scratch, Sorted, Sorter, Space};

/// The default maximum Hamming distance of images that are compared more closely. Nine in ten images with 3 % cropped off every
/// side are within it, and none of 7,140 pairs of different photographs.
pub const DISTANCE: u32 = 10;

/// Groups images with the same pixels, and images with hashes within `distance`, similar colors and aspect ratios for which
/// `same` returns true.
pub fn near_images(
    images: &[ImageRecord],
    distance: u32,
    threads: NonZeroUsize,
    same: &mut dyn FnMut(u32, u32) -> bool,
) -> Groups {
    let mut groups = Groups::new(images.len());
    let numbered = || images.iter().zip(0u32..);
    let mut identities = Sorter::new(&Memory);
    for (image, number) in numbered() {
        let Ok(()) = identities.push(Keyed::identity(image, number));
    }
    let Ok(identities) = identities.finish();
    let Ok(()) = join_identical(&identities, &mut groups);
    drop(identities);
    let mut keys = Sorter::new(&Memory);
    for (image, number) in numbered().filter(|(_, number)| groups.is_first(*number)) {
        let Ok(()) = ImageKey::new(image, number).map_or(Ok(()), |key| keys.push(key));
    }
    let Ok(keys) = keys.finish();
    let Ok(()) = join_near(&Memory, &keys, (distance, threads), &mut groups, same);
    groups
}

/// Joins images with the same pixels.
pub(super) fn join_identical<S: Scratch>(
    keys: &Sorted<Keyed, S>,
    groups: &mut Groups,
) -> Result<(), S::Error> {
    let mut stars = Stars::default();
    keys.each(|key| {
        if let Some(Edge { one, other }) = stars.next(key) {
            groups.join(one, other);
        }
        Ok(())
    })
}

/// Joins images that show the same. The keys are of the first image of each identity.
pub(super) fn join_near<S: Space>(
    space: &S,
    keys: &Sorted<ImageKey, S::Scratch>,
    (distance, threads): (u32, NonZeroUsize),
    groups: &mut Groups,
    same: &mut dyn FnMut(u32, u32) -> bool,
) -> Result<(), S::Error> {
    let mut shelves = Shelves::default();
    let mut speakers = List::new(space);
    // The hash of each shelf, and where its speakers start.
    let (mut hashes, mut starts): (Vec<u64>, Vec<u32>) = (Vec::new(), Vec::new());
    keys.each(|key| {
        match shelves.next(key, same) {
            Shelved::Near(Edge { one, other }) => {
                groups.join(one, other);
            }
            Shelved::Speaker { first } => {
                if first {
                    hashes.push(key.phash);
                    starts.push(speakers.len() as u32);
                }
                speakers.push(key)?;
            }
            Shelved::TooMany => {}
        }
        Ok(())
    })?;
    starts.push(speakers.len() as u32);
    let mut pairs = Sorter::new(space);
    each_pair_within(&hashes, distance, threads, |Pair { one, other, .. }| pairs.push(Edge { one, other }))?;
    drop(hashes);
    let of = |shelf: u32| starts[shelf as usize] as usize..starts[shelf as usize + 1] as usize;
    pairs.finish()?.each(|pair| {
        for one in of(pair.one) {
            for other in of(pair.other) {
                let (one, other) = (speakers.get(one)?, speakers.get(other)?);
                // What is known to belong together is not compared again.
                if groups.first(one.image) != groups.first(other.image)
                    && one.is_plausible(&other)
                    && same(one.image, other.image)
                {
                    groups.join(one.image, other.image);
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::ImageFacts;
    use crate::curate::edges::IMAGES_COMPARED;

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
        assert!(looks <= 2000 * IMAGES_COMPARED, "{looks}");
    }
}
