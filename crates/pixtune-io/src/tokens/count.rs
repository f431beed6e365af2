//! Token counts of one line, which is read as strictly as the reference reads it; images are measured by their headers.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, Parsed};
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource};
use pixtune_core::spec::ModelSpec;
use pixtune_core::strict;
use pixtune_core::text::counted;
use pixtune_core::tokens::{ChatEncoder, Counts, too_thin};

use crate::base64::{self, Payloads};
use crate::check::{HEADS, LONGEST_HEAD};
use crate::image::{ImageError, Limits, inspect};
use crate::read::Row;

/// What the model sees of one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The counts.
    pub counts: Counts,
    /// Warnings about a line that the reference accepts.
    pub warnings: Vec<Finding>,
    /// The stored size of each image, in the order the model sees them.
    pub sizes: Vec<(u32, u32)>,
    /// The ids, where they are wanted.
    pub ids: Option<Vec<u32>>,
}

/// Whether ids are wanted in addition to counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// Counts only, which is faster.
    No,
    /// Every id.
    Yes,
}

/// Counts one line. The error is why the reference rejects it, or why it cannot be counted.
pub fn count_line(
    encoder: &ChatEncoder<'_>,
    directory: &Path,
    row: &Row,
    ids: Ids,
) -> Result<Counted, Finding> {
    let parsed = parse_row(row)?;
    let sample = read_sample(&parsed)?;
    let payloads = Payloads { text: &row.bytes, runs: &parsed.base64 };
    let sizes = sample.images.iter().map(|image| image_size(image, &payloads, directory));
    let sizes = sizes.collect::<Result<Vec<_>, _>>()?;
    let (counts, ids) = match ids {
        Ids::No => (encoder.count(&sample, &sizes)?, None),
        Ids::Yes => {
            let encoded = encoder.encode(&sample, &sizes)?;
            (encoded.counts, Some(encoded.ids))
        }
    };
    // Images move only within a turn of one image, so their order is that of the sample.
    debug_assert_eq!(counts.images.len(), sizes.len());
    let mut warnings: Vec<Finding> = parsed.lone_surrogate.map(lone_surrogate).into_iter().collect();
    for (image, &(width, height)) in sample.images.iter().zip(&sizes) {
        warnings.extend(thin_image(encoder.spec, image, width, height));
    }
    Ok(Counted { counts, warnings, sizes, ids })
}

/// The JSON of a line.
pub(crate) fn parse_row(row: &Row) -> Result<Parsed<'_>, Finding> {
    if let Some(length) = row.oversized() {
        return Err(Finding::new(
            &rules::ROW_TOO_LARGE,
            "",
            format!("the line has {}", counted(length, "byte")),
        ));
    }
    let text = std::str::from_utf8(&row.bytes).map_err(|error| {
        let message = format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1);
        Finding::new(&rules::INVALID_UTF8, "", message)
    })?;
    json::parse(text).map_err(|error| {
        let message = format!("not JSON: {} (byte {} of the line)", error.what, error.offset + 1);
        Finding::new(&rules::JSON_SYNTAX, "", message)
    })
}

/// The conversation of a line as the reference reads it, or the first reason why it rejects it.
pub(crate) fn read_sample<'p>(parsed: &'p Parsed<'_>) -> Result<strict::BorrowedSample<'p>, Finding> {
    strict::read(&parsed.value)
        .map_err(|findings| findings.into_iter().next().expect("a sample is refused for at least one reason"))
}

/// A string with an unpaired UTF-16 surrogate, which the reference accepts and reads as U+FFFD.
pub(crate) fn lone_surrogate(offset: usize) -> Finding {
    let message = format!("an unpaired surrogate becomes U+FFFD (byte {} of the line)", offset + 1);
    Finding::new(&rules::JSON_LONE_SURROGATE, "", message)
}

/// An image that older servers refuse.
pub(crate) fn thin_image<B>(spec: &ModelSpec, image: &Image<B>, width: u32, height: u32) -> Option<Finding> {
    let message = || {
        format!("an image of {width}x{height} shrinks to nothing on one side before it is cut into patches")
    };
    too_thin(spec, width, height)
        .then(|| Finding::new(&rules::IMAGE_TOO_THIN, image.pointer.clone(), message()))
}

/// Sizes are read from headers, so nothing is allocated for them: no limit is needed.
const NO_LIMITS: Limits =
    Limits { max_bytes: u64::MAX, max_side: u32::MAX, max_pixels: u64::MAX, max_decoded_bytes: u64::MAX };

/// The width and height of an image as the reference measures them: it turns none upright but TIFFs.
fn image_size(image: &Image<&str>, payloads: &Payloads<'_>, directory: &Path) -> Result<(u32, u32), Finding> {
    let from_head = match &image.source {
        ImageSource::Inline { base64: text, .. } if text.len() >= LONGEST_HEAD => {
            size_in_head(text, payloads)
        }
        _ => None,
    };
    if let Some(size) = from_head {
        return Ok(size);
    }
    let bytes = image_bytes(image, directory)?;
    let header = inspect(&bytes, &NO_LIMITS).map_err(|error| unusable(image, &error))?;
    Ok(header.reference_size())
}

/// The same, where all of a payload is base64 and its beginning tells.
fn size_in_head(text: &str, payloads: &Payloads<'_>) -> Option<(u32, u32)> {
    payloads.strict_length(text)?;
    HEADS.iter().find_map(|head| {
        let head = base64::decode(text.get(..*head)?)?;
        Some(inspect(&head, &NO_LIMITS).ok()?.reference_size())
    })
}

/// The file of an image: unpacked from its data URI, or read.
pub(crate) fn image_bytes(image: &Image<&str>, directory: &Path) -> Result<Vec<u8>, Finding> {
    let refuse = |rule, message: String| Finding::new(rule, image.pointer.clone(), message);
    match &image.source {
        ImageSource::Url(url) => {
            let message = format!("`{url}` is an address; an image that is not here cannot be counted");
            Err(refuse(&rules::IMAGE_URL, message))
        }
        ImageSource::Inline { base64: text, .. } => base64::decode(text)
            .ok_or_else(|| refuse(&rules::IMAGE_BAD_DATA_URI, "the data URI is not valid base64".to_owned())),
        ImageSource::File(path) => {
            let path = directory.join(path);
            let missing = |error: io::Error| {
                refuse(&rules::IMAGE_MISSING, format!("`{}` cannot be read: {error}", path.display()))
            };
            let mut bytes = Vec::new();
            let file = File::open(&path).map_err(missing)?;
            if !file.metadata().map_err(missing)?.is_file() {
                let message = format!("`{}` is not a regular file", path.display());
                return Err(refuse(&rules::IMAGE_UNREADABLE, message));
            }
            file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(missing)?;
            Ok(bytes)
        }
    }
}

/// The finding about an image that cannot be used.
pub(crate) fn unusable(image: &Image<&str>, error: &ImageError) -> Finding {
    let rule = crate::image::prepare::rule_of(error).0;
    Finding::new(rule, image.pointer.clone(), format!("the image {error}"))
}

const LARGEST_FILE: u64 = 256 << 20;
