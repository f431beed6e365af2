//! Token counts of a JSON Lines file: each line judged as strictly as the reference does, each image measured by its
//! header alone. And the files that hold a vocabulary.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, Parsed};
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource};
use pixtune_core::spec::ModelSpec;
use pixtune_core::strict;
use pixtune_core::tokens::{ChatEncoder, Counts, Tekken, TekkenError, too_thin};

use crate::base64::{self, Payloads};
use crate::check::{HEADS, LONGEST_HEAD};
use crate::image::{ImageError, Limits, inspect};
use crate::read::records::{Cut, RawRow};

/// A vocabulary read from a file.
#[derive(Debug)]
pub struct TokenizerFile {
    /// The file.
    pub path: PathBuf,
    /// BLAKE3 of its bytes: what tells one `tekken.json` from another.
    pub blake3: String,
    /// What is in it.
    pub tekken: Tekken,
}

/// A tokenizer file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// It could not be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is larger than any vocabulary.
    #[error("`{}` is larger than {LARGEST_TOKENIZER} bytes and so is no tokenizer file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged or of an unknown kind.
    #[error("`{}`: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TekkenError,
    },
}

/// The published files have 15 to 20 MB.
const LARGEST_TOKENIZER: u64 = 128 << 20;

impl TokenizerFile {
    /// Reads a `tekken.json`.
    pub fn read(path: &Path) -> Result<TokenizerFile, TokenizerError> {
        let path = path.to_owned();
        let mut bytes = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(LARGEST_TOKENIZER + 1).read_to_end(&mut bytes));
        match read {
            Err(source) => Err(TokenizerError::Io { path, source }),
            Ok(size) if size as u64 > LARGEST_TOKENIZER => Err(TokenizerError::TooLarge { path }),
            Ok(_) => match Tekken::from_json(&bytes) {
                Ok(tekken) => {
                    Ok(TokenizerFile { path, blake3: blake3::hash(&bytes).to_hex().to_string(), tekken })
                }
                Err(source) => Err(TokenizerError::Damaged { path, source }),
            },
        }
    }
}

/// What the model will see of one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The counts.
    pub counts: Counts,
    /// What is worth knowing of a line that the reference takes.
    pub warnings: Vec<Finding>,
    /// The stored size of each image, in the order the model sees them.
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
    directory: &Path,
    row: &RawRow,
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
pub(crate) fn parse_row(row: &RawRow) -> Result<Parsed<'_>, Finding> {
    if row.cut == Some(Cut::TooLarge) {
        return Err(Finding::new(&rules::ROW_TOO_LARGE, "", format!("the line has {} bytes", row.length)));
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

/// The conversation of a line as the reference reads it, or what it stops at first.
pub(crate) fn read_sample<'p>(parsed: &'p Parsed<'_>) -> Result<strict::BorrowedSample<'p>, Finding> {
    strict::read(&parsed.value)
        .map_err(|findings| findings.into_iter().next().expect("a sample is refused for at least one reason"))
}

/// A string holds half of a pair of UTF-16, which the reference takes and reads as U+FFFD.
pub(crate) fn lone_surrogate(offset: usize) -> Finding {
    let message = format!("half of a surrogate pair becomes U+FFFD (byte {} of the line)", offset + 1);
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
