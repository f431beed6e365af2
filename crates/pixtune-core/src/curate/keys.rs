//! The key rows of a dataset: what meets in a search for edges, and all that the search has to know of it.
//!
//! Rows with one key belong into one partition; which other keys are in it changes nothing. A search has two rounds, because only the
//! first image of each identity and the first text of each sketch take part in the second.

use super::minhash::{MINIMA, Sketch};
use super::sorted::fixed;
use super::{By, ImageRecord, Record, content_hash};

/// Maximum difference of the mean chroma in each quarter: a brightened copy differs by less, a recolored one by more.
const CHROMA: u8 = 16;

/// Maximum difference of aspect ratios: cropping 3 % off two sides changes it by 6 %.
const SHAPE: f64 = 0.08;

fixed! {
    /// A key that is a hash in halves, to avoid padding, and the number of the row or image that has it: 20 bytes.
    pub Keyed {
        /// The key.
        key: [u64; 2],
        /// The row or image.
        number: u32,
    }
}

fixed! {
    /// A short key and the row that has it: 12 bytes.
    pub ShortKeyed {
        /// The key.
        key: u64,
        /// The row.
        number: u32,
    }
}

fixed! {
    /// An image with its perceptual hash, and what decides whether it is compared with others: 28 bytes.
    pub ImageKey {
        /// The perceptual hash.
        phash: u64,
        /// The image.
        image: u32,
        /// Mean blue and red chroma of the quarters.
        chroma: [[u8; 2]; 4],
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    }
}

fixed! {
    /// A text in a band of its sketch: 78 bytes.
    pub BandKey {
        /// The bytes of the band.
        key: u64,
        /// The row.
        row: u32,
        /// The minima of the sketch.
        minima: [u8; MINIMA],
        /// The number of shingles.
        shingles: u16,
    }
}

impl Keyed {
    /// A row or image with a key.
    pub fn new(key: u128, number: u32) -> Keyed {
        Keyed { key: [(key >> 64) as u64, key as u64], number }
    }

    /// First round: images with the same pixels.
    pub fn identity(image: &ImageRecord, number: u32) -> Keyed {
        Keyed::new(image.identity(), number)
    }

    /// First round: rows with the same sketch of their whole text; `None` for a text without words.
    pub fn sketch(sketch: &Sketch, row: u32) -> Option<Keyed> {
        let Sketch { minima, shingles } = sketch;
        let mut bytes = [0; MINIMA + 2];
        bytes[..MINIMA].copy_from_slice(minima);
        bytes[MINIMA..].copy_from_slice(&shingles.to_le_bytes());
        (*shingles > 0).then(|| Keyed::new(content_hash(&bytes), row))
    }

    /// First round: exact duplicates; `None` if only images count and there are none.
    pub fn exact(by: By, record: &Record, images: &[ImageRecord], row: u32) -> Option<Keyed> {
        let identities = images.iter().map(ImageRecord::identity);
        combined(by, record.text, identities).map(|key| Keyed::new(key, row))
    }
}

impl ImageKey {
    /// Second round: the image, if it has a perceptual hash. Only the first of several with the same pixels takes part.
    pub fn new(image: &ImageRecord, number: u32) -> Option<ImageKey> {
        let facts = &image.facts;
        (facts.phash != 0).then_some(ImageKey {
            phash: facts.phash,
            image: number,
            chroma: facts.chroma,
            width: facts.width,
            height: facts.height,
        })
    }

    /// Whether colors and aspect ratios allow two images to be the same.
    pub fn is_plausible(&self, other: &ImageKey) -> bool {
        let chroma = self.chroma.as_flattened().iter().zip(other.chroma.as_flattened());
        let shape = |image: &ImageKey| f64::from(image.width) / f64::from(image.height.max(1));
        chroma.into_iter().all(|(one, other)| one.abs_diff(*other) <= CHROMA)
            && (shape(self) / shape(other) - 1.0).abs() <= SHAPE
    }
}

impl BandKey {
    /// Second round: the text in a band below [`super::minhash::BANDS`]; `None` for a text without words. Only the first of several
    /// with the same sketch takes part.
    pub fn new(sketch: &Sketch, band: usize, row: u32) -> Option<BandKey> {
        Some(BandKey { key: sketch.band(band)?, row, minima: sketch.minima, shingles: sketch.shingles })
    }

    /// The sketch.
    pub fn sketch(&self) -> Sketch {
        Sketch { minima: self.minima, shingles: self.shingles }
    }
}

/// One hash of a text and images, in order; `None` if only images count and there are none.
pub(super) fn combined(by: By, text: u128, images: impl ExactSizeIterator<Item = u128>) -> Option<u128> {
    let mut bytes = Vec::with_capacity(16 * (images.len() + 1));
    match by {
        By::Image if images.len() == 0 => return None,
        By::Image => {}
        By::Sample => bytes.extend_from_slice(&text.to_le_bytes()),
    }
    images.for_each(|image| bytes.extend_from_slice(&image.to_le_bytes()));
    Some(content_hash(&bytes))
}
