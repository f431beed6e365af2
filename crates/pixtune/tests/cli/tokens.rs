//! `tokens` from outside.

use std::io::Write as _;
use std::process::Stdio;

use crate::harness::{Case, Run, at, text};

const GOOD: &str =
    r#"{"messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"world"}]}"#;

/// A line with a picture that is only a header: 3000 pixels wide and 2000 high.
fn picture_line() -> String {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x0b\xb8\0\0\x07\xd0\x08\x02\0\0\0".to_vec();
    png.extend_from_slice(&[0; 64]);
    let mut uri = b"data:image/png;base64,".to_vec();
    pixtune_io::write::base64::encode(&png, &mut uri);
    let uri = String::from_utf8(uri).unwrap();
    format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"{uri}"}}]}},{{"role":"assistant","content":"a"}}]}}"#
    )
}

fn answers(run: &Run) -> Vec<pixtune_core::json::Value<'static>> {
    run.stdout.lines().map(|line| pixtune_core::json::parse(line).unwrap().value.into_owned()).collect()
}

#[test]
fn counts_ids_and_runs_are_those_of_the_reference() {
    let case = Case::new();
    case.write("rows.jsonl", format!("{GOOD}\n\n{}\n", picture_line()));
    let run = case.run(&["tokens", "rows.jsonl", "--ids"]).ends(0);
    assert_eq!(
        run.stdout.lines().next().unwrap(),
        r#"{"line":1,"tokens":6,"text_tokens":6,"image_tokens":0,"trained_tokens":2,"images":[],"ids":[1,3,29706,4,34049,2],"trained_runs":[[0,4],[1,2]]}"#
    );
    let picture = &answers(&run)[1];
    assert_eq!(at(picture, "/line").to_string(), "3");
    assert_eq!(
        at(picture, "/images/0").to_string(),
        r#"{"width":3000,"height":2000,"columns":64,"rows":43,"tokens":2795}"#
    );
}

#[test]
fn what_the_reference_refuses_is_told_and_the_run_goes_on() {
    let case = Case::new();
    let unanswered = r#"{"messages":[{"role":"user","content":"x"}]}"#;
    let path = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"a.png"}]},{"role":"assistant","content":"a"}]}"#;
    let address = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://x/a.png"}]},{"role":"assistant","content":"a"}]}"#;
    case.write("rows.jsonl", format!("{unanswered}\n{{\n{path}\n{address}\n{GOOD}\n"));
    let run = case.run(&["tokens", "rows.jsonl", "--format", "json"]).ends(1);
    let answers = answers(&run);
    let rules: Vec<String> = answers[..4].iter().map(|answer| text(answer, "/refused/rule")).collect();
    assert_eq!(rules[1..], ["json-syntax", "image-bad-data-uri", "image-url"]);
    assert_eq!(at(&answers[4], "/tokens").to_string(), "6");
    case.run(&["tokens", "rows.jsonl"]).ends(1).tells("error[json-syntax]: rows.jsonl:2");
}

#[test]
fn sizes_and_texts_are_read_line_by_line() {
    let case = Case::new();
    case.write("sizes.txt", "512 512\n1 4096\n100000 1\n");
    let run = case.run(&["tokens", "--sizes", "sizes.txt"]).ends(0);
    let tokens: Vec<String> = answers(&run).iter().map(|answer| at(answer, "/tokens").to_string()).collect();
    assert_eq!(tokens, ["1056", "128", "65"]);
    case.write("texts.jsonl", "\"hello\"\n\"[INST]\"\n\"\\ud800\"\n");
    let run = case.run(&["tokens", "--text", "texts.jsonl"]).ends(0);
    assert_eq!(run.stdout.lines().next(), Some(r#"{"line":1,"ids":[29706]}"#));
    assert!(!run.stdout.lines().nth(1).unwrap().contains("[3]"), "text never becomes a special token");
    case.write("sizes.txt", "512\n");
    case.run(&["tokens", "--sizes", "sizes.txt"]).ends(2).tells("`512` is no size");
    case.run(&["tokens", "--image", "0x5"]).ends(2).tells("`0x5` is no size");
}

#[test]
fn other_models_have_other_grids_and_say_what_is_estimated() {
    let case = Case::new();
    let run = case.run(&["tokens", "--image", "1540x1540", "--model", "mistral-small-3.2"]).ends(0);
    assert!(run.stdout.contains("3,080 tokens"), "{}", run.stdout);
    case.write("rows.jsonl", GOOD);
    case.run(&["tokens", "rows.jsonl", "--model", "pixtral-large"]).ends(0).tells("estimate: ");
    let run = case.run(&["tokens", "rows.jsonl", "--model", "pixtral-large", "--format", "json"]).ends(0);
    assert!(run.stdout.contains("\"estimate\":true"), "{}", run.stdout);
}

#[test]
fn a_damaged_tokenizer_is_a_clean_error() {
    let case = Case::new();
    case.write("rows.jsonl", GOOD);
    case.write("tekken.json", "{\"config\":{}}");
    case.run(&["tokens", "rows.jsonl", "--tokenizer", "tekken.json"]).ends(2).tells("`tekken.json`: ");
    case.run(&["tokens", "missing.jsonl"]).ends(2).tells("cannot read `missing.jsonl`");
    case.run(&["tokens"]).ends(2);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let case = Case::new();
    case.write("rows.jsonl", format!("{GOOD}\n").repeat(20_000));
    let mut child =
        case.command(&["tokens", "rows.jsonl", "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn standard_input_is_read() {
    let case = Case::new();
    let mut command = case.command(&["tokens", "-", "--format", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(GOOD.as_bytes()).unwrap();
    assert!(
        String::from_utf8(child.wait_with_output().unwrap().stdout)
            .unwrap()
            .starts_with("{\"line\":1,\"tokens\":6,")
    );
}
