//! `train --eval-metric`: responses to validation samples are scored at every evaluation, as `evaluate` scores them.

use std::fs;

use pixtune_core::json::Value;

use super::{adapter, case, evaluations, float, toy, train};
use crate::harness::{Case, at, text};

const METRIC: [&str; 6] = ["--eval-metric", "relaxed", "--validation", "train.jsonl", "--eval-every", "40"];

fn json(case: &Case, name: &str) -> Value<'static> {
    pixtune_core::json::parse(&case.read(name)).unwrap().value.into_owned()
}

/// Step and score of every evaluation.
fn scores(case: &Case) -> Vec<(String, f64)> {
    let lines = case.lines("run/metrics.jsonl");
    let scored = lines.iter().filter(|line| line.get("valid_score").is_some());
    scored.map(|line| (at(line, "/step").to_string(), float(&at(line, "/valid_score").to_string()))).collect()
}

#[test]
fn scores_are_those_of_evaluate() {
    let case = case(&toy());
    let run = train(&case, &[&METRIC[..], &["--steps", "120"]].concat()).ends(0);
    let scores = scores(&case);
    assert_eq!(scores.len(), evaluations(&case, "run").len());
    assert!(scores[0].1 < 0.5, "{scores:?}");
    let best = scores.iter().map(|(_, score)| *score).fold(0.0, f64::max);
    assert!(best > 0.5, "{scores:?}");
    assert!(run.stderr.contains("relaxed (mistral) 0.0000"), "{}", run.stderr);
    assert!(run.stdout.contains("relaxed (mistral) 0.0000 → "), "{}", run.stdout);
    assert!(case.read("run/report.html").contains("relaxed (mistral)"));
    let samples = case.lines("run/samples.jsonl");
    assert_eq!(samples.len(), scores.len() * toy().len());
    assert!(samples.iter().all(|sample| sample.get("score").is_some()));

    let evaluate = [
        "evaluate",
        "train.jsonl",
        "--model",
        "model",
        "--adapter",
        "run/adapter",
        "--metric",
        "relaxed",
        "--out",
        "scores",
    ];
    case.run(&evaluate).ends(0);
    let found = float(&at(&json(&case, "scores/scores.json"), "/model/score").to_string());
    assert_eq!(found, best);
}

#[test]
fn patience_and_the_best_adapter_follow_the_score() {
    let case = case(&toy());
    // Every reference is wrong: the score stays 0 and the loss decides.
    let lines: String =
        (1..=5).map(|line| format!("{{\"line\": {line}, \"references\": [\"zzz\"]}}\n")).collect();
    case.write("references-train.jsonl", lines);
    let more = ["--steps", "80", "--tensorboard"];
    let run = train(&case, &[&METRIC[..], &more].concat()).ends(0).prints("references: those in");
    assert!(scores(&case).iter().all(|(_, score)| *score == 0.0), "{:?}", scores(&case));
    assert!(run.stdout.contains("step 80, the best"), "{}", run.stdout);

    fs::remove_file(case.path("references-train.jsonl")).unwrap();
    let more = ["--steps", "400", "--patience", "2", "--force"];
    let run = train(&case, &[&METRIC[..], &more].concat()).ends(0);
    let scores = scores(&case);
    let best = scores.iter().skip(1).map(|(_, score)| *score).fold(0.0, f64::max);
    assert_eq!(best, 1.0, "{scores:?}");
    assert!(run.stdout.contains("1.0000 at the same step"), "{}", run.stdout);
}

#[test]
fn a_run_with_a_metric_resumes_to_the_same_bits() {
    let case = case(&toy());
    let more =
        [&METRIC[..4], &["--eval-samples", "3", "--steps", "12", "--eval-every", "4", "--save-every", "4"]]
            .concat();
    train(&case, &more).ends(0);
    let (whole, samples) = (adapter(&case, "run"), case.read("run/samples.jsonl"));
    let state = case.read("run/checkpoints/step-12/state.json");
    fs::remove_dir_all(case.path("run/checkpoints/step-12")).unwrap();
    fs::remove_dir_all(case.path("run/adapter")).unwrap();
    train(&case, &[&more[..], &["--resume"]].concat()).ends(0).prints("resuming after step 8 of 12");
    assert!(adapter(&case, "run") == whole);
    assert_eq!(case.read("run/samples.jsonl"), samples);
    assert_eq!(case.read("run/checkpoints/step-12/state.json"), state);
}

#[test]
fn what_cannot_be_scored_ends_the_run() {
    let case = case(&toy());
    train(&case, &["--eval-metric", "relaxed"]).ends(2).prints("--eval-metric needs validation data");
    let fields = ["--eval-metric", "json", "--validation", "train.jsonl", "--steps", "2"];
    train(&case, &fields).ends(2).prints("train.jsonl:1: a reference answer is not a JSON object");
    let variant =
        ["--eval-metric", "exact", "--eval-variant", "lmms", "--validation", "train.jsonl", "--force"];
    let run = train(&case, &variant).ends(2);
    assert!(run.stderr.contains("exact"), "{}", run.stderr);
    assert_eq!(text(&json(&case, "run/plan.json"), "/plan/eval_metric"), "json");
}
