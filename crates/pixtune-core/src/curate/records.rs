//! The facts about rows and images on which all decisions are made.

use super::measure::ImageFacts;
use super::texts::TextSketch;
use crate::split::GivenSplit;

/// The facts about one row: 208 bytes, and 64 more per image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// The index of its input.
    pub input: u32,
    /// The number of its images, whose facts are stored separately.
    pub images: u32,
    /// Which of the samples that its row becomes it is.
    pub nth: u8,
    /// The line of the input, from 1.
    pub line: u64,
    /// Where the row starts in the input.
    pub offset: u64,
    /// Bytes of the row in the input.
    pub length: u64,
    /// Bytes of its output line, with the line end.
    pub bytes: u64,
    /// Whether the scan already rejected it.
    pub rejected: bool,
    /// The split that the dataset puts it in.
    pub given: Option<GivenSplit>,
    /// Hash of everything in the sample but its images.
    pub text: u128,
    /// Hash of everything before the last answer, without its images; 0 for none.
    pub prompt: u128,
    /// The kind of the last answer.
    pub answer_kind: u8,
    /// The sketch that its texts are compared by.
    pub texts: TextSketch,
    /// Hash of its group; 0 for none.
    pub group: u64,
    /// Hash of its stratum; 0 for none.
    pub stratum: u64,
    /// Hash of its id; 0 for none.
    pub id: u64,
    /// Tokens of the whole sample.
    pub tokens: u32,
    /// Of these, tokens of images.
    pub image_tokens: u32,
    /// Of these, trained tokens.
    pub trained_tokens: u32,
    /// Downscaled images.
    pub shrunk: u32,
}

/// The facts about one image: 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageRecord {
    /// Hash of its file, or of its URL if it is not fetched.
    pub content: u128,
    /// The measurements, if the image was decoded.
    pub facts: ImageFacts,
}

impl ImageRecord {
    /// The identity of the image: its pixels, if measured, else its bytes.
    pub fn identity(&self) -> u128 {
        if self.facts.is_measured() { u128::from(self.facts.pixels) } else { self.content }
    }

    /// The Hamming distance of the perceptual hashes.
    pub fn distance(&self, other: &ImageRecord) -> u32 {
        (self.facts.phash ^ other.facts.phash).count_ones()
    }
}

/// The facts of all rows, in input order.
#[derive(Debug, Clone, Default)]
pub struct Records {
    pub(super) rows: Vec<Record>,
    pub(super) images: Vec<ImageRecord>,
}

impl Records {
    /// Adds a row and its images, in order of appearance.
    pub fn push(&mut self, mut row: Record, images: &[ImageRecord]) {
        row.images = u32::try_from(images.len()).unwrap_or(u32::MAX);
        self.rows.push(row);
        self.images.extend_from_slice(images);
    }

    /// The rows.
    pub fn rows(&self) -> &[Record] {
        &self.rows
    }

    /// The images of all rows, in order.
    pub fn images(&self) -> &[ImageRecord] {
        &self.images
    }

    /// The rows with their images.
    pub fn iter(&self) -> impl Iterator<Item = (&Record, &[ImageRecord])> {
        let mut from = 0;
        self.rows.iter().map(move |row| {
            let images = &self.images[from..from + row.images as usize];
            from += images.len();
            (row, images)
        })
    }
}
