//! Findings that need the whole dataset, reported per row.

use std::cmp::Reverse;
use std::io;

use pixtune_core::curate::sorted::{Cursor, Fixed};
use pixtune_core::curate::{By, Linked, Repeat, Unmet};
use pixtune_core::diagnostic::{Finding, Severity};
use pixtune_core::rules;
use pixtune_core::split::GivenSplit;
use pixtune_core::text::counted;

use super::facts::{Place, Places};
use super::reasons::{Decided, Reason, Reasons};
use super::scratch::ScratchFile;
use super::{Preparation, Scanned, Watch};

/// Reports the findings that need the whole dataset, in input order; returns the number of rows that they reject.
pub(super) fn report(
    plan: &Preparation,
    scanned: &mut Scanned,
    decided: &Decided,
    watch: &mut dyn Watch,
) -> io::Result<u64> {
    let drop = &plan.options.scan.drop;
    let mut places = scanned.facts.places()?;
    let mut reasons = Reasons::new(decided, drop)?;
    let mut near = Ahead::new(decided.near.cursor()?)?;
    let mut outliers = Ahead::new(decided.outliers.cursor()?)?;
    let mut contradictions = Ahead::new(decided.contradictions.cursor()?)?;
    let mut leaks = Ahead::new(decided.leaks.cursor()?)?;
    let mut repeated_ids = Ahead::new(decided.repeated_ids.cursor()?)?;
    // The next is the last, and those of a row are in their order.
    let mut unmet: Vec<(u32, Finding)> = decided.unmet.iter().rev().map(unmet).collect();
    unmet.sort_by_key(|(row, _)| Reverse(*row));
    let mut rejected = 0;
    for row in 0..decided.status.len() as u32 {
        let (mut rejection, mut findings) = (None, Vec::new());
        let reason = reasons.of(row)?;
        if let Some(reason) = &reason {
            rejected += 1;
            rejection = Some(rejecting(plan, &mut places, reason)?);
        }
        while let Some(repeated) = near.next_if(|repeated| repeated.row == row)? {
            findings.push(near_duplicate(plan, &mut places, &repeated.repeat())?);
        }
        let mut dropped_by = reason;
        while let Some(stored) = outliers.next_if(|outlier| outlier.row == row)? {
            let outlier = stored.outlier();
            if dropped_by == Some(Reason::Outlier(outlier)) {
                dropped_by = None;
            } else {
                findings.push(outlier.finding());
            }
        }
        while let Some(linked) = contradictions.next_if(|linked| linked.row == row)? {
            let place = plan.location_of(&places.of(linked.other)?);
            let message = format!("{place} has the same images and prompt with a conflicting label");
            findings.push(Finding::new(&rules::CONTRADICTION, "", message));
        }
        while let Some(linked) = leaks.next_if(|linked| linked.row == row)? {
            findings.push(leak(plan, &mut places, linked)?);
        }
        while let Some(linked) = repeated_ids.next_if(|linked| linked.row == row)? {
            let message =
                format!("the id of this row is that of {}", plan.location_of(&places.of(linked.other)?));
            findings.push(Finding::new(&rules::DUPLICATE_ID, "", message));
        }
        while let Some((_, finding)) = unmet.pop_if(|(first, _)| *first == row) {
            findings.push(finding);
        }
        // A row that is dropped is reported even if warnings of its rule are ignored.
        findings.retain(|finding| plan.scanner.reports(finding));
        for finding in rejection.into_iter().chain(findings) {
            let place = places.of(row)?;
            *scanned.findings.entry(rules::index(finding.rule)).or_default() += 1;
            watch.finding(&finding.at(&plan.inputs[place.input as usize].input.name, place.line));
        }
    }
    Ok(rejected)
}

/// A cursor and the item that it reads next.
struct Ahead<'d, K> {
    cursor: Cursor<'d, K, ScratchFile>,
    next: Option<K>,
}

impl<'d, K: Fixed> Ahead<'d, K> {
    fn new(mut cursor: Cursor<'d, K, ScratchFile>) -> io::Result<Ahead<'d, K>> {
        let next = cursor.next()?;
        Ok(Ahead { cursor, next })
    }

    fn next_if(&mut self, is_wanted: impl Fn(&K) -> bool) -> io::Result<Option<K>> {
        let item = self.next.filter(is_wanted);
        if item.is_some() {
            self.next = self.cursor.next()?;
        }
        Ok(item)
    }
}

fn leak(plan: &Preparation, places: &mut Places<'_>, Linked { row, other }: Linked) -> io::Result<Finding> {
    let other = places.of(other)?;
    let split = other.given.map_or("other", GivenSplit::as_str);
    let (rule, what) = match places.of(row)?.images {
        0 => (&rules::SHARED_SAMPLE, "text"),
        _ => (&rules::SHARED_IMAGE, "an image"),
    };
    let place = plan.location_of(&other);
    let message = format!("{what} of this training sample is in the {split} split too: {place}");
    Ok(Finding::new(rule, "", message))
}

/// Why the decision rejects a row. A duplicate is not wrong: that it was dropped is a warning.
pub(super) fn rejecting(plan: &Preparation, places: &mut Places<'_>, reason: &Reason) -> io::Result<Finding> {
    let (mut finding, severity) = match reason {
        Reason::Duplicate(repeat @ Repeat { near: Some(_), .. }) => {
            let mut finding = near_duplicate(plan, places, repeat)?;
            finding.message.push_str(", which is kept");
            (finding, Severity::Warning)
        }
        Reason::Duplicate(Repeat { of, near: None }) => {
            (duplicate(plan, &places.of(*of as u32)?), Severity::Warning)
        }
        Reason::Outlier(outlier) => (outlier.finding(), Severity::Error),
    };
    finding.severity = severity;
    Ok(finding)
}

fn duplicate(plan: &Preparation, kept: &Place) -> Finding {
    let place = plan.location_of(kept);
    let message = match plan.options.by {
        By::Image => format!("the same images as {place}, which is kept"),
        By::Sample => format!("the same images and text as {place}, which is kept"),
    };
    Finding::new(&rules::DUPLICATE, "", message)
}

fn near_duplicate(plan: &Preparation, places: &mut Places<'_>, repeat: &Repeat) -> io::Result<Finding> {
    let kept = places.of(repeat.of as u32)?;
    let place = plan.location_of(&kept);
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
    Ok(Finding::new(&rules::NEAR_DUPLICATE, "", format!("a near-duplicate of {place}{how}"))
        .hint("`--dedup near` keeps the one with the largest images"))
}

/// How the split differs from the request, and the row to report it at.
fn unmet(unmet: &Unmet) -> (u32, Finding) {
    let finding = |message: String| Finding::new(&rules::SPLIT_UNMET, "", message);
    match unmet {
        Unmet::TooMany { first, rows, wanted } => {
            let message = format!(
                "{} from here on are linked by image, text or group; the validation split holds at most {wanted}, so all are in the training split",
                counted(*rows, "row")
            );
            (*first as u32, finding(message).hint("use a larger `--validation`, or smaller groups"))
        }
        Unmet::AlikeTexts { first, rows } => {
            let message = format!(
                "{} from here on have near-duplicate texts; one split for all would leave nothing to split, so only images and groups are kept together",
                counted(*rows, "row")
            );
            (*first as u32, finding(message))
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
