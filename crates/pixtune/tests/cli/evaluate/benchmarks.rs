//! Published benchmarks: `fixtures/benchmarks` has a tiny file in each of their layouts, made by its `make.py`.

use std::fs;

use super::{scores, text};
use crate::harness::{Case, at};

/// A case with a file of the benchmark and predictions for its samples.
fn case(file: &str, answers: &[(&str, &str)]) -> Case {
    let case = Case::new();
    case.fixture(file, &format!("../benchmarks/{file}"));
    let line = |(id, answer): &(&str, &str)| format!("{{\"id\":\"{id}\",\"answer\":\"{answer}\"}}\n");
    case.write("answers.jsonl", answers.iter().map(line).collect::<String>());
    case
}

fn evaluate(case: &Case, file: &str, benchmark: &str, more: &[&str]) -> crate::harness::Run {
    let args = [
        "evaluate",
        file,
        "--benchmark",
        benchmark,
        "--predictions",
        "answers.jsonl",
        "--out",
        "out",
        "--force",
    ];
    case.run(&[&args[..], more].concat())
}

/// Prompt and references of every sample.
fn samples(case: &Case) -> Vec<(String, Vec<String>)> {
    let lines = case.lines("out/predictions.jsonl");
    let references = |line| at(line, "/references").as_array().unwrap();
    lines
        .iter()
        .map(|line| {
            let texts = references(line).iter().map(|text| text.as_str().unwrap().to_owned());
            (text(line, "/prompt"), texts.collect())
        })
        .collect()
}

#[test]
fn every_layout_has_its_metric_and_its_references() {
    let ten =
        |text: &str, other: &str| (0..10).map(|n| if n < 6 { text } else { other }.to_owned()).collect();
    for (file, benchmark, answers, metric, variant, references) in [
        (
            "chartqa.parquet",
            "chartqa",
            &[("1", "Final Answer: 6"), ("2", "Final Answer: 12.5%")][..],
            "relaxed",
            "mistral",
            vec!["6".to_owned()],
        ),
        (
            "chartqa-labels.parquet",
            "chartqa",
            &[("1", "Final Answer: 6")],
            "relaxed",
            "mistral",
            vec!["6".to_owned()],
        ),
        (
            "chartqa.tsv",
            "chartqa",
            &[("0", "Final Answer: 6"), ("1", "Final Answer: Blue")],
            "relaxed",
            "mistral",
            vec!["6".to_owned()],
        ),
        (
            "docvqa.parquet",
            "docvqa",
            &[("337", "1 march")],
            "anls",
            "mistral",
            vec!["March 1".to_owned(), "1 March".to_owned()],
        ),
        ("infovqa.parquet", "infovqa", &[("98313", "Blue")], "anls", "mistral", vec!["blue".to_owned()]),
        ("vqav2.parquet", "vqav2", &[("262148000", "net")], "vqa", "mistral", ten("net", "fence")),
        (
            "mathvista.parquet",
            "mathvista",
            &[("1", "Final Answer: 1.2"), ("2", "Final Answer: B")],
            "relaxed",
            "mistral",
            vec!["1.2".to_owned()],
        ),
        (
            "mmmu.parquet",
            "mmmu",
            &[("validation_Accounting_1", "Final Answer: B"), ("validation_Art_2", "Final Answer: cubist")],
            "relaxed",
            "mistral",
            vec!["B".to_owned()],
        ),
        ("mmmu.tsv", "mmmu", &[("1", "Final Answer: B")], "relaxed", "mistral", vec!["B".to_owned()]),
    ] {
        let case = case(file, answers);
        evaluate(&case, file, benchmark, &[]).ends(0);
        let found = scores(&case, "out");
        assert_eq!(text(&found, "/metric/name"), metric, "{file}");
        assert_eq!(text(&found, "/metric/variant"), variant, "{file}");
        assert_eq!(text(&found, "/model/score").parse::<f64>().unwrap(), 1.0, "{file}");
        assert_eq!(samples(&case)[0].1, references, "{file}");
        let written = fs::read_dir(case.path("out/benchmark")).unwrap().count();
        assert!(written >= 2, "{file}: no image beside the samples");
        let page = case.read("out/report.html");
        assert!(page.contains("data:image/"), "{file}: the report shows no image");
    }
}

#[test]
fn ten_answers_are_compared_by_each_variant() {
    let answers = [("34602", "nous")];
    for (variant, expected) in [("mistral", 1.0), ("lmms", 1.0), ("official", 1.0)] {
        let case = case("textvqa.parquet", &answers);
        evaluate(&case, "textvqa.parquet", "textvqa", &["--variant", variant]).ends(0);
        let found = scores(&case, "out");
        assert_eq!(text(&found, "/metric/variant"), variant);
        assert_eq!(text(&found, "/model/score").parse::<f64>().unwrap(), expected);
    }
}

#[test]
fn the_variant_decides_what_a_prompt_ends_with() {
    let prompt = |more: &[&str]| {
        let case = case("chartqa.parquet", &[("1", "6"), ("2", "12.5%")]);
        case.write("own.txt", "Just the answer.\n");
        evaluate(&case, "chartqa.parquet", "chartqa", more).ends(0);
        samples(&case).swap_remove(0).0
    };
    assert!(prompt(&[]).contains("\nFinal Answer: <answer>\n"), "{}", prompt(&[]));
    assert_eq!(prompt(&["--variant", "lmms"]), "How many bars are there?\nReply with a single word.");
    assert_eq!(prompt(&["--variant", "official"]), "How many bars are there?");
    assert_eq!(prompt(&["--instructions", "own.txt"]), "How many bars are there?\nJust the answer.");
}

#[test]
fn options_and_images_are_in_the_prompt() {
    let case = case("mmmu.parquet", &[("validation_Accounting_1", "B"), ("validation_Art_2", "Cubism")]);
    evaluate(&case, "mmmu.parquet", "mmmu", &["--variant", "official"]).ends(0);
    let samples = case.lines("out/benchmark/samples.jsonl");
    let content = at(&samples[0], "/messages/0/content").as_array().unwrap();
    let kinds: Vec<&str> = content.iter().map(|part| part.text("type").unwrap()).collect();
    assert_eq!(kinds, ["image_url", "text", "image_url", "text"]);
    assert_eq!(
        text(&samples[0], "/messages/0/content/3/text"),
        ": which is larger?\nA. $6\nB. the \"second\""
    );
    assert_eq!(text(&samples[0], "/choices/1"), "the \"second\"");
    assert_eq!(text(&scores(&case, "out"), "/metric/name"), "mcq");
}

#[test]
fn conversations_are_asked_turn_by_turn() {
    let case = case("mm-mt-bench.parquet", &[("1-1", "A gradient."), ("1-2", "red and blue")]);
    evaluate(&case, "mm-mt-bench.parquet", "mm-mt-bench", &[]).ends(0);
    let samples = case.lines("out/benchmark/samples.jsonl");
    assert_eq!(samples.len(), 2);
    assert_eq!(at(&samples[1], "/messages").as_array().unwrap().len(), 3);
    assert_eq!(text(&samples[1], "/messages/1/content/0/text"), "A gradient.");
    assert_eq!(text(&samples[1], "/references/0"), "In red and blue.");
    assert_eq!(text(&samples[1], "/category"), "chart_analysis");
}

#[test]
fn another_dataset_is_refused_and_a_bad_row_is_reported() {
    let case = case("chartqa.parquet", &[("1", "6"), ("2", "12.5%")]);
    let refused = evaluate(&case, "chartqa.parquet", "mm-mt-bench", &[]).ends(2);
    assert!(refused.stderr.contains("does not have the columns of mm-mt-bench"), "{}", refused.stderr);
    assert!(refused.stderr.contains("`question`"), "{}", refused.stderr);
    assert!(!case.path("out").exists());

    let image = fs::read(crate::harness::root().join("fixtures/images/grad_64x48.png")).unwrap();
    let mut coded = Vec::new();
    pixtune_io::base64::encode(&image, &mut coded);
    let coded = String::from_utf8(coded).unwrap();
    let rows = format!(
        "index\timage\tquestion\tanswer\n1\t{coded}\tHow many?\t6\n2\t{coded}\tHow many?\t\n3\tgone.png\tHow many?\t6\n4\thttps://example.com/x.png\tHow many?\t6\n"
    );
    case.write("bad.tsv", rows);
    let run = evaluate(&case, "bad.tsv", "chartqa", &[]).ends(1);
    for message in ["bad.tsv:3", "`answers` or `answer` or `label`", "gone.png", "nothing is downloaded"] {
        assert!(run.stderr.contains(message), "{message}: {}", run.stderr);
    }
    // Three rows, and the prediction for one of them.
    assert_eq!(text(&scores(&case, "out"), "/data/invalid"), "4");
}
