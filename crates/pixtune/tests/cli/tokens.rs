//! `tokens` from outside.

use std::io::Write as _;
use std::process::Stdio;

use crate::harness::{Case, Run, at, png_header, text};

const GOOD: &str =
    r#"{"messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"world"}]}"#;

fn data_uri(width: u32, height: u32) -> String {
    let mut uri = b"data:image/png;base64,".to_vec();
    pixtune_io::base64::encode(&png_header(width, height), &mut uri);
    String::from_utf8(uri).unwrap()
}

/// A line with images that are only headers.
fn images_line(width: u32, height: u32, count: usize) -> String {
    let part = format!(r#"{{"type":"image_url","image_url":"{}"}}"#, data_uri(width, height));
    let parts = vec![part; count].join(",");
    format!(r#"{{"messages":[{{"role":"user","content":[{parts}]}},{{"role":"assistant","content":"a"}}]}}"#)
}

fn text_line(text: &str) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":"{text}"}},{{"role":"assistant","content":"world"}}]}}"#
    )
}

fn answers(run: &Run) -> Vec<pixtune_core::json::Value<'static>> {
    run.stdout.lines().map(|line| pixtune_core::json::parse(line).unwrap().value.into_owned()).collect()
}

#[test]
fn counts_ids_and_runs_match_the_reference() {
    let case = Case::new();
    case.write("rows.jsonl", format!("{GOOD}\n\n{}\n", images_line(3000, 2000, 1)));
    let run = case.run(&["tokens", "rows.jsonl", "--ids"]).ends(0);
    assert_eq!(
        run.stdout.lines().next().unwrap(),
        r#"{"line":1,"tokens":6,"text_tokens":6,"image_tokens":0,"trained_tokens":2,"images":[],"ids":[1,3,29706,4,34049,2],"trained_runs":[[0,4],[1,2]]}"#
    );
    let image = &answers(&run)[1];
    assert_eq!(at(image, "/line").to_string(), "3");
    assert_eq!(
        at(image, "/images/0").to_string(),
        r#"{"width":3000,"height":2000,"columns":64,"rows":43,"tokens":2795}"#
    );
}

#[test]
fn reports_refused_samples_and_continues() {
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
    case.run(&["tokens", "rows.jsonl"]).ends(1).prints("error[json-syntax]: rows.jsonl:2");
}

#[test]
fn prepared_directory_stands_for_its_files_as_in_check() {
    let case = Case::new();
    case.write("set/train.jsonl", format!("{GOOD}\n"));
    case.write("set/validation.jsonl", format!("{GOOD}\n{GOOD}\n"));
    case.write("set/rejected.jsonl", "{\n");
    let run = case.run(&["tokens", "set", "--format", "json"]).ends(0);
    let files: Vec<String> = answers(&run).iter().map(|answer| text(answer, "/file")).collect();
    assert_eq!(files, ["set/train.jsonl", "set/validation.jsonl", "set/validation.jsonl"]);
    case.write("none/readme.txt", "x");
    case.run(&["tokens", "none"]).ends(2).prints("none");
    case.write("rows.csv", "a,b\n");
    case.run(&["tokens", "rows.csv"]).ends(2).prints("rows.csv");
}

#[test]
fn reads_sizes_and_texts_line_by_line() {
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
    case.run(&["tokens", "--sizes", "sizes.txt"]).ends(2).prints("`512` is not a size");
    case.run(&["tokens", "--image", "0x5"]).ends(2).prints("`0x5` is not a size");
}

#[test]
fn other_models_have_other_grids_and_name_the_origin_of_their_tokens() {
    let case = Case::new();
    let run = case.run(&["tokens", "--image", "1540x1540", "--model", "mistral-small-3.2"]).ends(0);
    assert!(run.stdout.contains("3,080 tokens"), "{}", run.stdout);
    case.write("rows.jsonl", GOOD);
    let origin = "the special tokens of tokenizer v11 are from published tables";
    case.run(&["tokens", "rows.jsonl", "--model", "mistral-small-3.2"]).ends(0).prints(origin);
    let json =
        |model| case.run(&["tokens", "rows.jsonl", "--model", model, "--format", "json"]).ends(0).stdout;
    let noted = json("mistral-small-3.2");
    assert!(noted.contains("\"special_tokens\":\"from published tables\""), "{noted}");
    for model in ["pixtral-12b", "pixtral-large"] {
        assert!(!json(model).contains("special_tokens"), "{model} is built in from its file");
    }
}

#[test]
fn half_of_a_surrogate_pair_is_rejected_by_sentencepiece_alone() {
    let case = Case::new();
    case.write(
        "rows.jsonl",
        r#"{"messages":[{"role":"user","content":"\ud800"},{"role":"assistant","content":"a"}]}"#,
    );
    case.run(&["tokens", "rows.jsonl", "--model", "ministral-3-3b"]).ends(0).prints("U+FFFD");
    let why = "unpaired surrogate, which the model's tokenizer cannot encode";
    case.run(&["tokens", "rows.jsonl", "--model", "pixtral-large"]).ends(1).prints(why);
    let run = case.run(&["check", "rows.jsonl", "--model", "pixtral-large"]).ends(1);
    assert!(run.stdout.contains("error[invalid-utf8]"), "{}", run.stdout);
}

#[test]
fn reports_damaged_tokenizer() {
    let case = Case::new();
    case.write("rows.jsonl", GOOD);
    case.write("tekken.json", "{\"config\":{}}");
    case.run(&["tokens", "rows.jsonl", "--tokenizer", "tekken.json"]).ends(2).prints("`tekken.json`: ");
    case.run(&["tokens", "missing.jsonl"]).ends(2).prints("cannot read `missing.jsonl`");
    case.run(&["tokens"]).ends(2);
}

#[test]
fn closed_pipe_is_not_an_error() {
    let case = Case::new();
    case.write("rows.jsonl", format!("{GOOD}\n").repeat(20_000));
    let mut child =
        case.command(&["tokens", "rows.jsonl", "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn reads_standard_input() {
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

#[test]
fn warns_about_thin_image_and_lone_surrogate() {
    let case = Case::new();
    let surrogate = text_line(r"\ud800");
    case.write("rows.jsonl", format!("{}\n{surrogate}\n{GOOD}\n", images_line(1, 10_000, 1)));
    let run = case.run(&["tokens", "rows.jsonl", "--format", "json"]).ends(0);
    let answers = answers(&run);
    assert_eq!(at(&answers[0], "/tokens").to_string(), "133");
    assert_eq!(text(&answers[0], "/warnings/0/rule"), "image-too-thin");
    assert_eq!(text(&answers[0], "/warnings/0/pointer"), "/messages/0/content/0/image_url");
    assert_eq!(text(&answers[1], "/warnings/0/rule"), "json-lone-surrogate");
    assert!(answers[2].get("warnings").is_none());
    let run = case.run(&["tokens", "rows.jsonl"]).ends(0);
    run.prints("warning[image-too-thin]: rows.jsonl:1").prints("warning[json-lone-surrogate]: rows.jsonl:2");
    let run = case.run(&["tokens", "--image", "1x100000"]).ends(0);
    assert!(run.stdout.contains("image-too-thin"), "{}", run.stdout);
    let run = case.run(&["tokens", "--image", "1x100000", "--format", "json"]).ends(0);
    assert!(run.stdout.contains(r#""warnings":[{"rule":"image-too-thin"}]"#), "{}", run.stdout);
}

#[test]
fn reads_escaped_control_characters_as_text() {
    let case = Case::new();
    let raw = text_line("\0");
    case.write("rows.jsonl", format!("{}\n{raw}\n", text_line(r"a\u0000b")));
    let run = case.run(&["tokens", "rows.jsonl", "--ids"]).ends(1);
    let answers = answers(&run);
    // <s> [INST] a NUL b [/INST] world </s>
    assert_eq!(at(&answers[0], "/ids").to_string(), "[1,3,1097,1000,1098,4,34049,2]");
    assert_eq!(text(&answers[1], "/refused/rule"), "json-syntax");
}

#[test]
fn counts_ten_thousand_images_and_very_long_words() {
    let case = Case::new();
    let endless = text_line(&"a".repeat(3_000_000));
    case.write("rows.jsonl", format!("{}\n{endless}\n", images_line(1024, 1024, 10_000)));
    let run = case.run(&["tokens", "rows.jsonl", "--format", "json"]).ends(0);
    let answers = answers(&run);
    assert_eq!(at(&answers[0], "/image_tokens").to_string(), "41600000");
    assert_eq!(at(&answers[0], "/images").as_array().unwrap().len(), 10_000);
    assert_eq!(at(&answers[1], "/image_tokens").to_string(), "0");
}

#[test]
fn rejects_invalid_base64_after_a_valid_header() {
    let case = Case::new();
    let whole = images_line(3000, 2000, 1);
    let long = whole.replace("\"}]},", &format!("{}\"}}]}},", "AAAA".repeat(40_000)));
    let short_of_one = whole.replace("\"}]},", &format!("{}AAA\"}}]}},", "AAAA".repeat(40_000)));
    case.write("rows.jsonl", format!("{long}\n{short_of_one}\n"));
    let run = case.run(&["tokens", "rows.jsonl", "--format", "json"]).ends(1);
    let answers = answers(&run);
    assert_eq!(at(&answers[0], "/image_tokens").to_string(), "2795");
    assert_eq!(text(&answers[1], "/refused/rule"), "image-bad-data-uri");
}

#[test]
fn histogram_marks_the_end_of_the_context() {
    let case = Case::new();
    case.write("rows.jsonl", format!("{GOOD}\n{}\n", images_line(1024, 1024, 40)));
    let run = case.run(&["tokens", "rows.jsonl"]).ends(0);
    let bars: Vec<&str> = run.stdout.lines().rev().take(2).collect();
    assert!(bars[0].contains("≤ 262,144") && bars[1].contains("131,072  context "), "{}", run.stdout);
}
