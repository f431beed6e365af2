//! `pixtune evaluate` with predictions, a tiny model, and an endpoint that misbehaves.

mod benchmarks;
mod endpoint;
mod judge;

use std::fs;

use pixtune_core::json::{self, Value};
use pixtune_io::base64::data_uri;

use crate::harness::{Case, at, read_directory, root};
use crate::snapshots::check;
use crate::tokenizers::tekken_of;

/// A line of data: a question about an image, and its answer.
fn sample(prompt: &str, answer: &str) -> String {
    let (prompt, answer) = (json::quoted(prompt), json::quoted(answer));
    let image = fs::read(root().join("fixtures/images/grad_64x48.png")).unwrap();
    let image = data_uri("image/png", &image);
    format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"{image}"}},{{"type":"text","text":{prompt}}}]}},{{"role":"assistant","content":{answer}}}]}}"#
    ) + "\n"
}

/// Five questions about one image.
fn case() -> Case {
    let case = Case::new();
    let rows = [
        ("How many bars?", "6"),
        ("Which year?", "1999"),
        ("Which city?", "Paris"),
        ("Share?", "6%"),
        ("Sum?", "70"),
    ];
    case.write("data.jsonl", rows.map(|(prompt, answer)| sample(prompt, answer)).concat());
    case
}

/// The text or number at a JSON pointer.
fn text(value: &Value<'static>, pointer: &str) -> String {
    let value = at(value, pointer);
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn scores(case: &Case, out: &str) -> Value<'static> {
    json::parse(&case.read(&format!("{out}/scores.json"))).unwrap().value.into_owned()
}

const SCORE: &[&str] =
    &["evaluate", "data.jsonl", "--predictions", "answers.jsonl", "--metric", "relaxed", "--out", "out"];

const ANSWERS: &str = r#"{"line":1,"answer":"6.0"}
{"line":2,"answer":"I read the axis.\nFinal Answer: **1999**"}
{"line":3,"answer":"the city is paris"}
{"line":4,"answer":"seven"}
{"line":5,"answer":""}
"#;

#[test]
fn predictions_are_scored_at_three_levels() {
    let case = case();
    case.write("answers.jsonl", ANSWERS);
    let run = case.run(SCORE).ends(0);
    check("evaluate-predictions.txt", &run.stdout);
    check("evaluate-scores.json", &case.read("out/scores.json"));
    check("evaluate-predictions.jsonl", &case.read("out/predictions.jsonl"));
    assert!(case.read("out/report.html").contains("has 1 of 5 answers right: relaxed (mistral) 0.200"));
    // What was written can be scored again, with the data and without, by any number of threads.
    let again = [
        "evaluate",
        "--predictions",
        "out/predictions.jsonl",
        "--metric",
        "relaxed",
        "--out",
        "again",
        "--threads",
        "3",
    ];
    case.run(&again).ends(0);
    let lines = |name| case.read(&format!("{name}/predictions.jsonl"));
    assert_eq!(lines("again"), lines("out"));
}

#[test]
fn the_metric_and_its_variant_can_be_chosen_and_are_named() {
    let case = case();
    case.write("answers.jsonl", ANSWERS);
    let with = |more: &[&str]| {
        let args = ["evaluate", "data.jsonl", "--predictions", "answers.jsonl", "--out", "out", "--force"];
        case.run(&[&args, more].concat())
    };
    assert!(with(&[]).ends(0).stdout.contains("relaxed (mistral), because the references are numbers"));
    with(&["--metric", "anls", "--variant", "official"]).ends(0);
    let found = scores(&case, "out");
    assert_eq!(
        (text(&found, "/metric/name"), text(&found, "/metric/variant")),
        ("anls".into(), "official".into())
    );
    assert_eq!(text(&found, "/model/phrasings/0/scores/anls_official"), "0");
    with(&["--metric", "exact", "--variant", "lmms"])
        .ends(2)
        .prints("the metric `exact` has no variant `lmms`");
    with(&["--fail-under", "bleu=0.5", "--metric", "relaxed"])
        .ends(2)
        .prints("`bleu` is not a score of this run");
    with(&["--fail-under", "relaxed=5"]).ends(2).prints("is not NAME=X");
}

#[test]
fn every_metric_scores_and_writes_each_name_once() {
    let case = Case::new();
    let prompt = "Which?\nA. {\"a\": 1}\nB. 2";
    case.write("data.jsonl", sample(prompt, "{\"a\": 1}"));
    case.write("answers.jsonl", "{\"line\":1,\"answer\":\"{\\\"a\\\": 1}\"}\n");
    for metric in ["exact", "relaxed", "anywhere", "anls", "vqa", "mcq", "json", "contains", "number"] {
        let args = [
            "evaluate",
            "data.jsonl",
            "--predictions",
            "answers.jsonl",
            "--out",
            "out",
            "--force",
            "--metric",
            metric,
        ];
        case.run(&args).ends(0);
        for name in ["out/scores.json", "out/predictions.jsonl"] {
            for value in case.read(name).split('{').filter(|object| object.contains("contains\"")) {
                let object = value.split('}').next().unwrap();
                assert_eq!(object.matches("\"contains\"").count(), 1, "{metric} in {name}: {object}");
            }
        }
        let score = text(&scores(&case, "out"), "/model/score").parse::<f64>().unwrap();
        // The text is no number, mistral-evals searches it in sentences only, and one person is not three.
        let expected = match metric {
            "number" | "anywhere" => 0.0,
            "vqa" => 1.0 / 3.0,
            _ => 1.0,
        };
        assert_eq!(score, expected, "{metric}");
    }
}

#[test]
fn thresholds_decide_the_exit_code_and_junit() {
    let case = case();
    case.write("answers.jsonl", ANSWERS);
    let more = [
        "--fail-under",
        "relaxed=0.2",
        "--fail-under",
        "explicit_prompt_relaxed_correctness=0.5",
        "--junit",
        "out.xml",
    ];
    let run = case.run(&[SCORE, &more].concat()).ends(1);
    assert!(
        run.stdout.contains("missed: explicit_prompt_relaxed_correctness is 0.200, required 0.5"),
        "{}",
        run.stdout
    );
    check("evaluate-junit.xml", &case.read("out.xml"));
}

#[test]
fn predictions_that_cannot_be_used_are_findings_with_their_lines() {
    let case = case();
    let answers = [
        r#"{"line":1,"answer":"6"}"#,
        r#"{"line":1,"answer":"7"}"#,
        r#"{"line":2,"answer":"#,
        r#"["line",3]"#,
        r#"{"line":3}"#,
        r#"{"line":4,"answer":[1]}"#,
        r#"{"line":"x","answer":"1"}"#,
        r#"{"id":"nobody","answer":"1"}"#,
        "\u{0}",
        r#"{"line":5,"prediction":70}"#,
    ];
    case.write("answers.jsonl", answers.join("\n"));
    let run = case.run(SCORE).ends(1);
    check("evaluate-bad-predictions.txt", &format!("{}\n{}", run.stderr, run.stdout));
    let found = scores(&case, "out");
    assert_eq!((text(&found, "/model/scored"), text(&found, "/model/failed")), ("2".into(), "3".into()));
    assert_eq!(text(&found, "/model/score_with_failures_as_wrong"), "0.4");
}

#[test]
fn samples_without_a_reference_are_findings_and_side_files_give_several() {
    let case = Case::new();
    let user = r#"{"id":"q","messages":[{"role":"user","content":"Which animal?"}]}"#;
    let two =
        r#"{"id":"two","references":["cat","a cat"],"messages":[{"role":"user","content":"Which animal?"}]}"#;
    case.write("data.jsonl", format!("{user}\n{two}\n{two}\n{{\n"));
    case.write("answers.jsonl", "{\"id\":\"q\",\"answer\":\"dog\"}\n{\"id\":\"two\",\"answer\":\"A cat\"}\n");
    let run = case.run(SCORE).ends(1);
    check("evaluate-bad-samples.txt", &run.stderr);
    assert_eq!(text(&scores(&case, "out"), "/model/failures/reference"), "1");
    case.write("refs.jsonl", "{\"id\":\"q\",\"references\":[\"cat\",\"dog\"]}\n");
    case.run(&[SCORE, &["--references", "refs.jsonl", "--force"]].concat()).ends(1);
    let found = scores(&case, "out");
    assert_eq!((text(&found, "/model/score"), text(&found, "/data/invalid")), ("1".into(), "2".into()));
}

#[test]
fn predictions_without_ids_go_by_order_if_there_are_as_many() {
    let case = case();
    case.write("answers.jsonl", ANSWERS.replace("\"line\":", "\"number\":"));
    case.run(SCORE).ends(0);
    assert_eq!(text(&scores(&case, "out"), "/model/score"), "0.2");
    case.write("answers.jsonl", "{\"answer\":\"6\"}\n");
    case.run(&[SCORE, &["--force"]].concat())
        .ends(2)
        .prints("1 prediction without `id` or `line` for 5 samples");
    assert_eq!(text(&scores(&case, "out"), "/model/score"), "0.2", "a failed run replaced the output");
    assert!(!case.path("out.partial").exists());
}

#[test]
fn two_models_are_compared_on_the_same_samples() {
    let case = case();
    case.write("answers.jsonl", ANSWERS);
    case.write("base.jsonl", "{\"line\":1,\"answer\":\"5\"}\n{\"line\":2,\"answer\":\"1\"}\n{\"line\":3,\"answer\":\"x\"}\n{\"line\":4,\"answer\":\"6%\"}\n{\"line\":5,\"answer\":\"x\"}\n");
    let run = case.run(&[SCORE, &["--compare", "predictions=base.jsonl"]].concat()).ends(0);
    check("evaluate-compare.txt", &run.stdout);
    let found = scores(&case, "out");
    assert_eq!(text(&found, "/comparison/difference"), "0");
    assert_eq!(
        (text(&found, "/comparison/wins"), text(&found, "/comparison/losses")),
        ("1".into(), "1".into())
    );
    assert_eq!(text(&found, "/comparison/mcnemar_p"), "1");
    let page = case.read("out/report.html");
    assert!(page.contains("data-kinds=\"loss wrong\"") && page.contains("Comparison"));
    case.run(&[SCORE, &["--compare", "base", "--force"]].concat())
        .ends(2)
        .prints("--compare base needs --model");
    case.run(&[SCORE, &["--compare", "what=x", "--force"]].concat()).ends(2).prints("KEY=VALUE");
}

#[test]
fn reasoning_is_compared_by_its_final_answer() {
    let case = Case::new();
    case.write("data.jsonl", sample("How many?", "I count the bars.\nFinal Answer: 6"));
    case.write("answers.jsonl", "{\"answer\":\"There are some.\\nFinal Answer: **6.0**\"}\n");
    let run = case.run(SCORE).ends(0);
    assert!(run.stdout.contains("scored on   the final answer\n"), "{}", run.stdout);
    let found = scores(&case, "out");
    assert_eq!(text(&found, "/model/score"), "1");
    let again =
        ["evaluate", "--predictions", "out/predictions.jsonl", "--metric", "relaxed", "--out", "again"];
    case.run(&again).ends(0);
    assert_eq!(text(&scores(&case, "again"), "/model/score"), "1");
}

#[test]
fn labels_have_a_table_of_confusions() {
    let case = Case::new();
    let rows: String = ["cat", "cat", "dog", "dog"].map(|label| sample("Which animal?", label)).concat();
    case.write("data.jsonl", rows);
    case.write(
        "answers.jsonl",
        "{\"answer\":\"cat\"}\n{\"answer\":\"dog\"}\n{\"answer\":\"dog\"}\n{\"answer\":\"bird\"}\n",
    );
    let args = ["evaluate", "data.jsonl", "--predictions", "answers.jsonl", "--out", "out"];
    let run = case.run(&args).ends(0);
    assert!(run.stdout.contains("exact, because the references are few labels"), "{}", run.stdout);
    let found = scores(&case, "out");
    assert_eq!(
        (text(&found, "/model/labels/accuracy"), text(&found, "/model/labels/other_answers")),
        ("0.5".into(), "1".into())
    );
    assert!(case.read("out/report.html").contains("class=\"confusion\""));
}

#[test]
fn hostile_texts_stay_texts_in_the_report() {
    let case = Case::new();
    let hostile = "</script><img src=x onerror=alert(1)>\u{202e}";
    case.write("data.jsonl", sample(hostile, hostile));
    case.write("answers.jsonl", format!("{{\"line\":1,\"answer\":{}}}\n", json::quoted(hostile)));
    case.run(SCORE).ends(0);
    let page = case.read("out/report.html");
    assert!(!page.contains("<img src=x") && !page.contains('\u{202e}'));
}

#[test]
fn a_tiny_model_answers_and_is_not_asked_twice() {
    let case = case();
    for (name, bytes) in read_directory(&root().join("fixtures/tiny_pixtral/hf_bf16")) {
        case.write(&format!("model/{name}"), bytes);
    }
    let image = r#"{"image_patch_size":16,"max_image_size":128,"spatial_merge_size":1}"#;
    case.write("model/tekken.json", tekken_of("v3", 143, image));
    let adapter = root().join("fixtures/tiny_pixtral/lora_all").display().to_string();
    case.write("phrasings.txt", "{prompt}\nab: {prompt}\n");
    let args = [
        "evaluate",
        "data.jsonl",
        "--model",
        "model",
        "--adapter",
        &adapter,
        "--compare",
        "base",
        "--out",
        "out",
        "--max-tokens",
        "4",
        "--metric",
        "relaxed",
        "--phrasings",
        "phrasings.txt",
    ];
    case.run(&args).ends(0);
    let found = scores(&case, "out");
    assert_eq!(text(&found, "/model/answers"), "10");
    assert_eq!(text(&found, "/model/phrasings/1/phrasing"), "ab: {prompt}");
    let first = read_directory(&case.path("out"));
    case.run(&args).ends(2).prints("`out` exists already");
    // Only the kept answers can be had: the model's weights are gone.
    fs::remove_file(case.path("model/tekken.json")).unwrap();
    case.run(&[&args[..], &["--resume"]].concat()).ends(2).prints("vocabulary");
    case.write("model/tekken.json", tekken_of("v3", 143, image));
    case.run(&[&args[..], &["--resume", "--threads", "1"]].concat()).ends(0);
    assert!(read_directory(&case.path("out")) == first, "a resumed run wrote other bytes");
}

#[test]
fn predictions_can_have_references_and_be_without_data() {
    let case = case();
    let row = |line: u8, answer: &str, references: &str| {
        format!("{{\"line\":{line},\"answer\":\"{answer}\",\"answers\":{references}}}\n")
    };
    case.write(
        "answers.jsonl",
        row(5, "7", "[\"7\",\"8\"]") + &row(2, "x", "\"y\"") + "{\"line\":1,\"answer\":\"6\"}\n",
    );
    case.run(&[SCORE, &["--limit", "2"]].concat()).ends(0);
    assert_eq!(text(&scores(&case, "out"), "/model/score"), "0.5");
    let args = ["evaluate", "--predictions", "answers.jsonl", "--metric", "relaxed", "--out", "alone"];
    case.run(&args).ends(1).prints("answers.jsonl:3: the sample has no reference answer");
    let found = scores(&case, "alone");
    assert_eq!((text(&found, "/model/score"), text(&found, "/data/samples")), ("0.5".into(), "2".into()));
    case.write("empty.jsonl", "");
    let empty = ["evaluate", "data.jsonl", "--predictions", "empty.jsonl", "--out", "none"];
    case.run(&empty).ends(2).prints("`empty.jsonl` gave no answer to 5 samples");
    case.run(&["evaluate", "--predictions", "empty.jsonl", "--out", "none"])
        .ends(2)
        .prints("has no sample that can be evaluated");
}
