//! Images that show the same and stand on both sides of the split: known once all files have been read.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;

use pixtune_core::curate::near::{DISTANCE, near_images};
use pixtune_core::curate::{Groups, ImageRecord};

use super::seen::Place;
use crate::image::measure::Measure;
use crate::thumbnails::Thumbnails;

/// The different images of all files: 88 bytes each, and a kilobyte on disk.
#[derive(Debug, Default)]
pub(super) struct Gallery {
    images: Vec<ImageRecord>,
    stands: Vec<Stand>,
    pointers: Pointers,
    thumbnails: Option<Thumbnails>,
    broken: Option<io::Error>,
}

/// Where an image stands.
#[derive(Debug, Clone, Copy)]
struct Stand {
    place: Place,
    /// A number of [`Pointers`].
    pointer: u32,
    is_held_out: bool,
}

/// Pointers to images, each once: all samples of a kind have theirs at the same places.
#[derive(Debug, Default)]
struct Pointers {
    numbers: HashMap<String, u32>,
    all: Vec<String>,
}

/// An image that is held out, and one that is trained on and shows the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) held_out: Place,
    pub(super) pointer: String,
    pub(super) trained: Place,
    /// In how many of 64 bits their perceptual hashes differ; `None` where every pixel is the same.
    pub(super) distance: Option<u32>,
}

/// An image that is held out is compared with so many of a group, to name the nearest.
const COMPARED: usize = 64;

impl Gallery {
    /// Takes an image. What goes wrong on disk is told in the end.
    pub(super) fn add(
        &mut self,
        content: u128,
        measure: &Measure,
        place: Place,
        pointer: &str,
        is_held_out: bool,
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
        self.stands.push(Stand { place, pointer, is_held_out });
    }

    fn keep(&mut self, thumbnail: &[u8]) -> io::Result<()> {
        let thumbnails = match &mut self.thumbnails {
            Some(thumbnails) => thumbnails,
            none => none.insert(Thumbnails::temporary()?),
        };
        thumbnails.push(thumbnail);
        thumbnails.flush_many()
    }

    /// Every image that is held out and shows what one shows that is trained on, in the order they came.
    pub(super) fn shared(mut self, threads: NonZeroUsize) -> io::Result<Vec<Shared>> {
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

    fn across(&self, mut groups: Groups) -> Vec<Shared> {
        let mut trained: HashMap<u32, Vec<u32>> = HashMap::new();
        for (index, _) in self.stands.iter().enumerate().filter(|(_, stand)| !stand.is_held_out) {
            let members = trained.entry(groups.first(index as u32)).or_default();
            if members.len() < COMPARED {
                members.push(index as u32);
            }
        }
        let mut shared = Vec::new();
        for (index, stand) in self.stands.iter().enumerate().filter(|(_, stand)| stand.is_held_out) {
            let image = &self.images[index];
            let apart = |other: &u32| {
                let other = &self.images[*other as usize];
                (image.identity() != other.identity()).then(|| image.distance(other))
            };
            let members = trained.get(&groups.first(index as u32)).into_iter().flatten();
            let Some(nearest) = members.min_by_key(|other| apart(other)) else { continue };
            shared.push(Shared {
                held_out: stand.place,
                pointer: self.pointers.all[stand.pointer as usize].clone(),
                trained: self.stands[*nearest as usize].place,
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
    fn what_is_held_out_is_told_with_the_nearest_that_is_trained_on() {
        let mut gallery = Gallery::default();
        let place = |file, line| Place { file, line };
        gallery.add(1, &image(1, 0), place(0, 1), "/a", false);
        gallery.add(2, &image(2, 0), place(0, 2), "/a", false);
        gallery.add(3, &image(1, 20), place(0, 3), "/a", false);
        gallery.add(4, &image(1, 20), place(1, 1), "/b", true);
        gallery.add(5, &image(2, 9), place(1, 2), "/c", true);
        gallery.add(6, &image(3, 0), place(1, 3), "/c", true);
        let shared = gallery.shared(NonZeroUsize::MIN).unwrap();
        let told: Vec<_> = shared
            .iter()
            .map(|shared| (shared.held_out.line, shared.pointer.as_str(), shared.trained.line))
            .collect();
        assert_eq!(told, [(1, "/b", 3), (2, "/c", 2)]);
        assert_eq!(shared[0].distance, None);
        assert!(shared[1].distance.is_some_and(|distance| distance <= 2));
    }
}
