//! Surveying a set: everything that is counted and measured in one pass over its files.
//!
//! Memory does not grow with the set but for what tells that something was there before: 33 bytes a sample and 21 a
//! image, 136 for each different text, and, where images are measured, 96 for each different one, with the room that
//! tables keep. The search for near texts takes 20 for each text once more.

mod again;
mod alike;
mod issues;
mod json;
mod look;
mod near;
mod run;
mod source;
mod texts;

use std::collections::BTreeMap;

use pixtune_core::diagnostic::{Rule, Severity};
use pixtune_core::plan::{Dataset, SplitCounts};
use pixtune_core::quality::{ImageSurvey, Kept, Observation, TextSurvey};
use pixtune_core::rules;

use crate::prepare::Progress;

pub(crate) use again::{LineIndex, image_again, sample_again};
pub use alike::{Alike, AlikeGroup};
pub use issues::{FIELDS, Issue, Issues, Worst};
pub use look::{ImageLook, Look, Looker, SampleLook};
pub(crate) use look::{LIMITS, file_bytes, image_bytes, with_sample};
pub use near::{NearGroup, NearImage, NearImages};
pub use run::survey;
pub use source::{DataFile, FileSide, Manifest, Source, SurveyError};
pub use texts::{NearText, NearTextGroup, NearTexts};

/// A line may have this many bytes: two hundred images of a megabyte.
pub(crate) const MAX_LINE: usize = 512 << 20;

/// Where a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinePlace {
    /// The number of the file in [`Source::files`], or of the image in [`Source::images`].
    pub file: u32,
    /// The line, from 1; of an image file 1.
    pub line: u64,
}

/// An image of a sample, or an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePlace {
    /// The line or file.
    pub line: LinePlace,
    /// Which image of the line, from 0.
    pub index: u32,
}

/// Everything that was found out.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Both sides of the split, counted.
    pub train: SplitCounts,
    /// What is held out.
    pub validation: SplitCounts,
    /// Lines of each file.
    pub lines: Vec<u64>,
    /// Where the lines of each file are.
    pub(crate) line_indices: Vec<LineIndex>,
    /// The texts of both sides.
    pub texts: TextSurvey,
    /// The images of both sides, and those that belong to no sample.
    pub images: ImageSurvey,
    /// How good they are, where they were measured.
    pub issues: Issues,
    /// Messages a sample.
    pub messages: pixtune_core::quality::Histogram,
    /// Images a sample.
    pub images_a_sample: pixtune_core::quality::Histogram,
    /// Lines and images that cannot be used, by rule.
    pub refused: BTreeMap<&'static str, Kept>,
    /// What samples say together.
    pub together: Together,
    /// Rows that `prepare` rejected, by rule.
    pub rejected: BTreeMap<String, Kept>,
}

/// What samples say together.
#[derive(Debug, Clone, Default)]
pub struct Together {
    /// Different images: files that differ in a byte.
    pub distinct_images: u64,
    /// Different files that show the same, where images were measured.
    pub near: NearImages,
    /// Different texts that nearly say the same.
    pub near_texts: NearTexts,
    /// Samples that stand twice, with the place of the first.
    pub repeated: Pairs,
    /// Samples with the prompt and images of another and another answer.
    pub contradictions: Pairs,
    /// Images that stand on both sides of the split.
    pub shared_images: Pairs,
    /// Samples that stand on both sides of the split.
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

/// So many pairs are kept.
const KEPT_PAIRS: usize = 50;

impl Pairs {
    fn add(&mut self, earlier: LinePlace, later: LinePlace) {
        self.count += 1;
        if self.first.len() < KEPT_PAIRS {
            self.first.push((earlier, later));
        }
    }
}

/// Who looks on while a survey runs: the report picks its examples there.
pub trait Witness: Send {
    /// A sample, in order.
    fn sample(&mut self, place: LinePlace, sample: &SampleLook);
    /// An image that belongs to no sample.
    fn image(&mut self, place: LinePlace, image: &ImageLook);
    /// How far it is.
    fn progress(&mut self, progress: Progress);
}

impl Survey {
    /// Samples that can be trained on or held out.
    pub fn samples(&self) -> u64 {
        self.train.samples + self.validation.samples
    }

    /// Lines and images that cannot be used.
    pub fn refused(&self) -> u64 {
        self.refused.values().map(|kept| kept.count).sum()
    }

    /// Whether something breaks a rule of severity error.
    pub fn has_errors(&self) -> bool {
        let is_error = |rule: &Rule| rule.severity == Severity::Error;
        self.refused.keys().any(|id| rules::find(id).is_none_or(is_error))
    }

    /// What texts and images show: what concerns single answers first, images last.
    pub fn observations(&self) -> Vec<Observation> {
        let mut all = self.texts.observations();
        all.extend(self.issues.observations());
        all
    }

    /// What a training plan is made from.
    pub fn dataset(&self, estimate: Option<&'static str>) -> Dataset {
        let answers = self.texts.answers.max(1) as f64;
        let top = self.texts.most_frequent_answers(1).into_iter().next();
        let doubtful = ["answer-refusal", "answer-placeholder", "answer-cut-off"];
        Dataset {
            train: self.train.clone(),
            validation: self.validation.clone(),
            refused: self.refused(),
            top_answer: top
                .filter(|_| self.texts.answers >= 20)
                .map(|(text, count)| (text.to_owned(), count as f64 / answers)),
            doubtful_answers: self
                .observations()
                .iter()
                .filter(|seen| doubtful.contains(&seen.rule.id))
                .map(|seen| seen.count)
                .sum(),
            estimate,
        }
    }
}
