//! Inspecting one line or image.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pixtune_core::curate::measure::Thumbnail;
use pixtune_core::curate::{ImageFacts, Texts, content_hash};
use pixtune_core::diagnostic::Finding;
use pixtune_core::quality::TextFacts;
use pixtune_core::rules;
use pixtune_core::sample::{Image, Message};
use pixtune_core::strict::BorrowedSample;
use pixtune_core::target::ImageFormat;
use pixtune_core::tokens::{ChatEncoder, Counts};

use crate::base64::Payloads;
use crate::check::SampleHashes;
use crate::image::measure::{Measure, measure_image};
use crate::image::{
    ImageError, Inspected, Limits, Reading, Resolver, decode, load, load_file, load_header, share,
    source_hash,
};
use crate::read::Row;
use crate::tokens::{parse_row, read_sample};
use crate::verify::{Inspection, Verify};

/// An image that was inspected.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedImage {
    /// The format of its bytes.
    pub format: ImageFormat,
    /// Width and height as the reference measures them.
    pub size: (u32, u32),
    /// Bytes of the file.
    pub bytes: u64,
    /// Hash of the file, or of its base64.
    pub hash: u128,
    /// The facts of its pixels, if they were measured.
    pub facts: Option<ImageFacts>,
    /// The image in 32 x 32, if it was measured.
    pub thumbnail: Option<Thumbnail>,
}

/// A sample that was inspected.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedSample {
    /// Its tokens.
    pub counts: Counts,
    /// Its images.
    pub images: Vec<InspectedImage>,
    /// Its texts.
    pub texts: TextFacts,
    /// It has a system prompt.
    pub with_system: bool,
    /// Its messages, of any role.
    pub messages: usize,
    /// What is compared with other samples.
    pub hashes: SampleHashes,
    /// What its texts are compared by.
    pub words: Texts,
}

impl InspectedSample {
    /// A hash of its image files, in their order.
    pub(super) fn images_hash(&self) -> u64 {
        let hashes: Vec<[u8; 16]> = self.images.iter().map(|image| image.hash.to_le_bytes()).collect();
        content_hash(hashes.as_flattened()) as u64
    }
}

/// Inspects lines and images.
#[derive(Clone, Copy)]
pub struct Inspector<'e> {
    /// The model whose tokens are counted.
    pub encoder: ChatEncoder<'e>,
    /// How closely images are inspected.
    pub inspection: Inspection,
    /// How large an image may be.
    pub limits: Limits,
}

impl Inspector<'_> {
    /// Inspects a line of a file whose images are in `directory`. The error is why training cannot use it, or why it cannot
    /// be counted. A panic is a finding like any other.
    pub fn line(&self, directory: &Path, row: &Row) -> Result<InspectedSample, Finding> {
        catch_unwind(AssertUnwindSafe(|| self.inspect_line(directory, row))).unwrap_or_else(|_| {
            Err(Finding::new(&rules::INTERNAL, "", "pixtune failed on this line")
                .hint("this is a defect of pixtune: please report it with the line"))
        })
    }

    fn inspect_line(&self, directory: &Path, row: &Row) -> Result<InspectedSample, Finding> {
        with_sample(row, |sample, payloads| {
            let resolver = Resolver::new(directory).knowing(payloads);
            let mut images = Vec::with_capacity(sample.images.len());
            for image in &sample.images {
                images.push(self.image(image, &resolver)?);
            }
            let sizes: Vec<(u32, u32)> = images.iter().map(|image| image.size).collect();
            let counts = self.encoder.count(sample, &sizes)?;
            let hashes = SampleHashes::new(sample, images.iter().map(|image| image.hash));
            Ok(InspectedSample {
                counts,
                texts: TextFacts::of(sample),
                with_system: sample.messages.iter().any(|message| matches!(message, Message::System(_))),
                messages: sample.messages.len(),
                images,
                hashes,
                words: Texts::of(sample),
            })
        })
    }

    fn image(&self, image: &Image<&str>, resolver: &Resolver<'_>) -> Result<InspectedImage, Finding> {
        let source = &image.source;
        let known = match self.inspection.verify {
            Verify::Header => load_header(source, resolver, &self.limits),
            Verify::Full => load(source, resolver, &self.limits).map(Inspected::InFull),
        };
        known
            .and_then(|known| self.known(&known, source_hash(source, known.loaded())))
            .map_err(|error| error.finding_at(image))
    }

    /// Inspects an image file that no sample names.
    pub fn file(&self, path: &Path) -> Result<InspectedImage, Finding> {
        load_file(path, &self.limits)
            .and_then(|image| {
                let hash = content_hash(&image.bytes);
                self.known(&Inspected::InFull(image), hash)
            })
            .map_err(|error| error.finding(&format!("`{}`", path.display()), ""))
    }

    fn known(&self, known: &Inspected, hash: u128) -> Result<InspectedImage, ImageError> {
        let (facts, thumbnail) =
            self.verify(known)?.map(|Measure { facts, thumbnail }| (facts, thumbnail)).unzip();
        let header = known.header();
        let (format, size, bytes) = (header.format, header.reference_size(), known.length());
        Ok(InspectedImage { format, size, bytes, hash, facts, thumbnail })
    }

    /// Proves that an image is whole, by decoding it where that is asked for, and measures it where that is wanted.
    fn verify(&self, known: &Inspected) -> Result<Option<Measure>, ImageError> {
        known.structure()?;
        let (Verify::Full, Some(image)) = (self.inspection.verify, known.loaded()) else { return Ok(None) };
        if self.inspection.measure {
            return measure_image(image, &self.limits).map(Some);
        }
        let _share = share(&image.bytes, &image.header);
        decode(&image.bytes, &image.header, &self.limits, Reading::Corrected).map(|_| None)
    }
}

/// Passes the conversation of a line to `inspect`, with what parsing has found out about its base64.
pub(crate) fn with_sample<T>(
    row: &Row,
    inspect: impl FnOnce(&BorrowedSample<'_>, Payloads<'_>) -> Result<T, Finding>,
) -> Result<T, Finding> {
    let parsed = parse_row(row)?;
    let payloads = Payloads { text: &row.bytes, runs: &parsed.base64 };
    inspect(&read_sample(&parsed)?, payloads)
}
