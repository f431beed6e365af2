//! Findings that need the whole dataset, reported per row.

use pixtune_core::curate::{By, Decision, Record, Repeat, Unmet, Verdict};
use pixtune_core::diagnostic::{Finding, Severity};
use pixtune_core::rules;
use pixtune_core::split::GivenSplit;
use pixtune_core::text::counted;

use super::{Preparation, Scanned, Watch};

/// Reports the findings that need the whole dataset, in input order; returns the number of rows that they reject.
pub(super) fn report(
    plan: &Preparation,
    scanned: &mut Scanned,
    decision: &Decision,
    watch: &mut dyn Watch,
) -> u64 {
    let mut rejections: Vec<(usize, Finding)> = Vec::new();
    for (index, verdict) in decision.verdicts.iter().enumerate() {
        rejections.extend(rejecting(plan, scanned, decision, *verdict).map(|finding| (index, finding)));
    }
    let rejected = rejections.len() as u64;
    let mut findings = Vec::new();
    let place = |row: usize| plan.location_of(&scanned.records.rows()[row]);
    for (row, repeat) in &decision.near {
        findings.push((*row, near_duplicate(plan, scanned, repeat)));
    }
    for (nth, odd) in decision.outliers.iter().enumerate() {
        if decision.verdicts[odd.row] != Verdict::Outlier(nth) {
            findings.push((odd.row, odd.finding()));
        }
    }
    for (row, earlier) in &decision.contradictions {
        let message = format!("{} has the same images and prompt with a conflicting label", place(*earlier));
        findings.push((*row, Finding::new(&rules::CONTRADICTION, "", message)));
    }
    for (row, other) in &decision.leaks {
        let records = scanned.records.rows();
        let split = records[*other].given.map_or("other", GivenSplit::as_str);
        let (rule, what) = match records[*row].images {
            0 => (&rules::SHARED_SAMPLE, "text"),
            _ => (&rules::SHARED_IMAGE, "an image"),
        };
        let message =
            format!("{what} of this training sample is in the {split} split too: {}", place(*other));
        findings.push((*row, Finding::new(rule, "", message)));
    }
    for (row, earlier) in &decision.repeated_ids {
        let message = format!("the id of this row is that of {}", place(*earlier));
        findings.push((*row, Finding::new(&rules::DUPLICATE_ID, "", message)));
    }
    findings.extend(decision.unmet.iter().map(unmet));
    // A row that is dropped is reported even if warnings of its rule are ignored.
    findings.retain(|(_, finding)| plan.scanner.reports(finding));
    findings.splice(0..0, rejections);
    findings.sort_by_key(|(index, _)| *index);
    for (index, finding) in findings {
        let row = scanned.records.rows()[index];
        *scanned.findings.entry(rules::index(finding.rule)).or_default() += 1;
        watch.finding(&finding.at(&plan.input_of(&row).input.name, row.line));
    }
    rejected
}

/// Why the decision rejects a row, if it does. A duplicate is not wrong: that it was dropped is a warning.
pub(super) fn rejecting(
    plan: &Preparation,
    scanned: &Scanned,
    decision: &Decision,
    verdict: Verdict,
) -> Option<Finding> {
    let (mut finding, severity) = match verdict {
        Verdict::Duplicate(repeat @ Repeat { near: Some(_), .. }) => {
            let mut finding = near_duplicate(plan, scanned, &repeat);
            finding.message.push_str(", which is kept");
            (finding, Severity::Warning)
        }
        Verdict::Duplicate(Repeat { of, near: None }) => {
            (duplicate(plan, &scanned.records.rows()[of]), Severity::Warning)
        }
        Verdict::Outlier(place) => (decision.outliers[place].finding(), Severity::Error),
        _ => return None,
    };
    finding.severity = severity;
    Some(finding)
}

fn duplicate(plan: &Preparation, kept: &Record) -> Finding {
    let place = plan.location_of(kept);
    let message = match plan.options.by {
        By::Image => format!("the same images as {place}, which is kept"),
        By::Sample => format!("the same images and text as {place}, which is kept"),
    };
    Finding::new(&rules::DUPLICATE, "", message)
}

fn near_duplicate(plan: &Preparation, scanned: &Scanned, repeat: &Repeat) -> Finding {
    let kept = &scanned.records.rows()[repeat.of];
    let place = plan.location_of(kept);
    let how = repeat.near.map_or(String::new(), |near| {
        let images = match kept.images {
            0 => None,
            _ => Some(format!("images {} of 64 bits apart", near.distance)),
        };
        let text =
            (plan.options.by == By::Sample).then(|| format!("{} % of the text the same", near.similarity));
        let how: Vec<String> = images.into_iter().chain(text).collect();
        format!(" ({})", how.join(", "))
    });
    Finding::new(&rules::NEAR_DUPLICATE, "", format!("a near-duplicate of {place}{how}"))
        .hint("`--dedup near` keeps the one with the largest images")
}

/// How the split differs from the request, and the row to report it at.
fn unmet(unmet: &Unmet) -> (usize, Finding) {
    let finding = |message: String| Finding::new(&rules::SPLIT_UNMET, "", message);
    match unmet {
        Unmet::TooMany { first, rows, wanted } => {
            let message = format!(
                "{} from here on are linked by image, text or group; the validation split holds at most {wanted}, so all are in the training split",
                counted(*rows, "row")
            );
            (*first, finding(message).hint("use a larger `--validation`, or smaller groups"))
        }
        Unmet::AlikeTexts { first, rows } => {
            let message = format!(
                "{} from here on have near-duplicate texts; one split for all would leave nothing to split, so only images and groups are kept together",
                counted(*rows, "row")
            );
            (*first, finding(message))
        }
        Unmet::Missed { held_out, wanted } => {
            let message = format!(
                "the validation split has {} instead of {wanted}: linked rows stay together, and at least one row is in the training split",
                counted(*held_out, "row")
            );
            (0, finding(message))
        }
        Unmet::SmallStrata { strata, of } => {
            (0, finding(format!("{strata} of {of} strata are too small for a row in the validation split")))
        }
    }
}
