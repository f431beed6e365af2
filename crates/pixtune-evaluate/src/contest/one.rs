//! One answer: asked for or read, judged, scored, and written as a line.

use std::sync::Arc;

use pixtune_core::diagnostic::{Diagnostic, Finding, Severity};
use pixtune_core::json::{self, Object, list, object};
use pixtune_core::phrasing::Phrasing;
use pixtune_core::rules;
use pixtune_core::sample::Sample;
use pixtune_core::score::{Grade, Part, Rating, ScoreError, Scorer, final_answer};
use pixtune_infer::Request;
use pixtune_io::image::{Limits, load};

use super::{Answers, Entrant, Rules};
use crate::answers::{Answered, AskError, hexadecimal};
use crate::data::{Entry, SampleRow, last_prompt};
use crate::error::EvaluateError;
use crate::graded::{Graded, grade, unsuitable};
use crate::judge::{Case, Rated, rate};

/// One answer, scored.
pub(super) struct Done {
    pub(super) line: String,
    pub(super) scored: Option<Scored>,
    pub(super) failure: Option<(String, String)>,
    pub(super) finding: Option<Diagnostic>,
    pub(super) judged: Option<Rated>,
}

pub(super) struct Scored {
    pub(super) grade: Grade,
    pub(super) score: f64,
    pub(super) is_right: bool,
    pub(super) part: Part,
    pub(super) is_empty: bool,
    pub(super) is_cut: bool,
    /// Reference and answer, where they are labels.
    pub(super) label: Option<(String, String)>,
}

/// Gets and scores one answer.
pub(super) fn one(
    rules: Rules<'_>,
    entry: Entry,
    (item, phrasing): (usize, &Phrasing),
    entrant: &Entrant<'_>,
) -> Result<Done, EvaluateError> {
    rules.dataset.sample(entry, |mut sample| {
        let mut at = None;
        phrasing.apply(&mut sample.messages);
        if !sample.messages.is_empty() {
            sample.prompt = last_prompt(&sample.messages);
        }
        let (answered, request) = match entrant.answers {
            Answers::Model(asker) => match request(rules, entry, &sample) {
                Ok(request) => asker.ask(&request).map_err(|error| ask_error(rules, error))?,
                Err(finding) => {
                    let message = finding.message.clone();
                    at = Some(finding);
                    (Answered::Failed { kind: "image".to_owned(), message }, 0)
                }
            },
            Answers::Predictions { predictions, matched } => match matched[item] {
                Some(place) => {
                    let (answered, references) = predictions.of(&sample, (rules.dataset, entry), place)?;
                    if !references.is_empty() && !rules.dataset.is_listed(entry) {
                        sample.references = references;
                    }
                    (answered, 0)
                }
                None => {
                    let id = sample.id.clone().unwrap_or_default();
                    let finding = predictions.missing(rules.dataset, entry, &id);
                    at = Some(finding.clone());
                    (Answered::Failed { kind: "missing".to_owned(), message: finding.message }, 0)
                }
            },
        };
        let judged = judged(rules, entry, (phrasing, entrant.of), &sample, &answered)?;
        Ok(score(rules, entry, phrasing, &sample, Had { answered, request, finding: at, judged }))
    })?
}

/// An answer, and what is known of it beside the sample.
struct Had {
    answered: Answered,
    request: u128,
    finding: Option<Finding>,
    judged: Option<Rated>,
}

pub(crate) fn ask_error(rules: Rules<'_>, error: AskError) -> EvaluateError {
    match error {
        AskError::Log(source) => EvaluateError::Write { path: rules.plan.out.clone(), source },
        AskError::Model(error) => EvaluateError::Answer(error),
    }
}

/// The ratings of an answer, if there is a judge and an answer.
fn judged(
    rules: Rules<'_>,
    entry: Entry,
    (phrasing, of): (&Phrasing, &'static str),
    sample: &SampleRow<'_>,
    answered: &Answered,
) -> Result<Option<Rated>, EvaluateError> {
    let (Some(judges), Answered::Text { text, .. }) = (rules.judges, answered) else { return Ok(None) };
    let images = match images(rules, entry, sample) {
        Ok(images) => images,
        Err(finding) => return Ok(Some(Rated::failed(&finding.message, judges))),
    };
    let case = Case { sample, images, line: entry.place.number, phrasing: phrasing.template(), of };
    rate(judges, &case, text).map(Some).map_err(|error| ask_error(rules, error))
}

/// The request for a sample; the finding is about an image that cannot be loaded.
fn request(rules: Rules<'_>, entry: Entry, sample: &SampleRow<'_>) -> Result<Request, Finding> {
    let images = images(rules, entry, sample)?;
    let conversation = Sample {
        messages: sample.messages.clone(),
        tools: sample.tools.clone(),
        images,
        settings: sample.settings.clone(),
    };
    let (sampling, max_tokens) = (rules.plan.sampling, rules.plan.max_tokens);
    Ok(Request::new(conversation, sampling, max_tokens))
}

/// The images of a sample as files.
pub(crate) fn images(
    rules: Rules<'_>,
    entry: Entry,
    sample: &SampleRow<'_>,
) -> Result<Vec<Arc<[u8]>>, Finding> {
    let resolver = rules.dataset.resolver(entry);
    let limits = Limits::default();
    // What is a warning elsewhere, such as a URL, means here that the sample cannot be asked.
    let refused = |finding: Finding| Finding { severity: Severity::Error, ..finding };
    let images = sample.images.iter().map(|image| {
        let loaded =
            load(&image.source, &resolver, &limits).map_err(|error| refused(error.finding_at(image)))?;
        Ok(Arc::from(loaded.bytes))
    });
    images.collect()
}

/// The scores of an answer, if there is one.
fn scores(
    rules: Rules<'_>,
    sample: &SampleRow<'_>,
    answered: &Answered,
) -> Option<Result<Scored, ScoreError>> {
    let Answered::Text { text, is_cut, .. } = answered else { return None };
    Some(grade(rules.scorer, sample, text).map(|Graded { grade, part, score }| {
        let label = rules
            .labels
            .and(sample.references.first())
            .map(|reference| (reference.clone(), final_answer(text).unwrap_or_else(|| text.clone())));
        let is_right = score >= rules.scorer.family().right_from();
        let is_empty = text.trim().is_empty();
        Scored { grade, score, is_right, part, is_empty, is_cut: *is_cut, label }
    }))
}

fn score(rules: Rules<'_>, entry: Entry, phrasing: &Phrasing, sample: &SampleRow<'_>, had: Had) -> Done {
    let Had { answered, request, finding, judged } = had;
    let (scored, failure, finding) = match (scores(rules, sample, &answered), &answered) {
        (Some(Ok(scored)), _) => (Some(scored), None, finding),
        (Some(Err(error)), _) => {
            let finding = unsuitable(&error);
            (None, Some(("reference".to_owned(), finding.message.clone())), Some(finding))
        }
        (None, Answered::Failed { kind, message }) => {
            let failed = || Finding::new(&rules::ANSWER_FAILED, "", message.clone());
            let finding = finding.unwrap_or_else(failed);
            (None, Some((kind.clone(), message.clone())), Some(finding))
        }
        (None, Answered::Text { .. }) => (None, None, finding),
    };
    let finding = finding.or_else(|| {
        let unrated = judged.as_ref()?.failure()?;
        Some(Finding::new(&rules::ANSWER_FAILED, "", unrated))
    });
    let line = json::line(object(|out| {
        about_sample(out, entry, phrasing, sample);
        about_answer(out, &answered, request);
        if let Some(scored) = &scored {
            about_score(out, rules.scorer, scored);
        }
        if let Some(failure) = &failure {
            about_failure(out, failure);
        }
        if let Some(judged) = &judged {
            about_rating(out, "judge", &judged.first);
            if let Some(second) = &judged.second {
                about_rating(out, "second_judge", second);
            }
        }
    }));
    let finding = finding.map(|finding| finding.at(rules.dataset.file_name(entry), entry.place.number));
    Done { line, scored, failure, finding, judged }
}

/// What a line of `predictions.jsonl` has about the sample. `--predictions` reads such lines again.
fn about_sample(out: &mut Object<'_>, entry: Entry, phrasing: &Phrasing, sample: &SampleRow<'_>) {
    out.field("id", sample.id.as_deref()).field("line", entry.place.number);
    out.field("phrasing", &phrasing.template()).field("prompt", &sample.prompt);
    out.field("references", list(sample.references.iter().map(String::as_str)));
    if !sample.options.is_empty() {
        out.field("choices", list(sample.options.iter().map(String::as_str)));
    }
    if !sample.category.is_empty() {
        out.field("category", &sample.category);
    }
}

fn about_answer(out: &mut Object<'_>, answered: &Answered, request: u128) {
    let (text, is_cut) = match answered {
        Answered::Text { text, is_cut, .. } => (Some(text.as_str()), *is_cut),
        Answered::Failed { .. } => (None, false),
    };
    out.field("answer", text);
    if is_cut {
        out.field("finish", "length");
    }
    if request != 0 {
        out.field("request", &hexadecimal(request));
    }
}

fn about_score(out: &mut Object<'_>, scorer: Scorer, scored: &Scored) {
    out.field("score", scored.score).field("right", scored.is_right);
    out.field("level", scored.grade.level.id()).field("scored", scored.part.id());
    out.field(
        "scores",
        object(|scores| {
            scores.fields(scorer.named(scored.grade.levels));
        }),
    );
}

fn about_failure(out: &mut Object<'_>, (kind, message): &(String, String)) {
    out.field(
        "failure",
        object(|failure| {
            failure.field("kind", kind).field("message", message);
        }),
    );
}

fn about_rating(out: &mut Object<'_>, key: &str, judged: &Result<Rating, String>) {
    out.field(
        key,
        object(|out| match judged {
            Ok(rating) => {
                out.field("rating", rating.score);
            }
            Err(failure) => {
                out.field("failure", failure);
            }
        }),
    );
}
