//! Edges between the key rows of a partition.
//!
//! Every function takes key rows in order. Its edges depend only on the rows with the same key, so any partition that keeps those
//! together has the same edges, in any order.

use std::collections::VecDeque;

use super::keys::{BandKey, ImageKey, Keyed};
use super::minhash::SIMILAR;
use super::sorted::fixed;

fixed! {
    /// Two rows or two images that belong together, the smaller first.
    pub Edge {
        /// The smaller number.
        one: u32,
        /// The larger number.
        other: u32,
    }
}

impl Edge {
    /// An edge between two numbers.
    pub fn new(one: u32, other: u32) -> Edge {
        Edge { one: one.min(other), other: one.max(other) }
    }
}

/// The first of several with the same key.
#[derive(Debug, Default)]
pub struct Stars {
    first: Option<Keyed>,
}

impl Stars {
    /// Takes the next key row; an edge to the first with its key, if it is not that itself.
    pub fn next(&mut self, row: Keyed) -> Option<Edge> {
        match self.first {
            Some(first) if first.key == row.key => Some(Edge { one: first.number, other: row.number }),
            _ => {
                self.first = Some(row);
                None
            }
        }
    }
}

/// Members of a key that are not near an earlier one. A member is compared with the last `COMPARED` of them, so the work is bounded
/// even if all members have one key.
#[derive(Debug)]
pub struct Speakers<K, T, const COMPARED: usize> {
    key: Option<K>,
    last: VecDeque<T>,
}

impl<K, T, const COMPARED: usize> Default for Speakers<K, T, COMPARED> {
    fn default() -> Self {
        Speakers { key: None, last: VecDeque::new() }
    }
}

impl<K: PartialEq, T: Copy, const COMPARED: usize> Speakers<K, T, COMPARED> {
    /// Takes the next member; the speaker that it is near, if there is one.
    pub fn next(&mut self, key: K, member: T, mut is_near: impl FnMut(&T, &T) -> bool) -> Option<T> {
        if self.key.as_ref() != Some(&key) {
            self.key = Some(key);
            self.last.clear();
        }
        let near = self.last.iter().rev().find(|speaker| is_near(speaker, &member)).copied();
        if near.is_none() {
            if self.last.len() == COMPARED {
                self.last.pop_front();
            }
            self.last.push_back(member);
        }
        near
    }
}

/// Maximum comparisons of a text with others in one band.
pub(super) const TEXTS_COMPARED: usize = 32;

/// Near-duplicate texts among the key rows of one band.
#[derive(Debug, Default)]
pub struct NearTexts {
    speakers: Speakers<u64, BandKey, TEXTS_COMPARED>,
}

impl NearTexts {
    /// Takes the next key row; an edge to the text that it is near.
    pub fn next(&mut self, row: BandKey) -> Option<Edge> {
        let is_near = |one: &BandKey, other: &BandKey| one.sketch().similarity(&other.sketch()) >= SIMILAR;
        self.speakers.next(row.key, row, is_near).map(|speaker| Edge::new(speaker.row, row.row))
    }
}

/// Maximum images with one perceptual hash that are compared with those of another: thousands of pages of one template can share a
/// hash, and need not be compared pairwise to know that they differ.
pub const IMAGES_COMPARED: usize = 16;

/// Images with one perceptual hash that show different things.
#[derive(Debug, Default)]
pub struct Shelves {
    speakers: Speakers<u64, ImageKey, IMAGES_COMPARED>,
    /// The perceptual hash, and the number of its speakers.
    count: (u64, usize),
}

/// What becomes of an image among those with its perceptual hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelved {
    /// It shows what another shows.
    Near(Edge),
    /// It is compared with images of other hashes; whether it is the first with its hash.
    Speaker {
        /// Whether it is the first with its hash.
        first: bool,
    },
    /// Enough others with its hash are compared.
    TooMany,
}

impl Shelves {
    /// Takes the next key row. `same` compares two images that may show the same.
    pub fn next(&mut self, row: ImageKey, same: &mut dyn FnMut(u32, u32) -> bool) -> Shelved {
        let is_near =
            |one: &ImageKey, other: &ImageKey| one.is_plausible(other) && same(one.image, other.image);
        if let Some(speaker) = self.speakers.next(row.phash, row, is_near) {
            return Shelved::Near(Edge::new(speaker.image, row.image));
        }
        if self.count.0 != row.phash {
            self.count = (row.phash, 0);
        }
        self.count.1 += 1;
        match self.count.1 {
            1 => Shelved::Speaker { first: true },
            2..=IMAGES_COMPARED => Shelved::Speaker { first: false },
            _ => Shelved::TooMany,
        }
    }
}
