//! One model answers every sample in every phrasing, and its answers are scored.

mod one;

use std::collections::BTreeMap;
use std::path::Path;

use pixtune_core::phrasing::Phrasing;
use pixtune_core::score::{LabelReport, Labels, Part, Scorer, Spread, Tally};
use pixtune_io::parallel;
use pixtune_io::read::RowRef;

use crate::answers::Asker;
use crate::data::Dataset;
use crate::error::EvaluateError;
use crate::judge::{Judgement, Judges};
use crate::plan::EvaluatePlan;
use crate::predictions::Predictions;
use crate::written::LinesOut;
use one::{Done, one};

pub(crate) use one::{ask_error, images};

/// How a model did.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Who answered.
    pub name: String,
    /// The phrasings, each with its sums.
    pub phrasings: Vec<(String, Tally)>,
    /// The answers that could not be had, by kind.
    pub failures: Failures,
    /// The ratings of a judge, if there is one.
    pub judgement: Option<Judgement>,
    /// The confusion matrix, where the references are few labels.
    pub labels: Option<LabelReport>,
    /// Samples that are right in some phrasings and not in others.
    pub flips: u64,
    /// How far the scores of a sample are apart over the phrasings: mean, smallest and largest distance.
    pub sample_spread: Option<Spread>,
}

impl Standing {
    /// The scores of the phrasings: mean, smallest and largest.
    pub fn score(&self) -> Option<Spread> {
        Spread::of(self.phrasings.iter().filter_map(|(_, tally)| tally.score()))
    }

    /// The same if every failed answer were wrong.
    pub fn score_with_failures(&self) -> f64 {
        let scores = self.phrasings.iter().map(|(_, tally)| tally.score_with_failures());
        Spread::of(scores).map_or(0.0, |spread| spread.mean)
    }

    /// A sum over the phrasings.
    pub fn count(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.phrasings.iter().map(|(_, tally)| of(tally)).sum()
    }
}

/// Failed answers by kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures {
    /// How many of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// What happened first.
    pub first: Option<String>,
}

/// What became of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    /// The first of its lines in the file of predictions; the others follow.
    pub(crate) offset: u64,
    /// The mean score over the phrasings that were answered.
    pub(crate) score: Option<f64>,
    /// It is right in more than half of the phrasings.
    pub(crate) is_right: bool,
    /// It is right in some phrasings and not in others.
    pub(crate) flips: bool,
    /// A phrasing has no answer.
    pub(crate) has_failed: bool,
    /// The level of its first phrasing.
    pub(crate) level: u8,
}

/// What answers are scored by.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'r> {
    pub(crate) plan: &'r EvaluatePlan,
    pub(crate) dataset: &'r Dataset,
    pub(crate) scorer: Scorer,
    pub(crate) labels: Option<&'r Labels>,
    pub(crate) judges: Option<&'r Judges<'r>>,
}

/// Where the answers of a contest come from.
pub(crate) enum Answers<'a> {
    Model(Asker<'a>),
    Predictions { predictions: &'a Predictions, matched: Vec<Option<RowRef>> },
}

/// A model whose answers are scored.
pub(crate) struct Entrant<'a> {
    pub(crate) name: &'a str,
    /// `model`, or `compared` for the other one.
    pub(crate) of: &'static str,
    pub(crate) answers: &'a Answers<'a>,
    pub(crate) phrasings: &'a [Phrasing],
    /// Samples that are answered at the same time.
    pub(crate) threads: usize,
}

/// Where the lines of a contest go.
pub(crate) struct Files<'f> {
    pub(crate) predictions: &'f Path,
    pub(crate) judgements: Option<&'f mut LinesOut>,
}

/// Answers and scores every sample; the lines go to files in the order of the samples.
pub(crate) fn contest(
    rules: Rules<'_>,
    entrant: &Entrant<'_>,
    mut files: Files<'_>,
    watch: &mut (dyn crate::watch::Watch + Send),
) -> Result<(Standing, Vec<Outcome>), EvaluateError> {
    let Entrant { name, phrasings, threads, .. } = *entrant;
    let mut out = LinesOut::create(files.predictions)?;
    let mut counts = Counts::new(rules, name, phrasings);
    let total = rules.dataset.entries.len() * phrasings.len();
    let mut next = 0..total;
    let work = |item: usize| {
        let entry = rules.dataset.entries[item / phrasings.len()];
        one(rules, entry, (item, &phrasings[item % phrasings.len()]), entrant)
    };
    let sink = |done: Result<Done, EvaluateError>| {
        let done = done?;
        out.add(&done.line)?;
        if let (Some(judgements), Some(judged)) = (files.judgements.as_mut(), &done.judged) {
            judgements.add(&judged.lines)?;
        }
        if let Some(finding) = &done.finding {
            watch.finding(finding);
        }
        counts.add(done);
        watch.answered(counts.answered, total as u64, name);
        Ok::<(), EvaluateError>(())
    };
    parallel::ordered(threads, || Ok(next.next()), work, sink)?;
    out.finish()?;
    Ok(counts.finish())
}

/// Sums, in the order of samples and phrasings.
struct Counts<'r> {
    rules: Rules<'r>,
    standing: Standing,
    outcomes: Vec<Outcome>,
    answered: u64,
    offset: u64,
    /// Of the sample whose phrasings are being counted: its offset, and its scores.
    start: u64,
    scores: Vec<Option<(f64, bool)>>,
    level: u8,
    spread: (f64, f64, f64),
}

impl<'r> Counts<'r> {
    fn new(rules: Rules<'r>, name: &str, phrasings: &[Phrasing]) -> Counts<'r> {
        let phrasings = phrasings.iter().map(|phrasing| (phrasing.template(), Tally::default())).collect();
        let standing = Standing {
            name: name.to_owned(),
            phrasings,
            failures: Failures::default(),
            judgement: rules.judges.map(|_| Judgement::default()),
            labels: rules.labels.map(Labels::report),
            flips: 0,
            sample_spread: None,
        };
        let outcomes = Vec::with_capacity(rules.dataset.entries.len());
        let spread = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        let (scores, level) = (Vec::new(), 0);
        Counts { rules, standing, outcomes, answered: 0, offset: 0, start: 0, scores, level, spread }
    }

    fn add(&mut self, done: Done) {
        self.answered += 1;
        let phrasing = self.scores.len();
        let tally = &mut self.standing.phrasings[phrasing].1;
        if phrasing == 0 {
            self.start = self.offset;
            self.level = done.scored.as_ref().map_or(u8::MAX, |scored| scored.grade.level as u8);
        }
        self.offset += done.line.len() as u64;
        if let Some(scored) = &done.scored {
            tally.add(&scored.grade, scored.score, scored.is_right);
            tally.empty += u64::from(scored.is_empty);
            tally.cut += u64::from(scored.is_cut);
            tally.of_final += u64::from(scored.part == Part::Final);
            if let (Some(report), Some(labels), Some((reference, answer))) =
                (&mut self.standing.labels, self.rules.labels, &scored.label)
            {
                report.add(labels, reference, answer);
            }
        }
        if let (Some(judgement), Some(judged)) = (&mut self.standing.judgement, done.judged) {
            judgement.add(judged);
        }
        if let Some((kind, message)) = done.failure {
            tally.failed += 1;
            *self.standing.failures.kinds.entry(kind).or_default() += 1;
            self.standing.failures.first.get_or_insert(message);
        }
        self.scores.push(done.scored.map(|scored| (scored.score, scored.is_right)));
        if self.scores.len() == self.standing.phrasings.len() {
            self.end_sample();
        }
    }

    fn end_sample(&mut self) {
        let scored: Vec<(f64, bool)> = self.scores.iter().flatten().copied().collect();
        let right = scored.iter().filter(|(_, is_right)| *is_right).count();
        let spread = Spread::of(scored.iter().map(|(score, _)| *score));
        let flips = right > 0 && right < scored.len();
        self.standing.flips += u64::from(flips);
        if let Some(spread) = spread {
            let (sum, min, max) = self.spread;
            self.spread = (sum + spread.width(), min.min(spread.width()), max.max(spread.width()));
        }
        self.outcomes.push(Outcome {
            offset: self.start,
            score: spread.map(|spread| spread.mean),
            is_right: 2 * right > scored.len(),
            flips,
            has_failed: scored.len() < self.scores.len(),
            level: self.level,
        });
        self.scores.clear();
    }

    fn finish(mut self) -> (Standing, Vec<Outcome>) {
        let scored = self.outcomes.iter().filter(|outcome| outcome.score.is_some()).count();
        let (sum, min, max) = self.spread;
        self.standing.sample_spread = (scored > 0).then(|| Spread { mean: sum / scored as f64, min, max });
        (self.standing, self.outcomes)
    }
}
