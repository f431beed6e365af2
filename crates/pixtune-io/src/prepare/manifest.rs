//! What a run came to, and the manifest that says so.

use std::collections::BTreeMap;

use pixtune_core::curate::{Decision, Repeat, Verdict};
use pixtune_core::json::{self, Value, quoted};
use pixtune_core::rules;
use pixtune_core::spec::Exactness;

use super::plan::portable_name;
use super::spool::Segment;
use super::{Plan, Scanned, Summary};
use crate::read::Fingerprint;

/// The name of the file.
pub(super) const MANIFEST: &str = "manifest.json";

/// Counts what was decided.
pub(super) fn summarize(scanned: &Scanned, decision: &Decision) -> Summary {
    let mut summary =
        Summary { rows: scanned.records.rows().len() as u64, resumed: scanned.resumed, ..Summary::default() };
    let mut lengths = Vec::new();
    for (row, verdict) in scanned.records.rows().iter().zip(&decision.verdicts) {
        match verdict {
            Verdict::Train => summary.train += 1,
            Verdict::Validation => summary.validation += 1,
            Verdict::Rejected => summary.rejected += 1,
            Verdict::Duplicate(_) => {
                summary.rejected += 1;
                summary.duplicates += 1;
            }
            Verdict::Outlier(_) => summary.rejected += 1,
        }
        if matches!(verdict, Verdict::Train | Verdict::Validation) {
            summary.images += u64::from(row.images);
            summary.shrunk += u64::from(row.shrunk);
            summary.tokens += u64::from(row.tokens);
            summary.image_tokens += u64::from(row.image_tokens);
            summary.trained_tokens += u64::from(row.trained_tokens);
            summary.max_tokens = summary.max_tokens.max(row.tokens);
            summary.max_bytes = summary.max_bytes.max(row.bytes);
            lengths.push(row.tokens);
        }
    }
    let middle = lengths.len() / 2;
    summary.median_tokens = if lengths.is_empty() { 0 } else { *lengths.select_nth_unstable(middle).1 };
    let named = |counts: &BTreeMap<u16, u64>| -> BTreeMap<String, u64> {
        counts.iter().map(|(rule, count)| (rules::ALL[usize::from(*rule)].id.to_owned(), *count)).collect()
    };
    summary.findings = named(&scanned.findings);
    summary.rejected_by_rule = named(&scanned.rejected_by_rule);
    for verdict in &decision.verdicts {
        let rule = match verdict {
            Verdict::Duplicate(Repeat { near: None, .. }) => &rules::DUPLICATE,
            Verdict::Duplicate(Repeat { near: Some(_), .. }) => &rules::NEAR_DUPLICATE,
            Verdict::Outlier(place) => decision.outliers[*place].rule,
            _ => continue,
        };
        *summary.rejected_by_rule.entry(rule.id.to_owned()).or_default() += 1;
    }
    summary
}

/// The manifest of a run.
pub(super) fn manifest(
    plan: &Plan,
    scanned: &Scanned,
    summary: &Summary,
    outputs: &[(String, Segment)],
) -> String {
    let inputs = plan.inputs.iter().zip(&scanned.inputs).map(|(planned, Fingerprint { bytes, blake3 })| {
        format!(
            "{{\"path\": {}, \"bytes\": {bytes}, \"blake3\": \"{blake3}\"}}",
            quoted(portable_name(&planned.input.name))
        )
    });
    let outputs = outputs.iter().map(|(name, Segment { bytes, lines, blake3, .. })| {
        format!(
            "{{\"path\": {}, \"bytes\": {bytes}, \"lines\": {lines}, \"blake3\": \"{blake3}\"}}",
            quoted(name)
        )
    });
    let findings = summary.findings.iter().map(|(rule, count)| format!("{}: {count}", quoted(rule)));
    let list = |items: Vec<String>| items.join(",\n    ");
    let estimate = match plan.scanner.encoder().exactness() {
        Exactness::Exact => String::new(),
        Exactness::Estimate(why) => format!(", \"estimate\": {}", quoted(why)),
    };
    let Summary {
        rows,
        train,
        validation,
        rejected,
        duplicates,
        tokens,
        image_tokens,
        trained_tokens,
        max_tokens,
        ..
    } = summary;
    format!(
        "{{\n  \"pixtune\": {},\n  \"plan\": {},\n  \"inputs\": [\n    {}\n  ],\n  \"outputs\": [\n    {}\n  ],\n  \
         \"counts\": {{\"rows\": {rows}, \"train\": {train}, \"validation\": {validation}, \"rejected\": {rejected}, \"duplicates\": {duplicates}}},\n  \
         \"tokens\": {{\"total\": {tokens}, \"image\": {image_tokens}, \"trained\": {trained_tokens}, \"max_sample\": {max_tokens}{estimate}}},\n  \
         \"findings\": {{{}}}\n}}\n",
        quoted(env!("CARGO_PKG_VERSION")),
        plan.to_json(),
        list(inputs.collect()),
        list(outputs.collect()),
        findings.collect::<Vec<_>>().join(", "),
    )
}

/// What a finished run's manifest still tells of it.
pub(super) fn summary_of(manifest: &str) -> Option<Summary> {
    let parsed = json::parse(manifest).ok()?;
    let number = |group: &str, key: &str| -> u64 {
        match parsed.value.get(group).and_then(|group| group.get(key)) {
            Some(Value::Number(text)) => text.parse().unwrap_or(0),
            _ => 0,
        }
    };
    let mut summary = Summary {
        rows: number("counts", "rows"),
        train: number("counts", "train"),
        validation: number("counts", "validation"),
        rejected: number("counts", "rejected"),
        duplicates: number("counts", "duplicates"),
        tokens: number("tokens", "total"),
        image_tokens: number("tokens", "image"),
        trained_tokens: number("tokens", "trained"),
        max_tokens: u32::try_from(number("tokens", "max_sample")).unwrap_or(u32::MAX),
        ..Summary::default()
    };
    summary.resumed = summary.rows;
    Some(summary)
}
