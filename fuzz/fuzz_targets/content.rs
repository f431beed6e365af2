//! Content under any key: the run stops, the row is rejected, or the sample has it. It never disappears.
#![no_main]
use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pixtune_core::columns::{ColumnChoice, RowOptions};
use pixtune_core::content;
use pixtune_core::diagnostic::Severity;
use pixtune_core::json::{self, Value};
use pixtune_io::read::{Schema, TextChoice, discover};

/// A word that no other part of a row has.
const MARK: &str = "zqxjv";

const BASES: [&str; 7] = [
    r#""image":"a.jpg","question":"q","answer":"a""#,
    r#""prompt":"p","completion":"c""#,
    r#""messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]"#,
    r#""image":"a.jpg","conversations":[{"from":"human","value":"<image>q"},{"from":"gpt","value":"a"}]"#,
    r#""instruction":"i","input":"","output":"o""#,
    r#""query":"q","response":"r","history":[["q","r"]]"#,
    r#""images":["a.jpg"],"texts":[{"user":"q","assistant":"a"}]"#,
];

/// Keys of responses that are not wanted: they are never trained, and the file's note names them.
const REFUSED: [&str; 5] =
    ["rejected", "rejected_response", "rejected_messages", "rejected_images", "non_preferred_output"];

/// Where a reading may have put what is not in the sample: responses that are not wanted, and further references.
fn is_known(schema: &Schema, row: &Value<'_>) -> bool {
    let columns = schema.columns.iter().flat_map(|columns| columns.refused.iter().chain(&columns.references));
    columns
        .map(String::as_str)
        .chain(REFUSED)
        .any(|key| row.get(key).is_some_and(|value| value.to_string().contains(MARK)))
}

// The input is text: a line with a digit for the base, and `+` if the key is in the first row; a line with the key; the value.
fuzz_target!(|input: &str| {
    let mut lines = input.splitn(3, '\n');
    let (Some(first), Some(name), Some(value)) = (lines.next(), lines.next(), lines.next()) else { return };
    let is_first = first.ends_with('+');
    let base = first.bytes().next().map_or(0, |digit| usize::from(digit.wrapping_sub(b'0')));
    let Ok(parsed) = json::parse(value) else { return };
    let text = parsed.value.to_string();
    // Without the mark nothing can be found again, and what is not content may disappear.
    if !text.contains(MARK) || content::held(name, &parsed.value).is_none() || text.contains('\u{fffd}') {
        return;
    }
    let base = BASES[base % BASES.len()];
    let key = json::quoted(name);
    if base.contains(&format!("{key}:")) {
        return;
    }
    let with = format!("{{{base},{key}:{text}}}");
    let rows = if is_first { with } else { format!("{{{base}}}\n{with}") };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("rows.jsonl");
    fs::write(&path, rows).expect("a written file");
    let Ok(inputs) = discover(&[path.display().to_string()], Path::new("-"), &TextChoice::default()) else {
        return;
    };
    let Ok(schema) = Schema::detect(&inputs[0], &ColumnChoice::default(), 1 << 20) else { return };
    let mut reader = inputs[0].open(0, 1 << 20).expect("a file that was read");
    while let Ok(Some((_, row))) = reader.next_row() {
        if !String::from_utf8_lossy(&row.bytes).contains(MARK) {
            continue;
        }
        let Ok(reading) = schema.read(&row, RowOptions::default()) else { continue };
        let is_rejected = reading.findings.iter().any(|finding| finding.severity == Severity::Error);
        let is_kept = format!("{:?}", (&reading.sample, &reading.regions)).contains(MARK);
        let written = String::from_utf8_lossy(&row.bytes);
        let value = json::parse(&written).expect("a row that was read").value;
        assert!(is_rejected || is_kept || is_known(&schema, &value), "{written}");
    }
});
