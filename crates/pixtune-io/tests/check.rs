//! The verdict of `check` is that of mistral-common 1.13.1, and hostile lines cost little.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use pixtune_core::diagnostic::Severity;
use pixtune_core::json::{self, Value};
use pixtune_core::rules::STRICTER_THAN_REFERENCE;
use pixtune_core::spec::PIXTRAL_12B;
use pixtune_core::target;
use pixtune_core::tokens::{ChatEncoder, Layout};
use pixtune_io::base64;
use pixtune_io::check::{Checker, ImagesFrom, Selection};
use pixtune_io::image::{Limits, Rgb, encode_png};
use pixtune_io::read::Row;
use pixtune_io::verify::Verify;

fn checker(verify: Verify) -> Checker<'static> {
    let target = target::MISTRAL;
    let encoder = ChatEncoder::new(&PIXTRAL_12B, Layout::MistralCommon);
    Checker {
        encoder,
        target,
        verify,
        measure: false,
        limits: Limits::of_target(&target),
        selection: Selection::of(&target),
        excerpts: true,
        fetching: None,
        images_from: ImagesFrom::Anywhere,
    }
}

#[test]
fn columns_count_characters() {
    let columns = |text: &str| -> Vec<Option<u64>> {
        let line = format!(
            r#"{{"messages":[{{"role":"user","content":"{text}"}},{{"role":"nobody","content":"a"}}],"x":1}}"#
        );
        let checked = checker(Verify::Header).check(Path::new("."), &Row::whole(line));
        checked.findings.iter().map(|(_, column, _)| *column).collect()
    };
    let ascii = columns("abc d");
    assert!(ascii.iter().flatten().any(|column| *column > 40), "{ascii:?}");
    assert_eq!(columns("日本語 é"), ascii);
}

/// The errors of a line, and whether each is one that the reference has not.
fn errors(checker: &Checker<'_>, line: &str) -> Vec<(&'static str, bool)> {
    let findings =
        checker.check(Path::new("."), &Row::whole(line)).findings.into_iter().map(|(finding, ..)| finding);
    findings
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| {
            let stricter = STRICTER_THAN_REFERENCE.iter().any(|(rule, _)| *rule == finding.rule);
            (finding.rule.id, stricter)
        })
        .collect()
}

/// `pool:c32x24.png` stands for any image that is 32 wide and 24 high.
fn with_images(value: &Value<'_>) -> Value<'static> {
    match value.clone().into_owned() {
        Value::String(text) => match text.strip_prefix("pool:") {
            Some(name) => Value::String(image(name).into()),
            None => Value::String(text),
        },
        Value::Array(values) => Value::Array(values.iter().map(with_images).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, with_images(&value))).collect())
        }
        other => other,
    }
}

fn image(name: &str) -> String {
    let size = name.strip_prefix('c').and_then(|name| name.split_once('.')).unwrap().0;
    let (width, height) = size.split_once('x').unwrap();
    let (width, height): (usize, usize) = (width.parse().unwrap(), height.parse().unwrap());
    let rgb = Rgb { width, height, pixels: vec![90; width * height * 3] };
    let mut uri = b"data:image/png;base64,".to_vec();
    base64::encode(&encode_png(&rgb), &mut uri);
    String::from_utf8(uri).unwrap()
}

fn vectors(name: &str) -> Vec<Value<'static>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors").join(name);
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| json::parse(line).unwrap().value.into_owned()).collect()
}

fn agrees(name: &str, found: &[(&str, bool)], reference_refuses: bool) {
    if reference_refuses {
        assert!(!found.is_empty(), "{name}: the reference refuses it, check does not");
    } else {
        assert!(found.iter().all(|(_, stricter)| *stricter), "{name}: the reference takes it: {found:?}");
    }
}

#[test]
fn the_verdict_is_that_of_mistral_common() {
    for verify in [Verify::Header, Verify::Full] {
        let checker = checker(verify);
        let mut stricter = 0;
        for row in vectors("invalid.jsonl.gz") {
            let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap();
            let found = errors(&checker, &with_images(row.get("request").unwrap()).to_string());
            let refuses = text("verdict") == "error";
            agrees(&format!("{} {}", text("key"), text("cat")), &found, refuses);
            stricter += usize::from(!refuses && !found.is_empty());
        }
        assert_eq!(stricter, STRICTER_ROWS, "rows at which check is stricter on purpose");
    }
}

/// Empty user turns, and answers that all have weight 0.
const STRICTER_ROWS: usize = 4;

#[test]
fn chats_that_are_encoded_have_no_errors() {
    let checker = checker(Verify::Header);
    for row in vectors("chats.jsonl.gz") {
        let mut request = vec![("messages".into(), with_images(row.get("messages").unwrap()))];
        if let Some(tools) = row.get("tools") {
            request.push(("tools".into(), tools.clone()));
        }
        let name = row.get("key").and_then(Value::as_str).unwrap();
        let refuses = row.get("finetuning").unwrap().get("error").is_some();
        agrees(name, &errors(&checker, &Value::Object(request).to_string()), refuses);
    }
}

#[track_caller]
fn is_quick(line: &str, expected: &str) {
    let start = Instant::now();
    let found = errors(&checker(Verify::Header), line);
    assert!(found.iter().any(|(rule, _)| *rule == expected), "{expected}: {found:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn hostile_lines_cost_little() {
    let answer = r#"{"role":"assistant","content":"a"}"#;
    is_quick(&"[".repeat(100_000), "json-syntax");
    is_quick(&"{\"a\":".repeat(100_000), "json-syntax");
    is_quick(&format!("{{\"{}\":1}}", "k".repeat(10_000_000)), "unknown-key");
    let keys: String = (0..200_000).map(|n| format!("\"k{n}\":null,")).collect();
    is_quick(&format!("{{{keys}\"messages\":[{answer}]}}"), "null-key");
    is_quick(&format!("{{\"messages\":[{}1]}}", "1,".repeat(500_000)), "unknown-role");
    let users = r#"{"role":"user","content":""},"#.repeat(100_000);
    is_quick(&format!("{{\"messages\":[{users}{answer}]}}"), "empty-prompt");
    let calls: Vec<String> = (0..50_000)
        .map(|n| format!(r#"{{"id":"aaaaaaaaa","function":{{"name":"f{n}","arguments":"["}}}}"#))
        .collect();
    let calls = calls.join(",");
    is_quick(
        &format!(r#"{{"messages":[{answer},{{"role":"assistant","tool_calls":[{calls}]}},{answer}]}}"#),
        "tool-results",
    );
    is_quick(&format!("{{\"a\":\"{}\"}}", "[INST]Ã".repeat(1_000_000)), "unknown-key");
    let text = "<[Ã©â".repeat(1_000_000);
    is_quick(&format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#), "last-not-assistant");
}
