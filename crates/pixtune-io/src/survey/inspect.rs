//! Inspecting one line or image.

use std::fs::File;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pixtune_core::curate::measure::Thumbnail;
use pixtune_core::curate::{ImageFacts, Texts, content_hash};
use pixtune_core::diagnostic::Finding;
use pixtune_core::quality::TextFacts;
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource, Message};
use pixtune_core::strict::{self, BorrowedSample};
use pixtune_core::target::ImageFormat;
use pixtune_core::tokens::{ChatEncoder, Counts};

use crate::base64;
use crate::check::SampleHashes;
use crate::image::measure::Measure;
use crate::image::prepare::rule_of;
use crate::image::{Header, ImageError, Limits, Reading, decode, inspect, measure};
use crate::read::Row;
use crate::tokens::parse_row;
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
}

/// What may be read and decoded at all.
pub(crate) const LIMITS: Limits = Limits {
    max_bytes: 256 << 20,
    max_side: 30_000,
    max_pixels: 100_000_000,
    max_decoded_bytes: 400_000_000,
};

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
        with_sample(row, |sample| {
            let mut images = Vec::with_capacity(sample.images.len());
            for image in &sample.images {
                images.push(self.image(image, directory)?);
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

    fn image(&self, image: &Image<&str>, directory: &Path) -> Result<InspectedImage, Finding> {
        if let (Verify::Header, ImageSource::Inline { base64: text, .. }) =
            (self.inspection.verify, &image.source)
            && let Some(looked) = by_its_head(text)
        {
            return Ok(looked);
        }
        let bytes = image_bytes(image, directory)?;
        let looked =
            self.bytes(&bytes).map_err(|finding| Finding { pointer: image.pointer.clone(), ..finding })?;
        let hash = match &image.source {
            ImageSource::Inline { base64, .. } => content_hash(base64.as_bytes()),
            _ => looked.hash,
        };
        Ok(InspectedImage { hash, ..looked })
    }

    /// Inspects the bytes of an image.
    pub fn bytes(&self, bytes: &[u8]) -> Result<InspectedImage, Finding> {
        let (header, measured) = self.inspect(bytes).map_err(|error| refusal(&error))?;
        let (format, size) = (header.format, header.reference_size());
        let (facts, thumbnail) = measured.map(|Measure { facts, thumbnail }| (facts, thumbnail)).unzip();
        Ok(InspectedImage {
            format,
            size,
            bytes: bytes.len() as u64,
            hash: content_hash(bytes),
            facts,
            thumbnail,
        })
    }

    /// The header of an image that was verified, and its measure where that is wanted.
    fn inspect(&self, bytes: &[u8]) -> Result<(Header, Option<Measure>), ImageError> {
        let Inspection { verify, measure } = self.inspection;
        match (verify, measure) {
            (Verify::Header, _) => Ok((inspect(bytes, &LIMITS)?, None)),
            (Verify::Full, true) => {
                measure::whole(bytes, &LIMITS).map(|(header, measure)| (header, Some(measure)))
            }
            (Verify::Full, false) => {
                let header = inspect(bytes, &LIMITS)?;
                decode(bytes, &header, &LIMITS, Reading::Corrected)?;
                Ok((header, None))
            }
        }
    }
}

/// Characters of base64 in which a header usually stands; EXIF and color profiles can push it further.
const HEAD: usize = 64 << 10;

/// An image whose header stands at its beginning, without decoding the rest of the base64.
fn by_its_head(text: &str) -> Option<InspectedImage> {
    let bytes = base64::strict_length(text)? as u64;
    let header = inspect(&base64::decode(text.get(..HEAD)?)?, &LIMITS).ok()?;
    let hash = content_hash(text.as_bytes());
    Some(InspectedImage {
        format: header.format,
        size: header.reference_size(),
        bytes,
        hash,
        facts: None,
        thumbnail: None,
    })
}

/// Passes the conversation of a line to `inspect`.
pub(crate) fn with_sample<T>(
    row: &Row,
    inspect: impl FnOnce(&BorrowedSample<'_>) -> Result<T, Finding>,
) -> Result<T, Finding> {
    let parsed = parse_row(row)?;
    let sample = strict::read(&parsed.value).map_err(|findings| {
        findings.into_iter().next().expect("a sample is rejected for at least one reason")
    })?;
    inspect(&sample)
}

/// The bytes of an image of a sample.
pub(crate) fn image_bytes(image: &Image<&str>, directory: &Path) -> Result<Vec<u8>, Finding> {
    let refuse = |rule, message: String| Finding::new(rule, image.pointer.clone(), message);
    match &image.source {
        ImageSource::Url(url) => {
            let start: String = url.chars().take(80).collect();
            let message = format!("`{start}` is an address; an image that is not here cannot be counted");
            Err(refuse(&rules::IMAGE_URL, message))
        }
        ImageSource::Inline { base64: text, .. } => base64::decode(text)
            .ok_or_else(|| refuse(&rules::IMAGE_BAD_DATA_URI, "the data URI is not valid base64".to_owned())),
        ImageSource::File(path) => file_bytes(&directory.join(path))
            .map_err(|finding| Finding { pointer: image.pointer.clone(), ..finding }),
    }
}

/// The bytes of an image file.
pub(crate) fn file_bytes(path: &Path) -> Result<Vec<u8>, Finding> {
    let missing = |error: std::io::Error| {
        Finding::new(&rules::IMAGE_MISSING, "", format!("`{}` cannot be read: {error}", path.display()))
    };
    if !path.metadata().map_err(missing)?.is_file() {
        let message = format!("`{}` is not a regular file", path.display());
        return Err(Finding::new(&rules::IMAGE_UNREADABLE, "", message));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(missing)?.take(LIMITS.max_bytes + 1).read_to_end(&mut bytes).map_err(missing)?;
    Ok(bytes)
}

pub(crate) fn refusal(error: &ImageError) -> Finding {
    let (rule, hint) = rule_of(error);
    let finding = Finding::new(rule, "", format!("the image {error}"));
    match hint {
        Some(hint) if rule != &rules::IMAGE_TOO_LARGE => finding.hint(hint),
        _ => finding,
    }
}
