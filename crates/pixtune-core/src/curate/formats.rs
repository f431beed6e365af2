//! Images with the same pixels in files of different formats.
//!
//! A JPEG is identified by a hash of its planes, because converting them to RGB takes as long as all measurements together. If
//! an image of another format has the same size and looks the same, the JPEG is decoded to RGB.

use std::collections::{BTreeSet, HashMap};

use super::groups::Groups;
use super::sorted::{Memory, Sorted, Sorter, Space, fixed};
use super::store::Store;
use super::{ImageFacts, ImageRecord, Records};

/// Maximum bits of a perceptual hash that the rounding of colors changes.
const ROUNDING: u32 = 4;

fixed! {
    /// An image among those that show the same in the same size; those identified by RGB come first.
    pub(super) Formatted {
        group: u32,
        width: u32,
        height: u32,
        is_of_planes: u8,
        phash: u64,
        pixels: u64,
        image: u32,
    }
}

fixed! {
    /// An image that may have the pixels of one in another format.
    pub(super) Candidate {
        pixels: u64,
        image: u32,
    }
}

impl Formatted {
    fn new(image: &ImageRecord, number: u32, groups: &mut Groups) -> Option<Formatted> {
        let ImageFacts { pixels, phash, width, height, .. } = image.facts;
        // Images too flat for a perceptual hash are in no group.
        let group = if phash == 0 { u32::MAX } else { groups.first(number) };
        let is_of_planes = image.facts.is_of_planes().into();
        image.facts.is_measured().then_some(Formatted {
            group,
            width,
            height,
            is_of_planes,
            phash,
            pixels,
            image: number,
        })
    }
}

/// The images identified by planes that may have the pixels of an image identified by RGB: the first of each hash, in order.
pub fn of_another_format(images: &[ImageRecord], groups: &mut Groups) -> Vec<u32> {
    let mut sorter = Sorter::new(&Memory);
    for (image, number) in images.iter().zip(0..) {
        let Ok(()) = Formatted::new(image, number, groups).map_or(Ok(()), |image| sorter.push(image));
    }
    let Ok(found) = sorter.finish().and_then(|sorted| in_another_format(&Memory, &sorted));
    found
}

/// The same for all images of a store. There are few such images.
pub fn stored_in_another_format<S: Store>(store: &S, groups: &mut Groups) -> Result<Vec<u32>, S::Error> {
    let mut of_format = [false; 2];
    store.each(&mut |stored| {
        for (_, image) in stored.numbered().filter(|(_, image)| image.facts.is_measured()) {
            of_format[usize::from(image.facts.is_of_planes())] = true;
        }
        Ok(())
    })?;
    if of_format != [true; 2] {
        return Ok(vec![]);
    }
    let mut sorter = Sorter::new(store);
    store.each(&mut |stored| {
        for (number, image) in stored.numbered() {
            Formatted::new(image, number, groups).map_or(Ok(()), |image| sorter.push(image))?;
        }
        Ok(())
    })?;
    in_another_format(store, &sorter.finish()?)
}

fn in_another_format<S: Space>(
    space: &S,
    images: &Sorted<Formatted, S::Scratch>,
) -> Result<Vec<u32>, S::Error> {
    let mut candidates = Sorter::new(space);
    let mut shelf = None;
    let mut by_colors: BTreeSet<u64> = BTreeSet::new();
    images.each(|Formatted { group, width, height, is_of_planes, phash, pixels, image }| {
        if shelf != Some((group, width, height)) {
            shelf = Some((group, width, height));
            by_colors.clear();
        }
        if is_of_planes == 0 {
            by_colors.insert(phash);
            return Ok(());
        }
        let is_near = by_colors.iter().any(|other| (other ^ phash).count_ones() <= ROUNDING);
        if is_near { candidates.push(Candidate { pixels, image }) } else { Ok(()) }
    })?;
    let (mut found, mut last) = (Vec::new(), None);
    candidates.finish()?.each(|Candidate { pixels, image }| {
        if last != Some(pixels) {
            found.push(image);
        }
        last = Some(pixels);
        Ok(())
    })?;
    found.sort_unstable();
    Ok(found)
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
