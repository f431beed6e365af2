//! Example responses: how they change while a model is trained.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pixtune_core::text::{counted, grouped};
use pixtune_io::report::page::{Section, escape, escape_start};

use crate::examples::ExampleRecord;

/// So many characters of a text are shown.
const SHOWN: usize = 600;
/// So many samples are shown.
const SAMPLES: usize = 64;
/// So many responses to one sample are shown: the first, and the last ones.
const RESPONSES: usize = 8;

/// The section; `None` without examples.
pub(super) fn section(examples: &[ExampleRecord]) -> Option<Section> {
    let mut samples: BTreeMap<(&str, u64), Vec<&ExampleRecord>> = BTreeMap::new();
    for record in examples {
        samples.entry((&record.file, record.line)).or_default().push(record);
    }
    if samples.is_empty() {
        return None;
    }
    let mut body = String::from(
        "<p class=\"note\">The most likely response to the same samples of the validation split at every evaluation. Green: the same text as the reference.</p>",
    );
    let more = samples.len().saturating_sub(SAMPLES);
    for ((file, line), records) in samples.into_iter().take(SAMPLES) {
        let _ = write!(
            body,
            "<div class=\"panel result\"><h3>{}:{line}</h3><dl><div><dt>prompt</dt><dd>{}</dd></div><div class=\"good\"><dt>reference</dt><dd>{}</dd></div>",
            escape(file),
            escape_start(&records[0].prompt, SHOWN),
            escape_start(&records[0].reference, SHOWN)
        );
        let omitted = records.len().saturating_sub(RESPONSES);
        for (index, record) in records.iter().enumerate() {
            if (1..=omitted).contains(&index) {
                if index == 1 {
                    let _ =
                        write!(body, "<p class=\"more\">… {} more evaluations</p>", grouped(omitted as u64));
                }
                continue;
            }
            response(record, &mut body);
        }
        body.push_str("</dl></div>");
    }
    if more > 0 {
        let more = counted(more as u64, "sample");
        let _ = write!(body, "<p class=\"more\">… {more} more; samples.jsonl has all responses</p>");
    }
    Some(Section { id: "responses", title: "Example responses", body })
}

fn response(record: &ExampleRecord, body: &mut String) {
    let when = match record.step {
        0 => "before training".to_owned(),
        step => format!("step {}", grouped(step)),
    };
    let class = if record.response.trim() == record.reference { " class=\"good\"" } else { "" };
    let text = match record.response.trim() {
        "" => "<span class=\"more\">an empty response</span>".to_owned(),
        text => escape_start(text, SHOWN),
    };
    let score =
        record.score.map_or(String::new(), |score| format!("<span class=\"more\"> score {score:.4}</span>"));
    let end = if record.is_complete { "" } else { "<span class=\"more\"> … not ended</span>" };
    let _ = write!(body, "<div{class}><dt>{when}</dt><dd>{text}{end}{score}</dd></div>");
}
