//! What a trainer is fed of a line of JSON: ids, loss mask and the pixels of its images, as the reference makes them.

use std::path::Path;

use pixtune_core::diagnostic::Finding;
use pixtune_core::tokens::{ChatEncoder, Run};

use crate::image::{ImageError, Limits, ModelInput, Resolver, load, model_input};
use crate::read::Row;
use crate::tokens::{parse_row, read_sample};

/// A conversation as the model is trained on it.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedLine {
    /// The ids.
    pub ids: Vec<u32>,
    /// Which of them count in the loss, as runs that alternate.
    pub runs: Vec<Run>,
    /// The images in the order of their `[IMG]` tokens.
    pub images: Vec<ModelInput>,
}

impl EncodedLine {
    /// Bytes it takes in memory, nearly.
    pub fn bytes(&self) -> usize {
        let pixels: usize = self.images.iter().map(|image| image.pixels.len()).sum();
        4 * (self.ids.len() + pixels)
    }
}

/// Encodes one line and decodes its images. The error is why the reference would refuse it, or which image cannot be
/// read.
pub fn encode_line(
    encoder: &ChatEncoder<'_>,
    directory: &Path,
    row: &Row,
    limits: &Limits,
) -> Result<EncodedLine, Finding> {
    let parsed = parse_row(row)?;
    let sample = read_sample(&parsed)?;
    let mut images = Vec::with_capacity(sample.images.len());
    let mut sizes = Vec::with_capacity(sample.images.len());
    for image in &sample.images {
        let refused = |error: ImageError| error.finding_at(image);
        let loaded = load(&image.source, &Resolver::new(directory), limits).map_err(refused)?;
        sizes.push(loaded.header.reference_size());
        images.push(model_input(&loaded, encoder.spec, limits).map_err(refused)?);
    }
    let encoded = encoder.encode(&sample, &sizes)?;
    Ok(EncodedLine { ids: encoded.ids, runs: encoded.counts.runs, images })
}
