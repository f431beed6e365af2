//! What a trainer is fed of a line of JSON: ids, loss mask and the pixels of its pictures, as the reference makes them.

use std::path::Path;

use pixtune_core::diagnostic::Finding;
use pixtune_core::tokens::{ChatEncoder, Run};

use crate::image::{Limits, ModelInput, inspect, model_input};
use crate::read::records::RawRow;
use crate::tokens::{parse_row, picture_bytes, read_sample, unusable};

/// A conversation as the model is trained on it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedLine {
    /// The ids.
    pub ids: Vec<u32>,
    /// Which of them count in the loss, as runs that alternate.
    pub runs: Vec<Run>,
    /// The pictures in the order of their `[IMG]` tokens.
    pub pictures: Vec<ModelInput>,
}

impl EncodedLine {
    /// Bytes it takes in memory, nearly.
    pub fn bytes(&self) -> usize {
        let pixels: usize = self.pictures.iter().map(|picture| picture.pixels.len()).sum();
        4 * (self.ids.len() + pixels)
    }
}

/// Encodes one line and decodes its pictures. The error is why the reference would refuse it, or which picture cannot be
/// read.
pub fn encode_line(
    encoder: &ChatEncoder<'_>,
    folder: &Path,
    row: &RawRow,
    limits: &Limits,
) -> Result<EncodedLine, Finding> {
    let parsed = parse_row(row)?;
    let sample = read_sample(&parsed)?;
    let mut pictures = Vec::with_capacity(sample.images.len());
    let mut sizes = Vec::with_capacity(sample.images.len());
    for picture in &sample.images {
        let bytes = picture_bytes(picture, folder)?;
        let input = model_input(&bytes, encoder.spec, limits).map_err(|error| unusable(picture, &error))?;
        let header = inspect(&bytes, limits).map_err(|error| unusable(picture, &error))?;
        sizes.push(header.reference_size());
        pictures.push(input);
    }
    let encoded = encoder.encode(&sample, &sizes)?;
    Ok(EncodedLine { ids: encoded.ids, runs: encoded.counts.runs, pictures })
}
