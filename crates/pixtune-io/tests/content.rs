//! Content under keys that nothing uses never disappears: the run stops, the row is rejected, or the sample has it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::fs;
use std::path::Path;

use pixtune_core::columns::{ColumnChoice, RowOptions};
use pixtune_core::diagnostic::Severity;
use pixtune_core::json;
use pixtune_io::read::{Schema, TextChoice, discover};
use proptest::prelude::*;

/// A word that no other part of a row has.
const MARK: &str = "zqxjv";

/// Values that a sample could be made of, with the mark inside.
fn content() -> impl Strategy<Value = String> {
    let text = format!("\"the {MARK} is left of the large door\"");
    let base64 = format!("/9j/{}{MARK}{}", "A".repeat(40), "B".repeat(60));
    prop::sample::select(vec![
        format!("\"images/{MARK}.jpg\""),
        format!("\"https://example.com/{MARK}.png?x=1\""),
        format!("\"data:image/png;base64,iVBORw0KGgo{MARK}\""),
        format!("\"{base64}\""),
        format!("{{\"bytes\":\"{base64}\",\"path\":null}}"),
        format!("{{\"path\":\"{MARK}.webp\"}}"),
        format!("[\"a.jpg\",\"{MARK}.jpg\"]"),
        format!("\"['a.jpg', '{MARK}.jpg']\""),
        format!("\"clips/{MARK}.mp4\""),
        format!("[\"{MARK}.wav\"]"),
        format!(
            "[{{\"role\":\"user\",\"content\":\"{MARK}\"}},{{\"role\":\"assistant\",\"content\":\"b\"}}]"
        ),
        format!("[{{\"from\":\"human\",\"value\":\"{MARK}\"}},{{\"from\":\"gpt\",\"value\":\"b\"}}]"),
        format!("[[\"{MARK}\",\"b\"]]"),
        format!("[\"{MARK}\",\"dog\",\"bird\"]"),
        format!("{{\"image\":{{\"url\":\"https://example.com/{MARK}.jpg\"}}}}"),
        text,
    ])
}

/// Names that say nothing, something, or what another tool calls content.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{3,9}(_[a-z]{2,5})?",
        prop::sample::select(vec![
            "extra",
            "Photo 2",
            "imgUrl",
            "choices",
            "options",
            "history",
            "video",
            "objects",
            "rationale",
            "context",
            "page_image",
            "thumbnail",
            "answers",
            "captions",
            "hint",
            "url",
            "media",
            "attachments",
            "rejected",
            "chosen",
        ])
        .prop_map(str::to_owned),
    ]
}

fn base() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        r#""image":"a.jpg","question":"q","answer":"a""#,
        r#""prompt":"p","completion":"c""#,
        r#""messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#,
        r#""image":"a.jpg","conversations":[{"from":"human","value":"<image>q"},{"from":"gpt","value":"a"}]"#,
        r#""instruction":"i","input":"","output":"o""#,
    ])
}

/// What became of the mark in the rows of a file.
fn outcome(directory: &Path, rows: &[String]) -> Result<(), String> {
    let path = directory.join("rows.jsonl");
    fs::write(&path, rows.join("\n")).unwrap();
    let inputs = discover(&[path.display().to_string()], Path::new("-"), &TextChoice::default()).unwrap();
    let schema = match Schema::detect(&inputs[0], &ColumnChoice::default(), 1 << 20) {
        Ok(schema) => schema,
        Err(_) => return Ok(()),
    };
    let mut reader = inputs[0].open(0, 1 << 20).unwrap();
    while let Some((_, row)) = reader.next_row().unwrap() {
        if !String::from_utf8_lossy(&row.bytes).contains(MARK) {
            continue;
        }
        let reading = match schema.read(&row, RowOptions::default()) {
            Ok(reading) => reading,
            Err(_) => continue,
        };
        let is_rejected = reading.findings.iter().any(|finding| finding.severity == Severity::Error);
        let is_kept = format!("{:?}", (&reading.sample, &reading.regions)).contains(MARK);
        // Responses that are not wanted, and further reference answers beside the one that is trained.
        let columns = schema.columns.as_ref();
        let beside =
            columns.into_iter().flat_map(|columns| columns.refused.iter().chain(&columns.references));
        let value = json::parse(std::str::from_utf8(&row.bytes).unwrap()).unwrap().value;
        let has_mark = |key: &str| value.get(key).is_some_and(|value| value.to_string().contains(MARK));
        let is_known = beside.map(String::as_str).chain(["rejected"]).any(has_mark);
        if !is_rejected && !is_kept && !is_known {
            return Err(String::from_utf8_lossy(&row.bytes).into_owned());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn content_never_disappears(base in base(), name in name(), content in content(), first in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let with = format!("{{{base},{}:{content}}}", json::quoted(&name));
        // The key may be there from the beginning, or only in a later row.
        let rows = if first { vec![with] } else { vec![format!("{{{base}}}"), with] };
        let lost = outcome(directory.path(), &rows);
        prop_assert_eq!(lost, Ok(()));
    }

    #[test]
    fn content_in_messages_never_disappears(name in name(), content in content(), is_user in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let extra = format!(",{}:{content}", json::quoted(&name));
        let (user, assistant) = if is_user { (extra.as_str(), "") } else { ("", extra.as_str()) };
        let row = format!(
            r#"{{"messages":[{{"role":"user","content":"q"{user}}},{{"role":"assistant","content":"a"{assistant}}}]}}"#
        );
        prop_assert_eq!(outcome(directory.path(), &[row]), Ok(()));
    }

    #[test]
    fn content_in_parts_never_disappears(name in name(), content in content(), kind in prop::sample::select(vec!["text", "image_url"])) {
        let directory = tempfile::tempdir().unwrap();
        let value = if kind == "text" { "\"text\":\"q\"" } else { "\"image_url\":\"a.jpg\"" };
        let row = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"{kind}",{value},{}:{content}}}]}},{{"role":"assistant","content":"a"}}]}}"#,
            json::quoted(&name)
        );
        prop_assert_eq!(outcome(directory.path(), &[row]), Ok(()));
    }
}
