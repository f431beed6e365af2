//! What the report will show, picked while the survey runs: a seeded sample, the extremes, pictures that look alike.

use std::collections::{BTreeMap, HashMap};

use pixtune_core::curate::PictureFacts;

use crate::prepare::Progress;
use crate::survey::{LinePlace, PictureLook, SampleLook, Witness};

/// A picture of a sample, or a picture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PicturePlace {
    /// The line or file.
    pub(super) line: LinePlace,
    /// Which picture of the line.
    pub(super) index: u32,
}

/// A seeded sample of a stream: the items whose hashes are lowest, whatever order they come in.
pub(super) struct Lowest<Item> {
    seed: u64,
    most: usize,
    kept: BTreeMap<(u64, PicturePlace), Item>,
}

impl<Item> Lowest<Item> {
    pub(super) fn new(seed: u64, most: usize) -> Lowest<Item> {
        Lowest { seed, most, kept: BTreeMap::new() }
    }

    pub(super) fn offer(&mut self, place: PicturePlace, item: impl FnOnce() -> Item) {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&place.line.file.to_le_bytes());
        bytes[4..12].copy_from_slice(&place.line.line.to_le_bytes());
        bytes[12..].copy_from_slice(&place.index.to_le_bytes());
        let key = (xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, self.seed), place);
        let is_low =
            self.kept.len() < self.most || self.kept.last_key_value().is_some_and(|(last, _)| key < *last);
        if is_low {
            self.kept.insert(key, item());
            if self.kept.len() > self.most {
                self.kept.pop_last();
            }
        }
    }

    /// The sample, in the order of the files.
    pub(super) fn into_sorted(self) -> Vec<(PicturePlace, Item)> {
        let mut items: Vec<_> = self.kept.into_iter().map(|((_, place), item)| (place, item)).collect();
        items.sort_by_key(|(place, _)| *place);
        items
    }
}

/// An extreme that pictures are ranked by.
pub(super) struct Extreme {
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    /// How far a picture goes, in thousandths: more is worse. `None` where it cannot be said.
    score: fn(&PictureFacts, u32) -> Option<u64>,
    /// The score as people read it.
    pub(super) told: fn(u64) -> String,
}

fn thousandths(share: f64) -> u64 {
    (share.clamp(0.0, 1000.0) * 1000.0).round() as u64
}

pub(super) const EXTREMES: [Extreme; 7] = [
    Extreme {
        title: "Dark",
        about: "by the brightness that 99 % of the pixels stay below",
        score: |facts, _| Some(1000 - thousandths(facts.brightness_at(990)).min(1000)),
        told: |score| format!("brightness {:.2}", (1000 - score.min(1000)) as f64 / 1000.0),
    },
    Extreme {
        title: "Light",
        about: "by the brightness that 95 % of the pixels stay above",
        score: |facts, _| Some(thousandths(facts.brightness_at(50))),
        told: |score| format!("brightness {:.2}", score as f64 / 1000.0),
    },
    Extreme {
        title: "Little in them",
        about: "by the entropy of the brightness, in bits: a flat picture has 0, a photograph 6 to 8",
        score: |facts, _| Some(800 - u64::from(facts.entropy.min(800))),
        told: |score| format!("{:.2} bits", (800 - score.min(800)) as f64 / 100.0),
    },
    Extreme {
        title: "Blurred",
        about: "by the width of the sharpest edges in pixels",
        score: |facts, _| (facts.edge_width > 0).then_some(u64::from(facts.edge_width)),
        told: |score| format!("edges {:.1} px wide", score as f64 / 100.0),
    },
    Extreme {
        title: "Elongated",
        about: "by the longer side over the shorter",
        score: |facts, _| Some(thousandths(1.0 / facts.aspect().max(0.001))),
        told: |score| format!("{:.1} : 1", score as f64 / 1000.0),
    },
    Extreme {
        title: "Small",
        about: "by the longer side in pixels",
        score: |facts, _| Some(1_000_000_u64.saturating_sub(u64::from(facts.width.max(facts.height)))),
        told: |score| format!("{} px", 1_000_000 - score.min(1_000_000)),
    },
    Extreme {
        title: "Shrunk most",
        about: "by how many times the longer side passes what the model sees: text this much smaller has to be readable",
        score: |facts, max_side| {
            let side = facts.width.max(facts.height);
            (side > max_side).then(|| thousandths(f64::from(side) / f64::from(max_side)))
        },
        told: |score| format!("{:.1} times", score as f64 / 1000.0),
    },
];

/// So many of each extreme are shown.
const WORST: usize = 8;
/// So many pairs that look alike are shown.
const ALIKE: usize = 12;

/// The farthest of one extreme.
#[derive(Default)]
pub(super) struct Worst {
    pub(super) kept: Vec<(u64, PicturePlace, u128)>,
}

impl Worst {
    fn offer(&mut self, score: u64, place: PicturePlace, hash: u128) {
        if self.kept.len() == WORST && self.kept[WORST - 1].0 >= score {
            return;
        }
        if self.kept.iter().any(|(_, _, known)| *known == hash) {
            return;
        }
        let at = self.kept.partition_point(|(other, ..)| *other >= score);
        self.kept.insert(at, (score, place, hash));
        self.kept.truncate(WORST);
    }
}

/// What was picked.
pub(super) struct Picks<'w> {
    pub(super) samples: Lowest<()>,
    pub(super) gallery: Lowest<()>,
    pub(super) worst: [Worst; EXTREMES.len()],
    pub(super) measured: u64,
    /// Pairs of different pictures with the same perceptual hash: how many, and the first.
    pub(super) alike: (u64, Vec<(PicturePlace, PicturePlace)>),
    seen: HashMap<u64, (u128, PicturePlace)>,
    max_side: u32,
    progress: &'w mut (dyn FnMut(Progress) + Send),
}

impl<'w> Picks<'w> {
    pub(super) fn new(
        seed: u64,
        (samples, pictures): (usize, usize),
        max_side: u32,
        progress: &'w mut (dyn FnMut(Progress) + Send),
    ) -> Picks<'w> {
        Picks {
            samples: Lowest::new(seed, samples),
            gallery: Lowest::new(seed, pictures),
            worst: Default::default(),
            measured: 0,
            alike: (0, Vec::new()),
            seen: HashMap::new(),
            max_side,
            progress,
        }
    }

    fn look(&mut self, place: PicturePlace, picture: &PictureLook) {
        self.gallery.offer(place, || ());
        let Some(facts) = &picture.facts else { return };
        self.measured += 1;
        for (extreme, worst) in EXTREMES.iter().zip(&mut self.worst) {
            if let Some(score) = (extreme.score)(facts, self.max_side) {
                worst.offer(score, place, picture.hash);
            }
        }
        if facts.phash != 0 {
            let (hash, first) = *self.seen.entry(facts.phash).or_insert((picture.hash, place));
            if hash != picture.hash {
                self.alike.0 += 1;
                if self.alike.1.len() < ALIKE {
                    self.alike.1.push((first, place));
                }
            }
        }
    }
}

impl Witness for Picks<'_> {
    fn sample(&mut self, place: LinePlace, sample: &SampleLook) {
        self.samples.offer(PicturePlace { line: place, index: 0 }, || ());
        for (index, picture) in sample.pictures.iter().enumerate() {
            self.look(PicturePlace { line: place, index: index as u32 }, picture);
        }
    }

    fn picture(&mut self, place: LinePlace, picture: &PictureLook) {
        self.look(PicturePlace { line: place, index: 0 }, picture);
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
        let place = |line| PicturePlace { line: LinePlace { file: 0, line, offset: 0, length: 0 }, index: 0 };
        let pick = |seed, lines: &mut dyn Iterator<Item = u64>| {
            let mut lowest = Lowest::new(seed, 5);
            lines.for_each(|line| lowest.offer(place(line), || ()));
            lowest.into_sorted().into_iter().map(|(place, ())| place.line.line).collect::<Vec<_>>()
        };
        let picked = pick(1, &mut (0..1000));
        assert_eq!(picked, pick(1, &mut (0..1000).rev()));
        assert_ne!(picked, pick(2, &mut (0..1000)));
        assert_eq!(pick(1, &mut (0..3)), [0, 1, 2]);
    }
}
