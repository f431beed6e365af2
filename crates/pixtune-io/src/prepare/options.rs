//! Everything a user can choose.

use std::path::PathBuf;

use pixtune_core::columns::{Answers, ColumnChoice, ImagePosition};
use pixtune_core::curate::{By, Dedup, Split};
use pixtune_core::diagnostic::Rule;
use pixtune_core::spec::ModelSpec;
use pixtune_core::target::Target;

use crate::fetch::FetchOptions;
use crate::image::fit::Resampling;
use crate::read::TextChoice;
use crate::verify::Verify;

/// What becomes of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Images {
    /// Fitted to the model and the target: auto-oriented, opaque, no larger than the model sees.
    #[default]
    Fit,
    /// Embedded as they are.
    Keep,
}

/// How many rejected rows end the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxReject {
    /// More than this number.
    Rows(u64),
    /// More than this share, judged at the end.
    Share(f64),
}

impl std::str::FromStr for MaxReject {
    type Err = String;

    fn from_str(text: &str) -> Result<MaxReject, String> {
        let wrong = || format!("`{text}` is neither a number of rows (`10`) nor a share (`5%`)");
        match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse::<f64>() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(MaxReject::Share(percent / 100.0)),
                _ => Err(wrong()),
            },
            None => text.parse().map(MaxReject::Rows).map_err(|_| wrong()),
        }
    }
}

impl std::fmt::Display for MaxReject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MaxReject::Rows(rows) => write!(f, "{rows}"),
            MaxReject::Share(share) => write!(f, "{}%", share * 100.0),
        }
    }
}

/// Everything that a user can choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files, patterns, directories, `-`.
    pub inputs: Vec<String>,
    /// The directory to make.
    pub out: PathBuf,
    /// Columns that were named.
    pub columns: ColumnChoice,
    /// Where relative paths of images start, if not in the directory of each file.
    pub image_folder: Option<PathBuf>,
    /// How images at URLs are fetched; without it they stay URLs.
    pub fetch: Option<FetchOptions>,
    /// Another vocabulary to count with than the built-in one.
    pub tokenizer: Option<PathBuf>,
    /// What becomes of each row.
    pub scan: ScanOptions,
    /// The validation split.
    pub split: Split,
    /// Whether the test split of the dataset is written too.
    pub write_test: bool,
    /// Which duplicates are rejected.
    pub dedup: Dedup,
    /// What makes a duplicate.
    pub by: By,
    /// Bits in which the hashes of images may differ that are compared as near-duplicates.
    pub distance: u32,
    /// Threads to work on.
    pub threads: usize,
    /// How many rejected rows end the run.
    pub max_reject: Option<MaxReject>,
    /// Continue an unfinished run.
    pub resume: bool,
    /// Replace the output of an earlier run.
    pub force: bool,
    /// Bytes of memory for the decisions over all rows; what exceeds it is sorted on disk. The result does not depend on it.
    pub memory: usize,
    /// Bytes kept of one row.
    pub max_row_bytes: usize,
    /// What is known of the text of the inputs.
    pub text: TextChoice,
}

/// What becomes of a row, whichever file it comes from.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// The longest side the model sees, and the grid on which a downscaled image lands.
    pub model: &'static ModelSpec,
    /// Whose format and limits apply.
    pub target: Target,
    /// What becomes of images.
    pub images: Images,
    /// Where images go that the prompt does not place.
    pub image_position: ImagePosition,
    /// Which of several reference answers is trained.
    pub answers: Answers,
    /// How images are downscaled.
    pub resampling: Resampling,
    /// How images that pass through unchanged are verified.
    pub verify: Verify,
    /// Quality of re-encoded JPEGs, 1 to 100.
    pub jpeg_quality: u8,
    /// Whether the pixels of decoded images are measured.
    pub measure: bool,
    /// Samples with more tokens are rejected.
    pub max_tokens: Option<u32>,
    /// Rules whose warnings reject the row.
    pub drop: Vec<&'static Rule>,
    /// Rules whose warnings are not reported.
    pub ignore: Vec<&'static Rule>,
    /// Bytes of the largest image file that is read.
    pub max_image_bytes: u64,
    /// Pixels of the longest side of an image that is decoded.
    pub max_image_side: u32,
    /// Bytes of the largest image once decoded.
    pub max_decoded_bytes: u64,
}
