//! Token counts of one line, which is read as strictly as the reference reads it; images are measured by their headers.

use std::path::Path;

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, Parsed};
use pixtune_core::rules;
use pixtune_core::sample::Image;
use pixtune_core::spec::ModelSpec;
use pixtune_core::strict;
use pixtune_core::text::counted;
use pixtune_core::tokens::{ChatEncoder, Counts, too_thin};

use crate::base64::Payloads;
use crate::image::{Limits, Resolver, load_header};
use crate::read::schema::{lone_surrogate, rejected_surrogate};
use crate::read::{Cut, Row, encoding};

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
    limits: &Limits,
    ids: Ids,
) -> Result<Counted, Finding> {
    let parsed = parse_row(row)?;
    if let Some(offset) = parsed.lone_surrogate.filter(|_| encoder.tokenizer.rejects_surrogates()) {
        return Err(rejected_surrogate(offset));
    }
    let sample = read_sample(&parsed)?;
    let payloads = Payloads { text: &row.bytes, runs: &parsed.base64 };
    let resolver = Resolver::new(directory).knowing(payloads);
    let sizes = sample.images.iter().map(|image| image_size(image, &resolver, limits));
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

/// The JSON of a line, or why it has none.
pub fn parse_row(row: &Row) -> Result<Parsed<'_>, Finding> {
    if let Some(Cut::Unreadable { why }) = &row.cut {
        return Err(Finding::new(&rules::ROW_UNREADABLE, "", why.as_str()));
    }
    if let Some(length) = row.oversized() {
        return Err(Finding::new(
            &rules::ROW_TOO_LARGE,
            "",
            format!("the line has {}", counted(length, "byte")),
        ));
    }
    let text = std::str::from_utf8(&row.bytes).map_err(|error| {
        let message = format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1);
        Finding::new(&rules::INVALID_UTF8, "", message).hint(encoding::hint(&row.bytes))
    })?;
    json::parse(text).map_err(|error| {
        let message = format!("not JSON: {} (byte {} of the line)", error.what, error.offset + 1);
        Finding::new(&rules::JSON_SYNTAX, "", message)
    })
}

/// The conversation of a line as the reference reads it, or the first reason why it rejects it.
pub fn read_sample<'p>(parsed: &'p Parsed<'_>) -> Result<strict::BorrowedSample<'p>, Finding> {
    strict::read(&parsed.value)
        .map_err(|findings| findings.into_iter().next().expect("a sample is refused for at least one reason"))
}

/// An image that older servers refuse.
pub(crate) fn thin_image<B>(spec: &ModelSpec, image: &Image<B>, width: u32, height: u32) -> Option<Finding> {
    let message = || {
        format!(
            "an image of {width}x{height} has less than a pixel on one side when it is resized for the model"
        )
    };
    too_thin(spec, width, height)
        .then(|| Finding::new(&rules::IMAGE_TOO_THIN, image.pointer.clone(), message()))
}

/// The width and height of an image as the reference measures them: it auto-orients only TIFFs.
fn image_size(image: &Image<&str>, resolver: &Resolver<'_>, limits: &Limits) -> Result<(u32, u32), Finding> {
    load_header(&image.source, resolver, limits)
        .and_then(|known| known.structure().map(|_| known.header().reference_size()))
        .map_err(|error| error.finding_at(image))
}
