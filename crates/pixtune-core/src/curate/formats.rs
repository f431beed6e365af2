//! Images with the same pixels in files of different formats.
//!
//! A JPEG is identified by a hash of its planes, because converting them to RGB takes as long as all measurements together. If
//! an image of another format has the same size and looks the same, the JPEG is decoded to RGB.

use std::collections::{BTreeSet, HashMap};

use super::groups::Groups;
use super::{ImageRecord, Records};

/// Maximum bits of a perceptual hash that the rounding of colors changes.
const ROUNDING: u32 = 4;

/// The images identified by planes that may have the pixels of an image identified by RGB: the first of each hash.
pub fn of_another_format(images: &[ImageRecord], groups: &mut Groups) -> Vec<u32> {
    // Images too flat for a perceptual hash are in no group.
    let mut shelf = |index: usize, image: &ImageRecord| {
        let group = if image.facts.phash == 0 { u32::MAX } else { groups.first(index as u32) };
        (group, image.facts.width, image.facts.height)
    };
    let mut by_colors: HashMap<(u32, u32, u32), BTreeSet<u64>> = HashMap::new();
    for (index, image) in images.iter().enumerate() {
        if image.facts.is_measured() && !image.facts.is_of_planes() {
            by_colors.entry(shelf(index, image)).or_default().insert(image.facts.phash);
        }
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (index, image) in images.iter().enumerate().filter(|(_, image)| image.facts.is_of_planes()) {
        let is_near = |phash: &u64| (phash ^ image.facts.phash).count_ones() <= ROUNDING;
        let others = by_colors.get(&shelf(index, image));
        if others.is_some_and(|others| others.iter().any(is_near)) && seen.insert(image.facts.pixels) {
            found.push(index as u32);
        }
    }
    found
}

/// Identifies images by RGB instead of planes if another image has the same RGB; returns whether any has. `colors` maps the
/// hash of the planes to that of RGB.
pub fn know_by_colors(images: &mut [ImageRecord], mut colors: HashMap<u64, u64>) -> bool {
    if colors.is_empty() {
        return false;
    }
    let wanted: BTreeSet<u64> = colors.values().copied().collect();
    let pixels = images.iter().map(|image| image.facts.pixels);
    let there: BTreeSet<u64> = pixels.filter(|pixels| wanted.contains(pixels)).collect();
    colors.retain(|_, colors| there.contains(colors));
    for image in images.iter_mut() {
        if let Some(colors) = colors.get(&image.facts.pixels) {
            image.facts.pixels = *colors;
        }
    }
    !colors.is_empty()
}

impl Records {
    /// The images of all rows, for changing their hashes.
    pub fn images_mut(&mut self) -> &mut [ImageRecord] {
        &mut self.images
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::ImageFacts;

    #[test]
    fn decodes_jpegs_that_match_another_format() {
        let image = |pixels, phash, width| ImageRecord {
            content: u128::from(pixels),
            facts: ImageFacts { pixels, phash, width, height: 9, ..ImageFacts::default() },
        };
        let mut images = [
            image(3, 0b1111, 9),
            image(3, 0b1111, 9),
            image(8, 0b1110, 9),
            image(5, 0b1111, 8),
            image(7, 0, 9),
            image(4, 0, 9),
            image(9, u64::MAX, 9),
        ];
        let mut groups = Groups::new(images.len());
        [1, 2, 3].iter().for_each(|other| {
            groups.join(0, *other);
        });
        assert_eq!(of_another_format(&images, &mut groups), [0, 4]);
        assert!(know_by_colors(&mut images, HashMap::from([(3, 8), (7, 100)])));
        assert!(!know_by_colors(&mut images, HashMap::from([(7, 100)])));
        assert_eq!(images.map(|image| image.facts.pixels), [8, 8, 8, 5, 7, 4, 9]);
    }
}
