//! Fixing lines: first what `pixtune-core::fix` repairs without images, then the images, then a check of the result.
//!
//! A line without problems is returned byte for byte. What cannot be fixed is kept and reported; on request it is dropped.

mod images;
mod run;

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pixtune_core::diagnostic::{Finding, Fix, Rule, Severity};
use pixtune_core::fix::{Change, Wanted, fix, lone_surrogate};
use pixtune_core::json::{self, Value};
use pixtune_core::rules;
use pixtune_core::text::{counted, grouped};

use crate::check::{CheckedLine, Checker};
use crate::read::{Cut, Row};

pub use run::{FixError, FixPlan, FixReporter, FixSummary, run};

/// Fixes lines one by one.
pub struct Fixer {
    /// Finds what to fix and checks the result.
    pub checker: Checker<'static>,
    /// Whether fixes may guess, and drop lines that keep an error.
    pub most: Fix,
    /// Whether paths of another machine are looked for in the directory of the images too.
    pub strips_roots: bool,
}

/// A fixed line.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    /// Its length in the input, including the line end.
    pub length: u64,
    /// What to write, including the line end; none where the line is dropped.
    pub line: Option<Vec<u8>>,
    /// What was changed.
    pub changes: Vec<Change>,
    /// What the check of the result finds.
    pub left: CheckedLine,
}

/// A line that cannot be copied because it was not kept whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} has {}; the limit is {}", counted(*bytes, "byte"), grouped(*limit as u64))]
pub struct TooLarge {
    /// Its number, from 1.
    pub line: u64,
    /// Its length.
    pub bytes: u64,
    /// The bytes that are kept of a line.
    pub limit: usize,
}

impl Fixer {
    /// Fixes a line of a file whose images are in `directory`. A line on which this fails is kept.
    pub fn fix(&self, directory: &Path, length: u64, row: Row) -> Result<Fixed, TooLarge> {
        if let Some(bytes) = row.oversized().filter(|_| self.most == Fix::Safe) {
            return Err(TooLarge { line: 0, bytes, limit: row.bytes.len() });
        }
        if matches!(row.cut, Some(Cut::Unreadable { .. })) {
            let left = self.checker.check(directory, &row);
            return Ok(Fixed { length, line: None, changes: vec![], left });
        }
        let repaired = catch_unwind(AssertUnwindSafe(|| self.fix_line(directory, &row)));
        let (text, changes, left) =
            repaired.unwrap_or_else(|_| (None, vec![], self.checker.check(directory, &row)));
        let mut fixed = Fixed { length, line: None, changes, left };
        let refusal = self.refusal(&fixed.left);
        if !fixed.left.is_sample && self.checker.selection.wants(&rules::JSON_BLANK_LINE) {
            let message = "the blank line removed".to_owned();
            fixed.left.findings.clear();
            fixed.changes.push(change(&rules::JSON_BLANK_LINE, Fix::Safe, String::new(), message));
        } else if let Some(finding) = refusal.filter(|_| self.most == Fix::Unsafe) {
            let message = format!("the sample is dropped: {}", finding.message);
            fixed.changes = vec![change(finding.rule, Fix::Unsafe, finding.pointer.clone(), message)];
            fixed.left.findings.clear();
        } else {
            let end = line_end(length, &row);
            let mut line = text.unwrap_or(row.bytes);
            line.extend_from_slice(end);
            fixed.line = Some(line);
        }
        Ok(fixed)
    }

    /// The first error that stays, if one does.
    fn refusal<'l>(&self, left: &'l CheckedLine) -> Option<&'l Finding> {
        let findings = left.findings.iter().map(|(finding, ..)| finding);
        findings.into_iter().find(|finding| finding.severity == Severity::Error)
    }

    /// The line without its end, where it was changed; the changes; what is found in the result.
    fn fix_line(&self, directory: &Path, row: &Row) -> (Option<Vec<u8>>, Vec<Change>, CheckedLine) {
        let mut changes = Vec::new();
        let python = self.python_dict(row);
        let (mut value, lone) = match (readable(row), python) {
            (Some(parsed), _) => (parsed.value, parsed.lone_surrogate),
            (None, Some(value)) => {
                let message = "rewrote the Python dict as JSON".to_owned();
                changes.push(change(&rules::JSON_SYNTAX, Fix::Unsafe, String::new(), message));
                (value, None)
            }
            (None, None) => return (None, vec![], self.checker.check(directory, row)),
        };
        if let Some(offset) = lone.filter(|_| self.checker.selection.wants(&rules::JSON_LONE_SURROGATE)) {
            changes.push(Change {
                message: format!("{} (byte {})", lone_surrogate().message, offset + 1),
                ..lone_surrogate()
            });
        }
        let wants = |rule: &Rule| self.checker.selection.wants(rule);
        let version = self.checker.encoder.tokenizer.version();
        let wanted = Wanted { rule: &wants, most: self.most, target: &self.checker.target, version };
        // An image that was put in place may still have to get the target's form.
        loop {
            let (repaired, done) = fix(value, &wanted);
            value = repaired;
            changes.extend(done);
            let done = self.repair_images(&mut value, directory);
            if done.is_empty() {
                break;
            }
            changes.extend(done);
        }
        let mut left = self.look(&value, &changes, directory, row);
        // Each image is re-encoded once; of many changes only some are reported per round.
        let mut drawn = HashSet::new();
        loop {
            let redrawn = match self.most {
                Fix::Unsafe => self.reencode(&mut value, &left, &mut drawn),
                Fix::Safe => vec![],
            };
            if redrawn.is_empty() {
                break;
            }
            changes.extend(redrawn);
            left = self.look(&value, &changes, directory, row);
        }
        if changes.is_empty() {
            return (None, changes, left);
        }
        // Writing the line again turns lone surrogates into U+FFFD, whether that was requested or not.
        if lone.is_some() && changes.iter().all(|change| change.rule != &rules::JSON_LONE_SURROGATE) {
            changes.push(lone_surrogate());
        }
        (Some(value.to_string().into_bytes()), changes, left)
    }

    /// A row that is a dict as Python prints it.
    fn python_dict(&self, row: &Row) -> Option<Value<'static>> {
        let wanted = self.most == Fix::Unsafe && self.checker.selection.wants(&rules::JSON_SYNTAX);
        if !wanted || row.cut.is_some() || readable(row).is_some() {
            return None;
        }
        let text = std::str::from_utf8(&row.bytes).ok()?;
        json::python_dict(text)
    }

    /// What is found in the row as it stands.
    fn look(&self, value: &Value<'_>, changes: &[Change], directory: &Path, row: &Row) -> CheckedLine {
        if changes.is_empty() {
            return self.checker.check(directory, row);
        }
        self.checker.check(directory, &Row::whole(value.to_string()))
    }
}

fn readable(row: &Row) -> Option<json::Parsed<'_>> {
    if row.cut.is_some() {
        return None;
    }
    std::str::from_utf8(&row.bytes).ok().and_then(|text| json::parse(text).ok())
}

/// The line end that was cut off: none at the end of a file, `\r\n` where there was one.
fn line_end(length: u64, row: &Row) -> &'static [u8] {
    match length as usize - row.bytes.len() {
        0 => b"",
        1 => b"\n",
        _ => b"\r\n",
    }
}

fn change(rule: &'static Rule, fix: Fix, pointer: String, message: String) -> Change {
    Change { rule, fix, pointer, message }
}

/// Rules by the pointers of their findings.
type Places<'l> = HashMap<&'l str, &'static Rule>;
