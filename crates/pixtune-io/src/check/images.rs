//! Images of a finished conversation: is there one, can it be read, will servers take it, will the model see it as
//! people do.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use pixtune_core::curate::content_hash;
use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource};
use pixtune_core::tokens::too_thin;

use super::Checker;
use crate::base64::{self, Payloads};
use crate::image::measure::{self, Measure};
use crate::image::prepare::rule_of;
use crate::image::{
    Format, Header, ImageError, Limits, Orientation, Reading, Rgb, check_structure, decode, inspect, orient,
    reaches_scan, sniff,
};
use crate::verify::Verify;

/// What is known about an image after a look at it.
pub(super) struct Looked {
    /// Stored width and height, if it has been found out.
    pub(super) size: Option<(u32, u32)>,
    /// Of its bytes as they are written.
    pub(super) hash: u128,
    /// What it shows, where that is to be compared.
    pub(super) measure: Option<Measure>,
}

impl Looked {
    pub(super) fn at_its_header(size: Option<(u32, u32)>, hash: u128) -> Looked {
        Looked { size, hash, measure: None }
    }
}

/// What a look at all bytes of an image tells.
#[derive(Default)]
pub(super) struct Whole {
    pub(super) size: Option<(u32, u32)>,
    pub(super) measure: Option<Measure>,
}

/// Characters of base64 that are decoded to read a header, first 768 bytes of the file, then 3 KiB and then 48: EXIF and
/// color profiles push the size back. Beyond, all of it is decoded.
pub(crate) const HEADS: [usize; 3] = [1 << 10, 4 << 10, LONGEST_HEAD];

pub(crate) const LONGEST_HEAD: usize = 64 << 10;

/// Characters of base64 that hold the end of a file.
const TAIL: usize = 64;

/// Larger image files are not read.
const LARGEST_FILE: u64 = 256 << 20;

/// A header allocates nothing, so it is read whatever it declares, and judged then.
const NO_LIMITS: Limits =
    Limits { max_bytes: u64::MAX, max_side: u32::MAX, max_pixels: u64::MAX, max_decoded_bytes: u64::MAX };

impl Checker<'_> {
    pub(super) fn look(
        &self,
        image: &Image<&str>,
        payloads: &Payloads<'_>,
        directory: &Path,
        findings: &mut Vec<Finding>,
    ) -> Looked {
        let mut found = Vec::new();
        let looked = match &image.source {
            ImageSource::Url(url) => self.url(url, &mut found),
            ImageSource::Inline { mime, base64 } => {
                self.inline(mime, base64, payloads.strict_length(base64), &mut found)
            }
            ImageSource::File(path) => self.file(&directory.join(path), &mut found),
        };
        findings
            .extend(found.into_iter().map(|finding| Finding { pointer: image.pointer.clone(), ..finding }));
        looked
    }

    /// Looks at a payload of a data URI that decodes to `length` bytes, if it is base64 without any liberty.
    fn inline(&self, mime: &str, text: &str, length: Option<usize>, found: &mut Vec<Finding>) -> Looked {
        let hash = content_hash(text.as_bytes());
        let bytes = match length {
            Some(length) => {
                if self.verify == Verify::Header
                    && text.len() > LONGEST_HEAD
                    && let Some(header) = whole_by_its_ends(text, length)
                {
                    self.judge_header(&header, length, mime, found);
                    return Looked::at_its_header(Some((header.width, header.height)), hash);
                }
                base64::decode(text)
            }
            None => {
                let bytes = base64::decode(text);
                if bytes.is_some() {
                    let message =
                        "the base64 holds line breaks, spaces or other characters that are not its own";
                    found.push(
                        Finding::new(&rules::IMAGE_LOOSE_BASE64, "", message)
                            .hint("encode the image anew, in one run of letters"),
                    );
                }
                bytes
            }
        };
        match bytes {
            Some(bytes) => self.whole(&bytes, mime, found).with(hash),
            None => {
                let message = "the base64 is damaged: its length or its padding is wrong";
                found.push(Finding::new(&rules::IMAGE_BAD_DATA_URI, "", message));
                Looked::at_its_header(None, hash)
            }
        }
    }

    fn file(&self, path: &Path, found: &mut Vec<Finding>) -> Looked {
        match read(path) {
            Ok(bytes) => {
                let hash = content_hash(&bytes);
                self.whole(&bytes, "", found).with(hash)
            }
            Err(finding) => {
                found.push(finding);
                Looked::at_its_header(None, content_hash(path.as_os_str().as_encoded_bytes()))
            }
        }
    }

    /// Looks at an image of which every byte is there.
    pub(super) fn whole(&self, bytes: &[u8], mime: &str, found: &mut Vec<Finding>) -> Whole {
        let header = match inspect(bytes, &NO_LIMITS) {
            Ok(header) => header,
            Err(error) => {
                found.push(refusal(&error));
                return Whole::default();
            }
        };
        let within = self.judge_header(&header, bytes.len(), mime, found);
        let checked = match self.verify {
            Verify::Full if within => {
                let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
                let decoded = decode(bytes, &header, &limits, Reading::Reference);
                decoded.map(|decoded| self.measure.then(|| measured(decoded.rgb, &header)))
            }
            _ => check_structure(bytes).map(|()| None),
        };
        let size = Some((header.width, header.height));
        match checked {
            Ok(measure) => Whole { size, measure },
            Err(error) => {
                // Animations are judged by their header.
                if !matches!(error, ImageError::Animated { .. }) {
                    found.push(refusal(&error));
                }
                Whole { size, measure: None }
            }
        }
    }

    /// What a header tells; false when the image is too large to be decoded.
    fn judge_header(&self, header: &Header, bytes: usize, mime: &str, found: &mut Vec<Finding>) -> bool {
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
            let message = format!("declared `{}`, but the bytes are `{}`", start(declared), format.mime());
            report(&rules::IMAGE_MIME_MISMATCH, message, None);
        }
        if !target.formats.contains(&format) {
            let message = format!("the image is a {format}, which `{}` does not take", target.id);
            report(&rules::IMAGE_UNSUPPORTED, message, Some("convert it to PNG or JPEG"));
        }
        if header.is_animated() {
            let message = format!("the image is an animation of {} frames", header.frames);
            report(&rules::IMAGE_ANIMATED, message, Some("export the frame that is meant as a still image"));
        } else if header.frames > 1 {
            let message = format!("the image has {} pages; the first is taken", header.frames);
            report(&rules::IMAGE_PAGES, message, None);
        }
        if bytes as u64 > target.max_image_bytes {
            let message = format!("the image has {bytes} bytes; the limit is {}", target.max_image_bytes);
            report(&rules::IMAGE_TOO_LARGE, message, Some("`--max-image-bytes` sets another limit"));
        }
        let side = width.max(height);
        if side > target.max_side {
            let message =
                format!("the image is {width}x{height} pixels; the limit for a side is {}", target.max_side);
            report(&rules::IMAGE_TOO_LARGE, message, Some("shrink it: the model sees far fewer pixels"));
        }
        if too_thin(self.encoder.spec, width, height) {
            let message = format!(
                "an image of {width}x{height} shrinks to nothing on one side before it is cut into patches"
            );
            report(&rules::IMAGE_TOO_THIN, message, None);
        }
        // A TIFF is turned by the library that loads it.
        if header.orientation != Orientation::UPRIGHT && format != Format::Tiff {
            let message = "the image has an EXIF rotation that the model's preprocessing ignores";
            report(&rules::IMAGE_SIDEWAYS, message.into(), Some("turn its pixels and drop the EXIF tag"));
        }
        if header.alpha {
            let message = "the image may have transparent places";
            report(&rules::IMAGE_ALPHA, message.into(), Some("put it on the background that is meant"));
        }
        side <= Limits::default().max_side
    }
}

impl Whole {
    fn with(self, hash: u128) -> Looked {
        Looked { size: self.size, hash, measure: self.measure }
    }
}

/// What an image shows once it is turned upright. Every format is measured as RGB, so that the same pixels are the same
/// in all of them.
fn measured(rgb: Rgb, header: &Header) -> Measure {
    let Rgb { width, height, pixels } = rgb;
    // A TIFF is turned by the library that loads it.
    let turn = if header.format == Format::Tiff { Orientation::UPRIGHT } else { header.orientation };
    let pixels = orient(pixels, width, height, 3, turn);
    let (width, height) = if turn.swaps_sides() { (height, width) } else { (width, height) };
    measure::rgb(&Rgb { width, height, pixels })
}

/// The header of an image whose beginning can be read and whose end is where it should be. `None` calls for a look
/// at all of it.
fn whole_by_its_ends(text: &str, length: usize) -> Option<Header> {
    let tail = base64::decode(text.get(text.len() - TAIL..)?)?;
    HEADS.iter().find_map(|head| {
        let head = base64::decode(text.get(..*head)?)?;
        ends_well(&head, &tail, length).then(|| inspect(&head, &NO_LIMITS).ok()).flatten()
    })
}

/// Whether a file ends as its format asks; never where frames and pages are found only by a walk through all of it.
fn ends_well(head: &[u8], tail: &[u8], length: usize) -> bool {
    match sniff(head) {
        // An orientation, a color key or an animation stand before the pixels.
        Ok(Format::Jpeg) => tail.ends_with(b"\xff\xd9") && reaches_scan(head),
        Ok(Format::Png) => {
            tail.ends_with(b"IEND\xae\x42\x60\x82") && memchr::memmem::find(head, b"IDAT").is_some()
        }
        Ok(Format::WebP) => {
            let declared = head.get(4..8).and_then(|size| size.try_into().ok()).map(u32::from_le_bytes);
            head.get(12..16).is_some_and(|chunk| chunk != b"VP8X")
                && declared.is_some_and(|declared| declared as usize + 8 <= length)
        }
        _ => false,
    }
}

fn refusal(error: &ImageError) -> Finding {
    let (rule, hint) = rule_of(error);
    let finding = Finding::new(rule, "", format!("the image {error}"));
    match hint {
        Some(hint) if rule != &rules::IMAGE_TOO_LARGE => finding.hint(hint),
        _ => finding,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Finding> {
    let missing = |error: std::io::Error| {
        let message = format!("`{}` cannot be read: {error}", path.display());
        Finding::new(&rules::IMAGE_MISSING, "", message)
    };
    if !path.metadata().map_err(missing)?.is_file() {
        let message = format!("`{}` is not a regular file", path.display());
        return Err(Finding::new(&rules::IMAGE_UNREADABLE, "", message));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(missing)?.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(missing)?;
    Ok(bytes)
}

pub(super) fn start(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
