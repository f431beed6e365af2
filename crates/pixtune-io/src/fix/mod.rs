//! Repairing lines: what `pixtune-core::fix` repairs without a look at images, then the images, then a look whether the
//! result passes.
//!
//! A line that needs nothing is given back byte for byte. What cannot be repaired stays as it is and is told; on request it
//! is left out.

mod images;

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pixtune_core::diagnostic::{Finding, Fix, Rule, Severity};
use pixtune_core::fix::{Change, Wanted, fix, lone_surrogate};
use pixtune_core::json::{self, Value};
use pixtune_core::rules;

use crate::check::{Checker, Line};
use crate::read::records::{Cut, RawRow};

/// What lines are repaired by.
pub struct Fixer {
    /// Whose findings are repaired, and who judges the result.
    pub checker: Checker<'static>,
    /// Whether guesses are allowed, and lines that stay bad left out.
    pub most: Fix,
}

/// A repaired line.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    /// Its number in the input, from 1.
    pub number: u64,
    /// Its bytes in the input, line end included.
    pub length: u64,
    /// What is to be written, line end included; nothing where the line is left out.
    pub line: Option<Vec<u8>>,
    /// What was changed.
    pub changes: Vec<Change>,
    /// What is still found.
    pub left: Line,
}

/// A line that cannot be written again because it was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} has {bytes} bytes; lines up to {limit} are repaired")]
pub struct TooLarge {
    /// Its number, from 1.
    pub line: u64,
    /// Its length.
    pub bytes: u64,
    /// The most that is kept of a line.
    pub limit: usize,
}

impl Fixer {
    /// Repairs one line of a file whose images lie in `directory`. A line whose repairing fails stays as it is.
    pub fn fix(&self, directory: &Path, row: RawRow) -> Result<Fixed, TooLarge> {
        if row.cut == Some(Cut::TooLarge) && self.most == Fix::Safe {
            return Err(TooLarge { line: row.line, bytes: row.length, limit: row.bytes.len() });
        }
        let repaired = catch_unwind(AssertUnwindSafe(|| self.fix_line(directory, &row)));
        let (text, changes, left) =
            repaired.unwrap_or_else(|_| (None, vec![], self.checker.check(directory, &row)));
        let mut fixed = Fixed { number: row.line, length: row.length, line: None, changes, left };
        let refusal = self.refusal(&fixed.left);
        if !fixed.left.is_sample && self.checker.selection.wants(&rules::JSON_BLANK_LINE) {
            let message = "the blank line removed".to_owned();
            fixed.left.findings.clear();
            fixed.changes.push(change(&rules::JSON_BLANK_LINE, Fix::Safe, String::new(), message));
        } else if let Some(finding) = refusal.filter(|_| self.most == Fix::Unsafe) {
            let message = format!("the sample is left out: {}", finding.message);
            fixed.changes = vec![change(finding.rule, Fix::Unsafe, finding.pointer.clone(), message)];
            fixed.left.findings.clear();
        } else {
            let end = line_end(&row);
            let mut line = text.unwrap_or(row.bytes);
            line.extend_from_slice(end);
            fixed.line = Some(line);
        }
        Ok(fixed)
    }

    /// The first error that stays, if one does.
    fn refusal<'l>(&self, left: &'l Line) -> Option<&'l Finding> {
        let findings = left.findings.iter().map(|(finding, ..)| finding);
        findings.into_iter().find(|finding| finding.severity == Severity::Error)
    }

    /// The line without its end, where it was changed; the changes; what is found in the result.
    fn fix_line(&self, directory: &Path, row: &RawRow) -> (Option<Vec<u8>>, Vec<Change>, Line) {
        let Some(parsed) = readable(row) else { return (None, vec![], self.checker.check(directory, row)) };
        let lone = parsed.lone_surrogate;
        let mut value = parsed.value;
        let mut changes = Vec::new();
        if let Some(offset) = lone.filter(|_| self.checker.selection.wants(&rules::JSON_LONE_SURROGATE)) {
            changes.push(Change {
                message: format!("{} (byte {})", lone_surrogate().message, offset + 1),
                ..lone_surrogate()
            });
        }
        let wants = |rule: &Rule| self.checker.selection.wants(rule);
        let wanted = Wanted { rule: &wants, most: self.most, target: &self.checker.target };
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
        // Each image is drawn once; of many not all are told at once.
        let mut drawn = HashSet::new();
        loop {
            let redrawn = match self.most {
                Fix::Unsafe => self.redraw(&mut value, &left, &mut drawn),
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
        // Writing the line anew makes U+FFFD of halves of pairs, whether that was asked for or not.
        if lone.is_some() && changes.iter().all(|change| change.rule != &rules::JSON_LONE_SURROGATE) {
            changes.push(lone_surrogate());
        }
        (Some(value.to_string().into_bytes()), changes, left)
    }

    /// What is found in the row as it stands.
    fn look(&self, value: &Value<'_>, changes: &[Change], directory: &Path, row: &RawRow) -> Line {
        if changes.is_empty() {
            return self.checker.check(directory, row);
        }
        let bytes = value.to_string().into_bytes();
        let length = bytes.len() as u64;
        self.checker
            .check(directory, &RawRow { line: row.line, offset: row.offset, length, bytes, cut: None })
    }
}

fn readable(row: &RawRow) -> Option<json::Parsed<'_>> {
    if row.cut.is_some() {
        return None;
    }
    std::str::from_utf8(&row.bytes).ok().and_then(|text| json::parse(text).ok())
}

/// The line end that was cut off: none at the end of a file, `\r\n` where there was one.
fn line_end(row: &RawRow) -> &'static [u8] {
    match row.length as usize - row.bytes.len() {
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
