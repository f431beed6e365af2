//! Surveying a dataset: everything that is counted and measured in one pass over its files.
//!
//! Memory grows only by the indexes that find duplicates: 33 bytes per sample, 21 per image, 136 per distinct text and, where
//! images are measured, 96 per distinct image, besides unused table entries. The search for near-duplicate texts takes
//! another 20 per text.

mod inspect;
mod issues;
mod json;
mod near_groups;
mod near_images;
mod near_texts;
mod reread;
mod run;
mod source;

use std::collections::BTreeMap;

use pixtune_core::diagnostic::{Rule, Severity};
use pixtune_core::plan::{Dataset, SplitCounts};
use pixtune_core::quality::{ImageSurvey, Kept, Observation, TextSurvey};
use pixtune_core::rules;

use crate::image::Limits;
use crate::progress::Progress;
use crate::read::{LineIndex, LinePlace};

pub(crate) use inspect::with_sample;
pub use inspect::{InspectedImage, InspectedSample, Inspector};
pub use issues::{FIELDS, Issue, Issues, Worst};
pub use near_groups::{NearDuplicates, NearGroup};
pub use near_images::{NearImage, NearImageGroup, NearImages};
pub use near_texts::{NearText, NearTextGroup, NearTexts};
pub(crate) use reread::{reread_image, reread_sample};
pub use run::survey;
pub use source::{DataFile, FileSide, Source, SurveyError};

/// An image of a sample, or an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePlace {
    /// The line or file.
    pub line: LinePlace,
    /// Which image of the line, from 0.
    pub index: u32,
}

/// Everything that was counted and measured.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Counts of the training split.
    pub train: SplitCounts,
    /// Counts of the validation split.
    pub validation: SplitCounts,
    /// Lines of each file.
    pub lines: Vec<u64>,
    /// Indexes of the lines of each file.
    pub(crate) line_indices: Vec<LineIndex>,
    /// How large an image may be.
    pub(crate) limits: Limits,
    /// The texts of both splits.
    pub texts: TextSurvey,
    /// The images of both splits, and images without samples.
    pub images: ImageSurvey,
    /// The quality of images, where they were measured.
    pub issues: Issues,
    /// Messages per sample.
    pub messages: pixtune_core::quality::Histogram,
    /// Images per sample.
    pub images_per_sample: pixtune_core::quality::Histogram,
    /// Lines and images that cannot be used, by rule.
    pub refused: BTreeMap<&'static str, Kept>,
    /// Duplicates, conflicts and leaks.
    pub together: Together,
    /// Rows that `prepare` rejected, by rule.
    pub rejected: BTreeMap<String, Kept>,
}

/// Duplicates, conflicting labels, and samples or images in both splits.
#[derive(Debug, Clone, Default)]
pub struct Together {
    /// Distinct images: files that differ in a byte.
    pub distinct_images: u64,
    /// Near-duplicate images, where images were measured.
    pub near: NearImages,
    /// Near-duplicate texts.
    pub near_texts: NearTexts,
    /// Duplicate samples, with the place of the first.
    pub repeated: Pairs,
    /// Samples with the prompt and images of another one and a different response.
    pub contradictions: Pairs,
    /// Images in both splits.
    pub shared_images: Pairs,
    /// Samples in both splits.
    pub shared_samples: Pairs,
}

/// How many pairs there are, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// How many.
    pub count: u64,
    /// The first: earlier and later place.
    pub first: Vec<(LinePlace, LinePlace)>,
}

/// Pairs that are kept.
const KEPT_PAIRS: usize = 50;

impl Pairs {
    fn add(&mut self, earlier: LinePlace, later: LinePlace) {
        self.count += 1;
        if self.first.len() < KEPT_PAIRS {
            self.first.push((earlier, later));
        }
    }
}

/// Observes a survey while it runs: the report picks its examples from it.
pub trait SurveyObserver: Send {
    /// A sample, in order.
    fn sample(&mut self, place: LinePlace, sample: &InspectedSample);
    /// An image that belongs to no sample.
    fn image(&mut self, place: LinePlace, image: &InspectedImage);
    /// How far the survey is.
    fn progress(&mut self, progress: Progress);
}

impl Survey {
    /// Samples of both splits.
    pub fn samples(&self) -> u64 {
        self.train.samples + self.validation.samples
    }

    /// Lines and images that cannot be used.
    pub fn refused(&self) -> u64 {
        self.refused.values().map(|kept| kept.count).sum()
    }

    /// Whether there are findings with the severity error.
    pub fn has_errors(&self) -> bool {
        let is_error = |rule: &Rule| rule.severity == Severity::Error;
        self.refused.keys().any(|id| rules::find(id).is_none_or(is_error))
    }

    /// Observations about texts and images: about single responses first, about images last.
    pub fn observations(&self) -> Vec<Observation> {
        let mut all = self.texts.observations();
        all.extend(self.issues.observations());
        all
    }

    /// The dataset as a training plan needs it.
    pub fn dataset(&self, special_tokens: Option<&'static str>) -> Dataset {
        let answers = self.texts.responses.max(1) as f64;
        let top = self.texts.most_frequent_responses(1).into_iter().next();
        let doubtful = ["answer-refusal", "answer-placeholder", "answer-cut-off"];
        Dataset {
            train: self.train.clone(),
            validation: self.validation.clone(),
            refused: self.refused(),
            top_answer: top
                .filter(|_| self.texts.responses >= 20)
                .map(|(text, count)| (text.to_owned(), count as f64 / answers)),
            doubtful_answers: self
                .observations()
                .iter()
                .filter(|seen| doubtful.contains(&seen.rule.id))
                .map(|seen| seen.count)
                .sum(),
            special_tokens,
        }
    }
}
