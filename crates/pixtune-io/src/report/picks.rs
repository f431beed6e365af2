//! What the report will show, picked while the survey runs: a seeded choice of samples and of images.

use std::collections::BTreeMap;

use crate::progress::Progress;
use crate::read::LinePlace;
use crate::survey::{ImagePlace, InspectedImage, InspectedSample, SurveyObserver};

/// A seeded sample of a stream: the items with the lowest hashes, independent of their order; each item once.
pub(super) struct Lowest {
    seed: u64,
    most: usize,
    kept: BTreeMap<u64, ImagePlace>,
}

impl Lowest {
    pub(super) fn new(seed: u64, most: usize) -> Lowest {
        Lowest { seed, most, kept: BTreeMap::new() }
    }

    pub(super) fn offer(&mut self, thing: u128, place: ImagePlace) {
        let key = twox_hash::XxHash3_64::oneshot_with_seed(self.seed, &thing.to_le_bytes());
        let is_low =
            self.kept.len() < self.most || self.kept.last_key_value().is_some_and(|(last, _)| key < *last);
        if is_low {
            self.kept.entry(key).or_insert(place);
            if self.kept.len() > self.most {
                self.kept.pop_last();
            }
        }
    }

    /// The sample, in the order of the files.
    pub(super) fn into_sorted(self) -> Vec<ImagePlace> {
        let mut places: Vec<_> = self.kept.into_values().collect();
        places.sort_unstable();
        places
    }
}

/// What was picked.
pub(super) struct Picks<'w> {
    pub(super) samples: Lowest,
    pub(super) gallery: Lowest,
    progress: &'w mut (dyn FnMut(Progress) + Send),
}

impl<'w> Picks<'w> {
    pub(super) fn new(
        seed: u64,
        (samples, images): (usize, usize),
        progress: &'w mut (dyn FnMut(Progress) + Send),
    ) -> Picks<'w> {
        Picks { samples: Lowest::new(seed, samples), gallery: Lowest::new(seed, images), progress }
    }
}

impl SurveyObserver for Picks<'_> {
    fn sample(&mut self, place: LinePlace, sample: &InspectedSample) {
        let number = u128::from(place.file) << 64 | u128::from(place.line);
        self.samples.offer(number, ImagePlace { line: place, index: 0 });
        for (index, image) in sample.images.iter().enumerate() {
            self.gallery.offer(image.hash, ImagePlace { line: place, index: index as u32 });
        }
    }

    fn image(&mut self, place: LinePlace, image: &InspectedImage) {
        self.gallery.offer(image.hash, ImagePlace { line: place, index: 0 });
    }

    fn progress(&mut self, progress: Progress) {
        (self.progress)(progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_depends_on_the_seed_and_not_on_the_order() {
        let place = |line| ImagePlace { line: LinePlace { file: 0, line }, index: 0 };
        let pick = |seed, lines: &mut dyn Iterator<Item = u64>| {
            let mut lowest = Lowest::new(seed, 5);
            lines.for_each(|line| lowest.offer(u128::from(line), place(line)));
            lowest.into_sorted().into_iter().map(|place| place.line.line).collect::<Vec<_>>()
        };
        let picked = pick(1, &mut (0..1000));
        assert_eq!(picked, pick(1, &mut (0..1000).rev()));
        assert_ne!(picked, pick(2, &mut (0..1000)));
        assert_eq!(pick(1, &mut (0..3)), [0, 1, 2]);
        assert_eq!(pick(1, &mut [7, 7, 7].into_iter()), [7], "one thing is shown once");
    }
}
