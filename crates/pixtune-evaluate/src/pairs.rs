//! The answers of two models to the same samples, which judges compare.

use std::path::PathBuf;

use pixtune_core::diagnostic::{Diagnostic, Finding};
use pixtune_core::json::{self, Value};
use pixtune_core::phrasing::Phrasing;
use pixtune_core::rules;
use pixtune_io::parallel;

use crate::contest::{Outcome, Rules, Standing, ask_error, images};
use crate::data::last_prompt;
use crate::error::EvaluateError;
use crate::judge::{Case, JudgedPair, Judges, PairJudgement, judge_pair};
use crate::watch::Watch;
use crate::written::{LinesOut, read_lines};

/// How a model did, and what became of each sample.
pub(crate) type Answered<'a> = (&'a Standing, &'a [Outcome]);

/// Has the judges choose between the answers to every sample, in every phrasing that both models were asked in. Pairs with a
/// failed answer are not judged: the failure is a finding already.
pub(crate) fn judge_pairs(
    rules: Rules<'_>,
    judges: &Judges<'_>,
    [model, compared]: [Answered<'_>; 2],
    files: &[PathBuf; 2],
    lines: &mut LinesOut,
    watch: &mut (dyn Watch + Send),
) -> Result<PairJudgement, EvaluateError> {
    let shared = shared_phrasings(model.0, compared.0);
    if shared.is_empty() {
        watch.note("no pair is judged: the models were asked in different phrasings");
    }
    let total = rules.dataset.entries.len() * shared.len();
    let mut next = 0..total;
    let work = |item: usize| -> Result<Option<(usize, JudgedPair)>, EvaluateError> {
        let (index, (one, other)) = (item / shared.len(), shared[item % shared.len()]);
        let line = |file: usize, outcomes: &[Outcome], phrasing: usize| {
            let mut lines = read_lines(&files[file], outcomes[index].offset, phrasing + 1)?;
            Ok::<_, EvaluateError>(lines.pop().unwrap_or_default())
        };
        let lines = [line(0, model.1, one)?, line(1, compared.1, other)?];
        let judged = pair(rules, judges, index, &model.0.phrasings[one].0, &lines)?;
        Ok(judged.map(|judged| (index, judged)))
    };
    let (mut found, mut done) = (PairJudgement::default(), 0);
    let sink = |judged: Result<Option<(usize, JudgedPair)>, EvaluateError>| {
        done += 1;
        if let Some((index, judged)) = judged? {
            lines.add(&judged.lines)?;
            if let Some(why) = judged.failure() {
                watch.finding(&unjudged(rules, index, why));
            }
            found.add(judged);
        }
        watch.answered(done, total as u64, "judged pairs");
        Ok::<(), EvaluateError>(())
    };
    parallel::ordered(rules.plan.concurrency, || Ok(next.next()), work, sink)?;
    Ok(found)
}

/// The phrasings of both models, by their position in each. Two that were asked in one wording each are compared whatever
/// their files call it.
fn shared_phrasings(model: &Standing, compared: &Standing) -> Vec<(usize, usize)> {
    if let ([_], [_]) = (&model.phrasings[..], &compared.phrasings[..]) {
        return vec![(0, 0)];
    }
    let position = |name: &str| compared.phrasings.iter().position(|(other, _)| other == name);
    let all = model.phrasings.iter().enumerate();
    all.filter_map(|(index, (name, _))| Some((index, position(name)?))).collect()
}

fn unjudged(rules: Rules<'_>, index: usize, why: String) -> Diagnostic {
    let entry = rules.dataset.entries[index];
    let finding = Finding::new(&rules::ANSWER_FAILED, "", why);
    finding.at(rules.dataset.file_name(entry), entry.place.number)
}

/// The judgement of one pair; `None` where an answer is missing.
fn pair(
    rules: Rules<'_>,
    judges: &Judges<'_>,
    index: usize,
    phrasing: &str,
    [line, other]: &[String; 2],
) -> Result<Option<JudgedPair>, EvaluateError> {
    let (Ok(model), Ok(compared)) = (json::parse(line), json::parse(other)) else {
        let why = "the answers are too long to be judged";
        return Ok(Some(JudgedPair::failed("", why, judges)));
    };
    let answer = |line: &Value<'_>| match line.get("failure") {
        None | Some(Value::Null) => line.text("answer").map(str::to_owned),
        Some(_) => None,
    };
    let (Some(one), Some(two)) = (answer(&model.value), answer(&compared.value)) else { return Ok(None) };
    let references = model.value.get("references").and_then(Value::as_array).unwrap_or_default();
    let references: Vec<String> = references.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let entry = rules.dataset.entries[index];
    rules.dataset.sample(entry, |mut sample| {
        let wording = Phrasing::named(phrasing);
        wording.apply(&mut sample.messages);
        if !sample.messages.is_empty() {
            sample.prompt = last_prompt(&sample.messages);
        }
        sample.references = references;
        let images = match images(rules, entry, &sample) {
            Ok(images) => images,
            Err(finding) => {
                return Ok(Some(JudgedPair::failed(&sample.category, &finding.message, judges)));
            }
        };
        let (line, phrasing) = (entry.place.number, wording.template());
        let case = Case { sample: &sample, images, line, phrasing, of: "pair" };
        judge_pair(judges, &case, &one, &two).map(Some).map_err(|error| ask_error(rules, error))
    })?
}
