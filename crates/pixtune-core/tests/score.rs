//! Scores against those of mistral-evals. `PIXTUNE_METRIC_VECTORS` names another file of the layout of
//! `fixtures/score/metric_vectors.jsonl.gz`, compressed or not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the helpers are not marked as tests"
)]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};
use pixtune_core::score::{Metric, Rating, ScoreError, averages, final_answer, judge_prompt, rating};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/score").join(name)
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    text
}

fn document(name: &str) -> Value<'static> {
    json::parse(&read(&fixture(name))).unwrap().value.into_owned()
}

fn text<'v>(value: &'v Value<'_>, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value<'_>) -> f64 {
    match value {
        Value::Number(number) => number.parse().unwrap(),
        other => panic!("{other} is not a number"),
    }
}

/// One reference, or a list of them.
fn references<'v>(row: &'v Value<'_>) -> Vec<&'v str> {
    match row.get("references").unwrap() {
        Value::String(reference) => vec![reference],
        list => list.as_array().unwrap().iter().map(|reference| reference.as_str().unwrap()).collect(),
    }
}

/// The exception of the reference that an error stands for.
fn exception(error: &ScoreError) -> &'static str {
    match error {
        ScoreError::NoReferences => "ValueError",
        ScoreError::Overflow => "OverflowError",
        ScoreError::Literal { .. } => "SyntaxError",
        // The reference has no metric of JSON fields.
        ScoreError::NotAnObject => "",
    }
}

#[test]
fn scores_match_mistral_evals() {
    let path = std::env::var_os("PIXTUNE_METRIC_VECTORS")
        .map_or_else(|| fixture("metric_vectors.jsonl.gz"), PathBuf::from);
    let (mut scores, mut differences) = (0, Vec::new());
    for line in read(&path).lines().filter(|line| !line.trim().is_empty()) {
        let row = json::parse(line).unwrap().value;
        let (answer, references) = (text(&row, "prediction"), references(&row));
        if let Some(parsed) = row.get("parsed_answer").and_then(Value::as_str) {
            let ours = final_answer(answer).unwrap_or_default();
            if ours != parsed {
                differences.push(format!("{answer:?}: answer {ours:?}, expected {parsed:?}"));
            }
        }
        for (name, expected) in row.get("scores").unwrap().as_object().unwrap() {
            let metric = Metric::find(name).unwrap_or_else(|| panic!("no metric {name}"));
            let ours = metric.score(answer, &references).map_err(|error| exception(&error).to_owned());
            let expected = match expected.get("error") {
                Some(error) => Err(error.as_str().unwrap().to_owned()),
                None => Ok(number(expected.get("score").unwrap())),
            };
            scores += 1;
            // To the bit: both sides are the same few operations on the same numbers.
            if ours != expected {
                differences.push(format!(
                    "{name} of {answer:?} and {references:?}: {ours:?}, expected {expected:?}"
                ));
            }
        }
    }
    assert!(scores > 0, "{} holds no scores", path.display());
    assert!(differences.is_empty(), "{} of {scores} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn ratings_match_mistral_evals() {
    for row in document("judge_rating.json").as_array().unwrap() {
        let judgement = text(row, "judgement");
        let expected = match row.get("error") {
            Some(error) => Err(error.as_str().unwrap()),
            None => Ok(Some(number(row.get("rating").unwrap())).filter(|rating| *rating != -1.0)),
        };
        assert_eq!(rating(judgement).map_err(|error| exception(&error)), expected, "{judgement:?}");
    }
}

#[test]
fn judge_prompts_match_mistral_evals() {
    for row in document("judge_prompt.json").as_array().unwrap() {
        let list = |key: &str| row.get(key).unwrap().as_array().unwrap().to_vec();
        let (questions, answers) = (list("questions"), list("reference_answers"));
        let turns: Vec<(&str, &str)> = questions
            .iter()
            .map(question_text)
            .zip(answers.iter().map(|answer| answer.as_str().unwrap()))
            .collect();
        let prompt = judge_prompt(&turns, text(row, "final_answer"));
        assert_eq!(prompt, text(&row.get("prompt").unwrap().as_array().unwrap()[0], "text"));
    }
}

/// The text of a question that may be a list of parts; its images are the caller's to send.
fn question_text<'v>(question: &'v Value<'_>) -> &'v str {
    match question.as_array() {
        None => question.as_str().unwrap(),
        Some(parts) => parts.iter().find_map(|part| part.get("text")).unwrap().as_str().unwrap(),
    }
}

#[test]
fn averages_match_mistral_evals() {
    for row in document("mm_mt_bench_aggregate.json").as_array().unwrap() {
        let ratings: Vec<Rating> = row
            .get("interactions")
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(|row| Rating {
                score: number(row.get("score").unwrap()),
                category: text(row, "category").to_owned(),
                turn: number(row.get("turn").unwrap()) as usize,
            })
            .collect();
        let ours = averages(&ratings).unwrap();
        let mut named: Vec<(String, f64)> = vec![
            ("micro_average_score".into(), ours.micro),
            ("macro_average_score".into(), ours.macro_mistral),
        ];
        named.extend(ours.categories.iter().map(|(category, mean)| (format!("{category}_average"), *mean)));
        named.extend(ours.turns.iter().map(|(turn, mean)| (format!("{turn}_average"), *mean)));
        for (name, expected) in row.get("aggregate").unwrap().as_object().unwrap() {
            let found = named.iter().find(|(known, _)| known == name);
            assert_eq!(found.map(|(_, mean)| *mean), Some(number(expected)), "{name}");
        }
    }
}
