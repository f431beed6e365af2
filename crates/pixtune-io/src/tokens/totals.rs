//! Sums over all rows of all files.

use std::collections::BTreeMap;

use pixtune_core::diagnostic::Finding;
use pixtune_core::quality::Histogram;

use super::Counted;

/// What was counted in total.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Rows that are not blank.
    pub samples: u64,
    /// Samples that the reference refuses.
    pub refused: u64,
    /// Tokens of images.
    pub image_tokens: u64,
    /// Tokens that count in the loss.
    pub trained_tokens: u64,
    /// Images.
    pub images: u64,
    /// Tokens per sample.
    pub lengths: Histogram,
    /// The tokens of the longest sample, and its line.
    pub longest: (u64, u64),
    /// Refused samples by rule.
    pub refused_by_rule: BTreeMap<&'static str, u64>,
}

impl Totals {
    pub(super) fn add(&mut self, line: u64, counted: &Result<Counted, Finding>) {
        self.samples += 1;
        let counts = match counted {
            Ok(counted) => &counted.counts,
            Err(finding) => {
                self.refused += 1;
                *self.refused_by_rule.entry(finding.rule.id).or_default() += 1;
                return;
            }
        };
        let tokens = counts.tokens as u64;
        self.image_tokens += counts.image_tokens as u64;
        self.trained_tokens += counts.trained_tokens as u64;
        self.images += counts.images.len() as u64;
        self.longest = self.longest.max((tokens, line));
        self.lengths.add(tokens);
    }
}
