//! The summary of a run and its manifest.

use std::collections::BTreeMap;
use std::io;

use pixtune_core::curate::{Repeat, Status, Store, StoredRow};
use pixtune_core::diagnostic::Rule;
use pixtune_core::rules;

use super::reasons::{Decided, Reason, Reasons};
use super::spool::Segment;
use super::{Preparation, Scanned, Summary};
use crate::manifest::{Counts, InputFile, Manifest, OutputFile, TokenCounts, portable_name};
use crate::read::Fingerprint;

/// Counts what was decided. `drop` are the rules about outliers that reject rows.
pub(super) fn summarize(
    scanned: &Scanned,
    decision: &Decided,
    drop: &[&'static Rule],
) -> io::Result<Summary> {
    let rows = decision.status.len() as u64;
    let mut summary = Summary { rows, resumed: scanned.resumed, ..Summary::default() };
    // How many samples have so many tokens.
    let mut lengths: BTreeMap<u32, u64> = BTreeMap::new();
    scanned.facts.each(&mut |StoredRow { row, record, .. }| {
        let status = decision.status[row as usize];
        match status {
            Status::Train => summary.train += 1,
            Status::Validation => summary.validation += 1,
            Status::Test => summary.test += 1,
            Status::Rejected | Status::Outlier => summary.rejected += 1,
            Status::Duplicate => {
                summary.rejected += 1;
                summary.duplicates += 1;
            }
        }
        if status.is_kept() {
            summary.images += u64::from(record.images);
            summary.shrunk += u64::from(record.shrunk);
            summary.tokens += u64::from(record.tokens);
            summary.image_tokens += u64::from(record.image_tokens);
            summary.trained_tokens += u64::from(record.trained_tokens);
            summary.max_tokens = summary.max_tokens.max(record.tokens);
            summary.max_bytes = summary.max_bytes.max(record.bytes);
            *lengths.entry(record.tokens).or_default() += 1;
        }
        Ok(())
    })?;
    let mut left = lengths.values().sum::<u64>() / 2;
    for (tokens, samples) in lengths {
        summary.median_tokens = tokens;
        match left.checked_sub(samples) {
            Some(more) => left = more,
            None => break,
        }
    }
    let named = |counts: &BTreeMap<u16, u64>| -> BTreeMap<String, u64> {
        counts.iter().map(|(rule, count)| (rules::ALL[usize::from(*rule)].id.to_owned(), *count)).collect()
    };
    summary.findings = named(&scanned.findings);
    summary.rejected_by_rule = named(&scanned.rejected_by_rule);
    let mut reasons = Reasons::new(decision, drop)?;
    for row in 0..decision.status.len() as u32 {
        let rule = match reasons.of(row)? {
            Some(Reason::Duplicate(Repeat { near: None, .. })) => &rules::DUPLICATE,
            Some(Reason::Duplicate(Repeat { near: Some(_), .. })) => &rules::NEAR_DUPLICATE,
            Some(Reason::Outlier(outlier)) => outlier.rule,
            None => continue,
        };
        *summary.rejected_by_rule.entry(rule.id.to_owned()).or_default() += 1;
    }
    Ok(summary)
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
