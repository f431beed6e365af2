//! The result of an evaluation.

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::score::{Part, Scorer};

use crate::compare::Comparison;
use crate::contest::Standing;
use crate::judge::{JudgeCost, PairJudgement};
use crate::metric::Choice;
use crate::plan::Threshold;

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The files of the data.
    pub files: Vec<String>,
    /// Samples that were evaluated.
    pub samples: u64,
    /// Rows of the data, or lines of predictions, that cannot be used.
    pub invalid: u64,
    /// The metric.
    pub metric: Choice,
    /// How the model did.
    pub standing: Standing,
    /// How the model did that it is compared with.
    pub compared: Option<Standing>,
    /// How sure the difference is.
    pub comparison: Option<Comparison>,
    /// Which model's answers the judges prefer, if they were asked.
    pub pairs: Option<PairJudgement>,
    /// What each judge cost.
    pub costs: Vec<JudgeCost>,
    /// The scores that had to be reached, with what was reached.
    pub thresholds: Vec<(Threshold, f64)>,
    /// Every failed answer that was reported, at most a thousand.
    pub failures: Vec<Diagnostic>,
}

/// Findings that are kept for reports.
pub(crate) const MOST_FAILURES: usize = 1000;

impl Evaluation {
    /// Whether all samples have a score and all thresholds are reached.
    pub fn is_fine(&self) -> bool {
        let unrated =
            |standing: &Standing| standing.judgement.as_ref().is_some_and(|found| found.failed() > 0);
        let failed = |standing: &Standing| standing.count(|tally| tally.failed) > 0 || unrated(standing);
        self.invalid == 0
            && !failed(&self.standing)
            && !self.compared.as_ref().is_some_and(failed)
            && self.pairs.as_ref().is_none_or(|pairs| pairs.all_failed() == 0)
            && self.missed().next().is_none()
    }

    /// Which part of an answer the score is of.
    pub fn scored_part(&self) -> &'static str {
        counted_part(self.metric.scorer, &self.standing)
    }

    /// The thresholds that are not reached.
    pub fn missed(&self) -> impl Iterator<Item = &(Threshold, f64)> {
        self.thresholds.iter().filter(|(threshold, reached)| *reached < threshold.least)
    }
}

/// The part of an answer that counts, as tables name it.
pub(crate) fn counted_part(scorer: Scorer, standing: &Standing) -> &'static str {
    let (of_final, scored) = (standing.count(|tally| tally.of_final), standing.count(|tally| tally.scored));
    match (scorer.counted(Part::Whole), scorer.counted(Part::Final)) {
        (0, 1) if of_final == 0 => "the whole answer",
        (0, 1) if of_final == scored => "the final answer",
        (0, 1) => "the final answer where the prompt asks for one, else the whole answer",
        (1, 1) => "what is found in the answer",
        _ => "the reference anywhere in the answer",
    }
}
