//! The summary of a run and its manifest.

use std::collections::BTreeMap;

use pixtune_core::curate::{Decision, Repeat, Verdict};
use pixtune_core::rules;

use super::spool::Segment;
use super::{Preparation, Scanned, Summary};
use crate::manifest::{Counts, InputFile, Manifest, OutputFile, TokenCounts, portable_name};
use crate::read::Fingerprint;

/// Counts what was decided.
pub(super) fn summarize(scanned: &Scanned, decision: &Decision) -> Summary {
    let mut summary =
        Summary { rows: scanned.records.rows().len() as u64, resumed: scanned.resumed, ..Summary::default() };
    let mut lengths = Vec::new();
    for (row, verdict) in scanned.records.rows().iter().zip(&decision.verdicts) {
        match verdict {
            Verdict::Train => summary.train += 1,
            Verdict::Validation => summary.validation += 1,
            Verdict::Test => summary.test += 1,
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
    plan: &Preparation,
    scanned: &Scanned,
    summary: &Summary,
    outputs: &[(String, Segment)],
) -> Manifest {
    let inputs =
        plan.inputs.iter().zip(&scanned.inputs).map(|(planned, Fingerprint { bytes, blake3, version })| {
            let path = portable_name(&planned.input.name).to_owned();
            InputFile { path, bytes: *bytes, blake3: blake3.clone(), version: version.clone() }
        });
    let outputs = outputs.iter().map(|(name, segment)| OutputFile {
        path: name.clone(),
        bytes: segment.bytes,
        lines: segment.lines,
        blake3: segment.blake3.clone(),
    });
    Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        plan: plan.to_value().clone(),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        counts: Counts {
            rows: summary.rows,
            train: summary.train,
            validation: summary.validation,
            test: summary.test,
            rejected: summary.rejected,
            duplicates: summary.duplicates,
        },
        tokens: TokenCounts {
            total: summary.tokens,
            image: summary.image_tokens,
            trained: summary.trained_tokens,
            max_sample: u64::from(summary.max_tokens),
            special_tokens: plan.scanner.encoder().special_tokens().map(str::to_owned),
        },
        findings: summary.findings.clone(),
    }
}

/// The summary of a finished run, as far as its manifest has it.
pub(super) fn summary_of(Manifest { counts, tokens, .. }: &Manifest) -> Summary {
    Summary {
        rows: counts.rows,
        train: counts.train,
        validation: counts.validation,
        test: counts.test,
        rejected: counts.rejected,
        duplicates: counts.duplicates,
        tokens: tokens.total,
        image_tokens: tokens.image,
        trained_tokens: tokens.trained,
        max_tokens: u32::try_from(tokens.max_sample).unwrap_or(u32::MAX),
        resumed: counts.rows,
        ..Summary::default()
    }
}
