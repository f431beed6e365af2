//! Everything a user can choose.

use std::path::PathBuf;

use pixtune_core::columns::{ColumnChoice, ImagePosition};
use pixtune_core::curate::{By, Dedup, Split};
use pixtune_core::diagnostic::Rule;
use pixtune_core::target::Target;

use crate::image::prepare::Resampling;

/// What becomes of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Images {
    /// Made to fit the model and the target: upright, opaque, no larger than the model sees.
    #[default]
    Fit,
    /// Embedded as they are.
    Keep,
}

/// How far an image is read that passes through unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// It is decoded to the last pixel.
    #[default]
    Full,
    /// Its structure is walked through.
    Header,
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

/// Everything a user can choose.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files, patterns, directories, `-`.
    pub inputs: Vec<String>,
    /// The directory to make.
    pub out: PathBuf,
    /// The longest side the model sees and the grid a shrunk image lands on.
    pub model: &'static pixtune_core::spec::ModelSpec,
    /// Whose format and limits hold.
    pub target: Target,
    /// Columns that were named.
    pub columns: ColumnChoice,
    /// Where relative paths of images start; the directory of each file without it.
    pub image_folder: Option<PathBuf>,
    /// What becomes of images.
    pub images: Images,
    /// Where images stand that the prompt does not place.
    pub image_position: ImagePosition,
    /// How an image is made smaller.
    pub resampling: Resampling,
    /// How far images are read that pass through.
    pub verify: Verify,
    /// Quality of JPEGs that are written anew, 1 to 100.
    pub jpeg_quality: u8,
    /// Whether images that are decoded are measured.
    pub measure: bool,
    /// Another vocabulary to count with than the built-in one.
    pub tokenizer: Option<PathBuf>,
    /// Samples longer than this are rejected.
    pub max_tokens: Option<u32>,
    /// What is held out.
    pub split: Split,
    /// Which duplicates are rejected.
    pub dedup: Dedup,
    /// What makes a duplicate.
    pub by: By,
    /// Bits in which the hashes of images may differ that are compared as near duplicates.
    pub distance: u32,
    /// Rules whose warnings reject the row.
    pub drop: Vec<&'static Rule>,
    /// Rules whose warnings are not told.
    pub ignore: Vec<&'static Rule>,
    /// Threads to work on.
    pub threads: usize,
    /// When to give up.
    pub max_reject: Option<MaxReject>,
    /// Go on with an unfinished run.
    pub resume: bool,
    /// Replace what an earlier run made.
    pub force: bool,
    /// Bytes kept of one row.
    pub max_row_bytes: usize,
    /// Bytes of an image file that is read.
    pub max_image_bytes: u64,
    /// Pixels of a side.
    pub max_image_side: u32,
    /// Bytes of a decoded image.
    pub max_decoded_bytes: u64,
}
