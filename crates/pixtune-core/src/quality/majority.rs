//! The formats of the responses of a dataset, and the one that nearly all have.

use super::ResponseFormat;

/// Counts per format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Formats {
    counts: [u64; ResponseFormat::ALL.len()],
}

/// The format of nearly all responses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Majority {
    /// The majority format.
    pub format: ResponseFormat,
    /// The share of responses with this format or a similar one.
    pub share: f64,
}

/// Minimum responses for a majority.
const LEAST: u64 = 20;
/// Minimum share of a majority.
const NEARLY_ALL: f64 = 0.9;

impl Formats {
    /// Counts an response.
    pub fn add(&mut self, format: ResponseFormat) {
        self.counts[format as usize] += 1;
    }

    /// The number of responses with this format.
    pub fn count(&self, format: ResponseFormat) -> u64 {
        self.counts[format as usize]
    }

    /// The number of responses.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The format of at least nine in ten of twenty or more responses.
    pub fn majority(&self) -> Option<Majority> {
        let format = ResponseFormat::ALL.into_iter().rev().max_by_key(|format| self.count(*format))?;
        let total = self.total();
        let kept: u64 = ResponseFormat::ALL
            .into_iter()
            .filter(|other| format.admits(*other))
            .map(|other| self.count(other))
            .sum();
        let share = kept as f64 / total.max(1) as f64;
        let is_form = !matches!(format, ResponseFormat::Empty | ResponseFormat::BrokenJson);
        (is_form && total >= LEAST && share >= NEARLY_ALL).then_some(Majority { format, share })
    }
}

impl Majority {
    /// Whether an response of this format deviates from the majority. ResponseFormat::Empty responses have their own rule.
    pub fn is_broken_by(&self, format: ResponseFormat) -> bool {
        format != ResponseFormat::Empty && !self.format.admits(format)
    }
}

#[cfg(test)]
mod tests {
    use super::ResponseFormat::{BrokenJson, Empty, JsonObject, Number, Sentence, Text, Word};
    use super::*;

    #[test]
    fn nine_in_ten_are_a_majority() {
        let mut formats = Formats::default();
        (0..18).for_each(|_| formats.add(JsonObject));
        assert_eq!(formats.majority(), None, "too few");
        formats.add(JsonObject);
        formats.add(Text);
        let majority = formats.majority().unwrap();
        assert_eq!((majority.format, majority.share), (JsonObject, 0.95));
        assert!(majority.is_broken_by(Text) && majority.is_broken_by(BrokenJson));
        assert!(!majority.is_broken_by(JsonObject) && !majority.is_broken_by(Empty));
        (0..3).for_each(|_| formats.add(Word));
        assert_eq!(formats.majority(), None, "too mixed");
    }

    #[test]
    fn similar_formats_count_together() {
        let mut formats = Formats::default();
        (0..12).for_each(|_| formats.add(Sentence));
        (0..8).for_each(|_| formats.add(Text));
        let majority = formats.majority().unwrap();
        assert_eq!(majority.share, 1.0);
        assert!(majority.is_broken_by(Number));
    }
}
