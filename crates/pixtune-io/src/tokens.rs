//! Token counts of a JSON Lines file: each line judged as strictly as the reference does, each picture measured by its
//! header alone.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use pixtune_core::diagnostic::Finding;
use pixtune_core::json;
use pixtune_core::rules;
use pixtune_core::sample::{ImageSource, Picture};
use pixtune_core::strict;
use pixtune_core::tokens::{ChatEncoder, Counts};

use crate::image::{ImageError, Limits, inspect};
use crate::read::records::{Cut, RawRow};
use crate::write::base64;

/// What the model will see of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The counts.
    pub counts: Counts,
    /// The stored size of each picture, in the order the model sees them.
    pub sizes: Vec<(u32, u32)>,
    /// The ids, when they were asked for.
    pub ids: Option<Vec<u32>>,
}

/// Whether ids are wanted beside the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// Counts alone, which is faster.
    No,
    /// Every id.
    Yes,
}

/// Counts one line. The error is why the reference would refuse it, or why it cannot be counted.
pub fn count_line(
    encoder: &ChatEncoder<'_>,
    folder: &Path,
    row: &RawRow,
    ids: Ids,
) -> Result<Counted, Finding> {
    if row.cut == Some(Cut::TooLarge) {
        return Err(Finding::new(&rules::ROW_TOO_LARGE, "", format!("the line has {} bytes", row.length)));
    }
    let text = std::str::from_utf8(&row.bytes).map_err(|error| {
        let message = format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1);
        Finding::new(&rules::INVALID_UTF8, "", message)
    })?;
    let parsed = json::parse(text).map_err(|error| {
        let message = format!("not JSON: {} (byte {} of the line)", error.what, error.offset + 1);
        Finding::new(&rules::JSON_SYNTAX, "", message)
    })?;
    let sample = strict::read(&parsed.value).map_err(|findings| {
        findings.into_iter().next().expect("a sample is refused for at least one reason")
    })?;
    let sizes =
        sample.images.iter().map(|picture| picture_size(picture, folder)).collect::<Result<Vec<_>, _>>()?;
    match ids {
        Ids::No => {
            let counts = encoder.count(&sample, &sizes)?;
            Ok(Counted { sizes: in_order(&counts, &sizes), counts, ids: None })
        }
        Ids::Yes => {
            let encoded = encoder.encode(&sample, &sizes)?;
            Ok(Counted {
                sizes: in_order(&encoded.counts, &sizes),
                counts: encoded.counts,
                ids: Some(encoded.ids),
            })
        }
    }
}

/// Pictures move only within a turn of one picture, so their order is that of the sample.
fn in_order(counts: &Counts, sizes: &[(u32, u32)]) -> Vec<(u32, u32)> {
    debug_assert_eq!(counts.images.len(), sizes.len());
    sizes.to_vec()
}

/// Sizes are read from headers, so nothing is allocated for them: no limit is needed.
const NO_LIMITS: Limits =
    Limits { max_bytes: u64::MAX, max_side: u32::MAX, max_pixels: u64::MAX, max_decoded_bytes: u64::MAX };

/// Bytes of a file in which its size usually stands; EXIF and colour profiles can push it further.
const HEAD: usize = 48 << 10;

/// The width and height of a picture as the reference measures them: it turns none upright but TIFFs.
fn picture_size(picture: &Picture, folder: &Path) -> Result<(u32, u32), Finding> {
    let refuse = |rule, message: String| Finding::new(rule, picture.pointer.clone(), message);
    let measured = match &picture.source {
        ImageSource::Url(url) => {
            let message = format!("`{url}` is an address; a picture that is not here cannot be counted");
            return Err(refuse(&rules::IMAGE_URL, message));
        }
        ImageSource::Inline { base64: text, .. } => {
            let head = text.get(..HEAD / 3 * 4).and_then(base64::decode);
            let from_head = head.and_then(|head| inspect(&head, &NO_LIMITS).ok());
            match from_head {
                Some(header) => Ok(header),
                None => {
                    let bytes = base64::decode(text).ok_or_else(|| {
                        refuse(&rules::IMAGE_BAD_DATA_URI, "the data URI is not valid base64".to_owned())
                    })?;
                    inspect(&bytes, &NO_LIMITS)
                }
            }
        }
        ImageSource::File(path) => {
            let path = folder.join(path);
            let missing = |error: std::io::Error| {
                refuse(&rules::IMAGE_MISSING, format!("`{}` cannot be read: {error}", path.display()))
            };
            let mut bytes = Vec::new();
            let file = File::open(&path).map_err(missing)?;
            if !file.metadata().map_err(missing)?.is_file() {
                return Err(refuse(
                    &rules::IMAGE_UNREADABLE,
                    format!("`{}` is not a regular file", path.display()),
                ));
            }
            file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(missing)?;
            inspect(&bytes, &NO_LIMITS)
        }
    };
    match measured {
        Ok(header) => Ok(header.reference_size()),
        Err(error) => {
            let rule = crate::image::prepare::rule_of(&error).0;
            Err(refuse(rule, message(&error)))
        }
    }
}

const LARGEST_FILE: u64 = 256 << 20;

fn message(error: &ImageError) -> String {
    format!("the picture {error}")
}
