//! One line or image, looked at by itself.

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
use crate::check::Facts;
use crate::image::measure::Measure;
use crate::image::prepare::rule_of;
use crate::image::{ImageError, Limits, inspect, measure};
use crate::read::records::RawRow;
use crate::tokens::parse_row;

/// How closely images are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Their headers, for sizes.
    Header,
    /// Decoded and measured.
    Measure,
}

/// An image after a look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageLook {
    /// The format of its bytes.
    pub format: ImageFormat,
    /// Width and height as the reference measures them.
    pub size: (u32, u32),
    /// Bytes of the file.
    pub bytes: u64,
    /// Hash of the file, or of its base64.
    pub hash: u128,
    /// What its pixels tell, if they were measured.
    pub facts: Option<ImageFacts>,
    /// The image in 32 x 32, if it was measured.
    pub thumbnail: Option<Thumbnail>,
}

/// What is known of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleLook {
    /// Its tokens.
    pub counts: Counts,
    /// Its images.
    pub images: Vec<ImageLook>,
    /// Its texts.
    pub texts: TextFacts,
    /// It has a system prompt.
    pub with_system: bool,
    /// Its turns: messages of any role.
    pub messages: usize,
    /// What is compared with other samples.
    pub facts: Facts,
    /// What its texts are compared by.
    pub words: Texts,
}

impl SampleLook {
    /// A hash of its image files, in their order.
    pub(super) fn images_hash(&self) -> u64 {
        let hashes: Vec<[u8; 16]> = self.images.iter().map(|image| image.hash.to_le_bytes()).collect();
        content_hash(hashes.as_flattened()) as u64
    }
}

/// Looks at lines.
#[derive(Clone, Copy)]
pub struct Looker<'e> {
    /// The model whose tokens count.
    pub encoder: ChatEncoder<'e>,
    /// How closely images are looked at.
    pub look: Look,
}

/// What may be read and decoded at all.
pub(crate) const LIMITS: Limits = Limits {
    max_bytes: 256 << 20,
    max_side: 30_000,
    max_pixels: 100_000_000,
    max_decoded_bytes: 400_000_000,
};

impl Looker<'_> {
    /// Looks at a line of a file whose images lie in `directory`. The error is why it cannot be trained on, or not be
    /// counted. A panic over it is a finding like any other.
    pub fn line(&self, directory: &Path, row: &RawRow) -> Result<SampleLook, Finding> {
        catch_unwind(AssertUnwindSafe(|| self.look_at(directory, row))).unwrap_or_else(|_| {
            Err(Finding::new(&rules::INTERNAL, "", "the line made the program fail")
                .hint("this is a defect of pixtune: please report it with the line"))
        })
    }

    fn look_at(&self, directory: &Path, row: &RawRow) -> Result<SampleLook, Finding> {
        with_sample(row, |sample| {
            let mut images = Vec::with_capacity(sample.images.len());
            for image in &sample.images {
                images.push(self.image(image, directory)?);
            }
            let sizes: Vec<(u32, u32)> = images.iter().map(|image| image.size).collect();
            let counts = self.encoder.count(sample, &sizes)?;
            let facts = Facts::new(sample, images.iter().map(|image| image.hash));
            Ok(SampleLook {
                counts,
                texts: TextFacts::of(sample),
                with_system: sample.messages.iter().any(|message| matches!(message, Message::System(_))),
                messages: sample.messages.len(),
                images,
                facts,
                words: Texts::of(sample),
            })
        })
    }

    fn image(&self, image: &Image<&str>, directory: &Path) -> Result<ImageLook, Finding> {
        if let (Look::Header, ImageSource::Inline { base64: text, .. }) = (self.look, &image.source)
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
        Ok(ImageLook { hash, ..looked })
    }

    /// Looks at the bytes of an image.
    pub fn bytes(&self, bytes: &[u8]) -> Result<ImageLook, Finding> {
        let (header, measured) = match self.look {
            Look::Header => inspect(bytes, &LIMITS).map(|header| (header, None)),
            Look::Measure => {
                measure::whole(bytes, &LIMITS).map(|(header, measured)| (header, Some(measured)))
            }
        }
        .map_err(|error| refusal(&error))?;
        let (format, size) = (header.format, header.reference_size());
        let (facts, thumbnail) = measured.map(|Measure { facts, thumbnail }| (facts, thumbnail)).unzip();
        Ok(ImageLook { format, size, bytes: bytes.len() as u64, hash: content_hash(bytes), facts, thumbnail })
    }
}

/// Characters of base64 in which a header usually stands; EXIF and color profiles can push it further.
const HEAD: usize = 64 << 10;

/// An image whose header stands at its beginning, without decoding the rest of the base64.
fn by_its_head(text: &str) -> Option<ImageLook> {
    let bytes = base64::strict_length(text)? as u64;
    let header = inspect(&base64::decode(text.get(..HEAD)?)?, &LIMITS).ok()?;
    let hash = content_hash(text.as_bytes());
    Some(ImageLook {
        format: header.format,
        size: header.reference_size(),
        bytes,
        hash,
        facts: None,
        thumbnail: None,
    })
}

/// Does something with the conversation of a line.
pub(crate) fn with_sample<T>(
    row: &RawRow,
    look: impl FnOnce(&BorrowedSample<'_>) -> Result<T, Finding>,
) -> Result<T, Finding> {
    let parsed = parse_row(row)?;
    let sample = strict::read(&parsed.value).map_err(|findings| {
        findings.into_iter().next().expect("a sample is refused for at least one reason")
    })?;
    look(&sample)
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
