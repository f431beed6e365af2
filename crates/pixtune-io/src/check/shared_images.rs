//! Images that show the same in training and validation files, found once all files were read.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;

use pixtune_core::curate::near::{DISTANCE, near_images};
use pixtune_core::curate::{Groups, ImageRecord};

use crate::image::measure::Measure;
use crate::read::LinePlace;
use crate::thumbnails::Thumbnails;

/// The distinct images of all files: 88 bytes each, and a kilobyte on disk.
#[derive(Debug, Default)]
pub(super) struct Gallery {
    images: Vec<ImageRecord>,
    entries: Vec<Entry>,
    pointers: Pointers,
    thumbnails: Option<Thumbnails>,
    broken: Option<io::Error>,
}

/// An image of the gallery.
#[derive(Debug, Clone, Copy)]
struct Entry {
    place: LinePlace,
    /// A number of [`Pointers`].
    pointer: u32,
    is_validation: bool,
}

/// The distinct pointers of images: similar samples have their images at the same pointers.
#[derive(Debug, Default)]
struct Pointers {
    numbers: HashMap<String, u32>,
    all: Vec<String>,
}

/// A validation image and a training image that shows the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SharedImage {
    pub(super) validation: LinePlace,
    pub(super) pointer: String,
    pub(super) trained: LinePlace,
    /// In how many of 64 bits their perceptual hashes differ; `None` where every pixel is the same.
    pub(super) distance: Option<u32>,
}

/// A validation image is compared with at most this many training images of its group, to find the nearest.
const COMPARED: usize = 64;

impl Gallery {
    /// Adds an image. A disk error is returned in the end.
    pub(super) fn add(
        &mut self,
        content: u128,
        measure: &Measure,
        place: LinePlace,
        pointer: &str,
        is_validation: bool,
    ) {
        if self.broken.is_some() {
            return;
        }
        if let Err(error) = self.keep(&measure.thumbnail.pixels) {
            self.broken = Some(error);
            return;
        }
        let pointer = self.pointers.number(pointer);
        self.images.push(ImageRecord { content, facts: measure.facts });
        self.entries.push(Entry { place, pointer, is_validation });
    }

    fn keep(&mut self, thumbnail: &[u8]) -> io::Result<()> {
        let thumbnails = match &mut self.thumbnails {
            Some(thumbnails) => thumbnails,
            none => none.insert(Thumbnails::temporary()?),
        };
        thumbnails.push(thumbnail);
        thumbnails.flush_many()
    }

    /// Every validation image that shows the same as a training image, in the order in which they were added.
    pub(super) fn shared(mut self, threads: NonZeroUsize) -> io::Result<Vec<SharedImage>> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let Some(thumbnails) = &mut self.thumbnails else { return Ok(vec![]) };
        thumbnails.flush()?;
        let mut broken = None;
        let mut same = |one, other| thumbnails.look_same(one, other, &mut broken);
        let groups = near_images(&self.images, DISTANCE, threads, &mut same);
        broken.map_or(Ok(()), Err)?;
        Ok(self.across(groups))
    }

    fn across(&self, mut groups: Groups) -> Vec<SharedImage> {
        let mut trained: HashMap<u32, Vec<u32>> = HashMap::new();
        for (index, _) in self.entries.iter().enumerate().filter(|(_, entry)| !entry.is_validation) {
            let members = trained.entry(groups.first(index as u32)).or_default();
            if members.len() < COMPARED {
                members.push(index as u32);
            }
        }
        let mut shared = Vec::new();
        for (index, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.is_validation) {
            let image = &self.images[index];
            let apart = |other: &u32| {
                let other = &self.images[*other as usize];
                (image.identity() != other.identity()).then(|| image.distance(other))
            };
            let members = trained.get(&groups.first(index as u32)).into_iter().flatten();
            let Some(nearest) = members.min_by_key(|other| apart(other)) else { continue };
            shared.push(SharedImage {
                validation: entry.place,
                pointer: self.pointers.all[entry.pointer as usize].clone(),
                trained: self.entries[*nearest as usize].place,
                distance: apart(nearest),
            });
        }
        shared
    }
}

impl Pointers {
    fn number(&mut self, pointer: &str) -> u32 {
        if let Some(number) = self.numbers.get(pointer) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.numbers.insert(pointer.to_owned(), number);
        self.all.push(pointer.to_owned());
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Rgb;
    use crate::image::measure;

    /// An image that depends on its number, brightened by `more`.
    fn image(number: usize, more: u8) -> Measure {
        let value = |at: usize| {
            let (x, y) = (at % 96 / 16, at / 96 / 16);
            (x * (7 + number * 5) + y * (11 + number * 3)) as u8 % 8 * 24 + more
        };
        measure::rgb(&Rgb {
            width: 96,
            height: 96,
            pixels: (0..96 * 96).flat_map(|at| [value(at); 3]).collect(),
        })
    }

    #[test]
    fn pairs_validation_images_with_the_nearest_training_image() {
        let mut gallery = Gallery::default();
        let place = |file, line| LinePlace { file, line };
        gallery.add(1, &image(1, 0), place(0, 1), "/a", false);
        gallery.add(2, &image(2, 0), place(0, 2), "/a", false);
        gallery.add(3, &image(1, 20), place(0, 3), "/a", false);
        gallery.add(4, &image(1, 20), place(1, 1), "/b", true);
        gallery.add(5, &image(2, 9), place(1, 2), "/c", true);
        gallery.add(6, &image(3, 0), place(1, 3), "/c", true);
        let shared = gallery.shared(NonZeroUsize::MIN).unwrap();
        let pairs: Vec<_> = shared
            .iter()
            .map(|shared| (shared.validation.line, shared.pointer.as_str(), shared.trained.line))
            .collect();
        assert_eq!(pairs, [(1, "/b", 3), (2, "/c", 2)]);
        assert_eq!(shared[0].distance, None);
        assert!(shared[1].distance.is_some_and(|distance| distance <= 2));
    }
}
