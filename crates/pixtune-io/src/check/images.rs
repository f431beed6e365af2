//! Images of a finished conversation: can each be loaded, does the target accept it, does the model see it as people do.

use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource};
use pixtune_core::text::counted;
use pixtune_core::tokens::too_thin;

use super::{Checker, ImagesFrom};
use crate::image::measure::{self, Measure};
use crate::image::{
    Format, Header, ImageError, Inspected, Loaded, Orientation, Reading, Resolver, Rgb, Structure, decode,
    load, load_header, name, orient, share, shorten, source_hash,
};
use crate::verify::Verify;

/// What is known about an image once it was judged.
pub(super) struct Looked {
    /// Stored width and height, if its header could be read.
    pub(super) size: Option<(u32, u32)>,
    /// A hash of it as it is written.
    pub(super) hash: u128,
    /// What it shows, where that is to be compared.
    pub(super) measure: Option<Measure>,
}

/// The finding about an image that is not in its sample, where it has to be.
fn outside(source: &ImageSource<&str>) -> Finding {
    let message = format!("{} is not a data URI", name(source));
    Finding::new(&rules::IMAGE_BAD_DATA_URI, "", message)
        .hint("files and URLs are not read here: embed the image with `pixtune fix` before the upload")
}

impl Checker<'_> {
    pub(super) fn look(
        &self,
        image: &Image<&str>,
        resolver: &Resolver<'_>,
        findings: &mut Vec<Finding>,
    ) -> Looked {
        let mut found = Vec::new();
        if self.images_from == ImagesFrom::Sample && !matches!(image.source, ImageSource::Inline { .. }) {
            findings.push(Finding { pointer: image.pointer.clone(), ..outside(&image.source) });
            return Looked { size: None, hash: source_hash(&image.source, None), measure: None };
        }
        let looked = match (&image.source, &self.fetching) {
            (ImageSource::Url(url), Some(fetching)) => self.fetched(fetching, url, resolver, &mut found),
            (source, _) => self.judge_image(source, self.load_image(source, resolver), resolver, &mut found),
        };
        findings
            .extend(found.into_iter().map(|finding| Finding { pointer: image.pointer.clone(), ..finding }));
        looked
    }

    /// Loads as much of an image as is to be verified.
    pub(super) fn load_image(
        &self,
        source: &ImageSource<&str>,
        resolver: &Resolver<'_>,
    ) -> Result<Inspected, ImageError> {
        match self.verify {
            Verify::Header => load_header(source, resolver, &self.limits),
            Verify::Full => load(source, resolver, &self.limits).map(Inspected::InFull),
        }
    }

    /// Reports findings of a load result.
    pub(super) fn judge_image(
        &self,
        source: &ImageSource<&str>,
        known: Result<Inspected, ImageError>,
        resolver: &Resolver<'_>,
        found: &mut Vec<Finding>,
    ) -> Looked {
        let mime = match source {
            ImageSource::Inline { mime, base64 } => {
                if !resolver.is_strict(base64) && !matches!(known, Err(ImageError::BadBase64)) {
                    found.push(loose_base64());
                }
                mime
            }
            _ => "",
        };
        let known = match known {
            Ok(known) => known,
            Err(error) => {
                found.push(error.finding(&name(source), ""));
                return Looked { size: None, hash: source_hash(source, None), measure: None };
            }
        };
        self.judge_header(&known, mime, found);
        let structure = known.structure().map(|structure| judge_structure(structure, known.length(), found));
        let measure = structure.and_then(|()| self.verify_pixels(&known)).unwrap_or_else(|error| {
            found.push(error.finding(&name(source), ""));
            None
        });
        if known.header().alpha && self.is_transparent(source, &known, resolver) {
            let message = "the image has transparent pixels";
            let hint = "flatten it onto the intended background";
            found.push(Finding::new(&rules::IMAGE_ALPHA, "", message).hint(hint));
        }
        let Header { width, height, .. } = *known.header();
        Looked { size: Some((width, height)), hash: source_hash(source, known.loaded()), measure }
    }

    /// Decodes an image where that is asked for, and measures it where it is to be compared.
    fn verify_pixels(&self, known: &Inspected) -> Result<Option<Measure>, ImageError> {
        let (Verify::Full, Some(Loaded { bytes, header })) = (self.verify, known.loaded()) else {
            return Ok(None);
        };
        let _share = share(bytes, header);
        let decoded = decode(bytes, header, &self.limits, Reading::Reference)?;
        Ok(self.measure.then(|| measured(decoded.rgb, header)))
    }

    /// Whether an image with an alpha channel has a pixel that is not opaque. Most such images have none, so their pixels are
    /// decoded even where headers are enough for everything else.
    fn is_transparent(&self, source: &ImageSource<&str>, known: &Inspected, resolver: &Resolver<'_>) -> bool {
        let opaque = |Loaded { bytes, header }: &Loaded| {
            let _share = share(bytes, header);
            decode(bytes, header, &self.limits, Reading::Corrected).map(|decoded| decoded.opaque)
        };
        let opaque = match known.loaded() {
            Some(image) => opaque(image),
            None => load(source, resolver, &self.limits).and_then(|image| opaque(&image)),
        };
        // Damaged pixels are what `--verify full` looks for.
        !opaque.unwrap_or(true)
    }

    /// Findings of a header against the target and the model.
    fn judge_header(&self, known: &Inspected, mime: &str, found: &mut Vec<Finding>) {
        let (header, bytes) = (known.header(), known.length());
        let Header { format, width, height, .. } = *header;
        let target = &self.target;
        let mut report = |rule, message: String, hint: Option<&str>| {
            let finding = Finding::new(rule, "", message);
            found.push(match hint {
                Some(hint) => finding.hint(hint),
                None => finding,
            });
        };
        let declared = mime.split(';').next().unwrap_or_default();
        if !declared.is_empty() && declared != format.mime() && declared != "image/jpg" {
            let message = format!("declared `{}`, but the bytes are `{}`", shorten(declared), format.mime());
            report(&rules::IMAGE_MIME_MISMATCH, message, None);
        }
        if !target.formats.contains(&format) {
            let message = format!("the image is a {format}, which `{}` does not support", target.id);
            report(&rules::IMAGE_UNSUPPORTED, message, Some("convert it to PNG or JPEG"));
        }
        if header.is_animated() {
            let message = format!("the image is an animation of {} frames", header.frames);
            report(&rules::IMAGE_ANIMATED, message, Some("export the frame that is meant as a still image"));
        } else if header.frames > 1 {
            let message =
                format!("the image has {}; the first is used", counted(u64::from(header.frames), "page"));
            report(&rules::IMAGE_PAGES, message, None);
        }
        if bytes > target.max_image_bytes {
            let message = format!("the image has {bytes} bytes; the limit is {}", target.max_image_bytes);
            report(&rules::IMAGE_TOO_LARGE, message, Some("`--max-image-bytes` sets another limit"));
        }
        if too_thin(self.encoder.spec, width, height) {
            let message = format!(
                "an image of {width}x{height} has less than a pixel on one side when it is resized for the model"
            );
            report(&rules::IMAGE_TOO_THIN, message, None);
        }
        // The library that loads a TIFF rotates it.
        if header.orientation != Orientation::UPRIGHT && format != Format::Tiff {
            let message = "the image has an EXIF rotation that the model's preprocessing ignores";
            report(&rules::IMAGE_SIDEWAYS, message.into(), Some("rotate its pixels and remove the EXIF tag"));
        }
    }
}

/// What the blocks of a file show that the reference accepts.
fn judge_structure(structure: Option<Structure>, length: u64, found: &mut Vec<Finding>) {
    let Some(Structure { end, doubtful, .. }) = structure else { return };
    if let Some(why) = doubtful {
        let message = format!("loaders that auto-orient images refuse this one: {why}");
        found.push(
            Finding::new(&rules::IMAGE_STRUCTURE, "", message).hint("remove the metadata of the image"),
        );
    }
    let trailing = length.saturating_sub(end as u64);
    if trailing > 0 {
        let message = format!("{} behind the end of the image", counted(trailing, "byte"));
        let hint = "it may be cut from a longer file, or hold a second image or a video";
        found.push(Finding::new(&rules::IMAGE_STRUCTURE, "", message).hint(hint));
    }
}

fn loose_base64() -> Finding {
    let message = "the base64 holds line breaks, spaces or other characters outside its alphabet";
    Finding::new(&rules::IMAGE_LOOSE_BASE64, "", message)
        .hint("encode the image again, as one run of letters")
}

/// Measurements of the auto-oriented image. Every format is measured as RGB, so that the same pixels are the same
/// in all of them.
fn measured(rgb: Rgb, header: &Header) -> Measure {
    let Rgb { width, height, pixels } = rgb;
    // The library that loads a TIFF rotates it.
    let turn = if header.format == Format::Tiff { Orientation::UPRIGHT } else { header.orientation };
    let pixels = orient(pixels, width, height, 3, turn);
    let (width, height) = if turn.swaps_sides() { (height, width) } else { (width, height) };
    measure::rgb(&Rgb { width, height, pixels })
}
