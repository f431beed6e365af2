//! The split into training and validation: by hash, so that it is stable, and by component, so that it does not leak.

mod assign;
mod fill;
#[cfg(test)]
mod tests;

use super::{ImageRecord, Record};
use crate::split::GivenSplit;
pub use assign::Unmet;
pub(super) use assign::{Links, assign};

/// The kind of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SplitKind {
    /// Random by row; rows with the same image or similar text stay together.
    #[default]
    Random,
    /// Rows of one group stay together.
    Group,
    /// Every stratum has the same share in the validation split.
    Stratify,
    /// As `Stratify`, by the kind of the answer, the number of images and the length in tokens.
    Auto,
}

impl SplitKind {
    fn has_strata(self) -> bool {
        matches!(self, SplitKind::Stratify | SplitKind::Auto)
    }

    fn stratum(self, row: &Record) -> u64 {
        match self {
            SplitKind::Random | SplitKind::Group => 0,
            SplitKind::Stratify => row.stratum,
            // Lengths are grouped by powers of two, image counts up to four.
            SplitKind::Auto => {
                let length = u64::from(32 - row.tokens.leading_zeros());
                1 + (u64::from(row.answer_kind) << 16 | u64::from(row.images.min(4)) << 8 | length)
            }
        }
    }
}

/// The size of the validation split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Validation {
    /// About this share of the rows, each decided by its own hash: adding rows moves no other row.
    Fraction(f64),
    /// This many rows, those with the smallest hashes.
    Count(u64),
    /// As many rows as fit into this many bytes, but at most a fifth of them.
    Bytes(u64),
}

/// The text is not a share, a count or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a share (`0.1`, `10%`), a number of rows (`500`) or a size (`1MB`)")]
pub struct ValidationError {
    text: String,
}

impl std::str::FromStr for Validation {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Validation, ValidationError> {
        let wrong = || ValidationError { text: text.to_owned() };
        let share =
            |share: f64| (0.0..1.0).contains(&share).then_some(Validation::Fraction(share)).ok_or_else(wrong);
        if let Ok(count) = text.parse() {
            return Ok(Validation::Count(count));
        }
        if let Some(percent) = text.strip_suffix('%') {
            return share(percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0);
        }
        match parse_size(text) {
            Some(bytes) => Ok(Validation::Bytes(bytes)),
            None => share(text.parse().map_err(|_| wrong())?),
        }
    }
}

impl std::fmt::Display for Validation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Validation::Fraction(share) => write!(f, "{share}"),
            Validation::Count(count) => write!(f, "{count}"),
            Validation::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

/// A size with a unit: `B`, decimal `kB MB GB` or binary `KiB MiB GiB`, in any case.
pub fn parse_size(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..unit_at].trim().parse().ok().filter(|number| *number >= 0.0)?;
    let unit: u64 = match text[unit_at..].to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "tb" | "t" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    Some((number * unit as f64) as u64)
}

/// The parameters of a split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// The kind.
    pub kind: SplitKind,
    /// The size of the validation split.
    pub validation: Validation,
    /// Another seed selects other rows.
    pub seed: u64,
    /// Whether rows stay in the split that the dataset puts them in.
    pub keeps_given: bool,
}

impl Default for Split {
    fn default() -> Split {
        Split { kind: SplitKind::Random, validation: Validation::Fraction(0.1), seed: 0, keeps_given: true }
    }
}

/// A subset of the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subset {
    /// Trained on.
    Train,
    /// Validated with.
    Validation,
    /// The dataset's test split.
    Test,
}

impl Split {
    /// The split of a row if no other row changes it: right for nearly all rows of a split by share, so that lines can be
    /// written to their file before all rows are known.
    pub fn likely_subset(&self, row: &Record, images: &[ImageRecord]) -> Subset {
        match row.given.filter(|_| self.keeps_given) {
            Some(GivenSplit::Validation) => return Subset::Validation,
            Some(GivenSplit::Test) => return Subset::Test,
            Some(GivenSplit::Train) | None => {}
        }
        match self.validation {
            Validation::Fraction(share)
                if !self.kind.has_strata() && self.key(row, images) < threshold(share) =>
            {
                Subset::Validation
            }
            _ => Subset::Train,
        }
    }

    /// The key of a row in the order of the split: the hash of its group, else of its first image, else of its text.
    fn key(&self, row: &Record, images: &[ImageRecord]) -> u64 {
        let content = match images.first() {
            _ if self.kind == SplitKind::Group && row.group != 0 => u128::from(row.group),
            Some(image) => image.content,
            None => row.text,
        };
        twox_hash::XxHash3_64::oneshot_with_seed(self.seed, &content.to_le_bytes())
    }
}

/// A `share` of all hashes is below this.
fn threshold(share: f64) -> u64 {
    (share * 2f64.powi(64)) as u64
}
