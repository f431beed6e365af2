//! Checking finished conversations: every problem of every line, and what lines say together.
//!
//! A line is judged by itself on any thread, and looked at once: it is parsed where it was read to, and texts and images
//! are judged where they stand. What is kept of it are hashes, 40 to 80 bytes a sample and, where training and
//! validation files are compared, 25 to 50 an image (with what is measured of it 140), so a file of any size is read in
//! flat memory.

mod across;
mod alike;
mod excerpt;
mod fetched;
mod images;
pub(crate) mod seen;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use pixtune_core::checks::{self, Row};
use pixtune_core::diagnostic::{Diagnostic, Finding, Group, Rule, Severity};
use pixtune_core::json;
use pixtune_core::rules;
use pixtune_core::target::Target;
use pixtune_core::tokens::ChatEncoder;

use crate::base64::Payloads;
use crate::image::measure::Measure;
use crate::read::blocks::{Block, without_line_end};
use crate::read::records::{Cut, RawRow};

pub use across::{Across, Form, is_validation};
pub use excerpt::Excerpt;
pub use fetched::Fetching;
pub(crate) use images::{HEADS, LONGEST_HEAD};

/// How closely images are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Their headers and ends; what is small, or looks cut, is walked through as a whole.
    Header,
    /// Decoded to the last pixel.
    Full,
    /// Decoded and measured, so that what shows the same is found across files.
    Compare,
}

/// Which rules are wanted, and how bad their breaches are.
#[derive(Debug, Clone)]
pub struct Selection {
    severities: Vec<Option<Severity>>,
}

impl Selection {
    /// Every rule, as the target has it.
    pub fn of(target: &Target) -> Selection {
        Selection { severities: rules::ALL.iter().map(|rule| Some(target.severity(rule))).collect() }
    }

    /// Every rule, as bad as any other.
    pub fn every(severity: Severity) -> Selection {
        Selection { severities: vec![Some(severity); rules::ALL.len()] }
    }

    /// How bad a breach of the rule is, if it is wanted.
    pub fn severity(&self, rule: &Rule) -> Option<Severity> {
        self.severities[usize::from(rules::index(rule))]
    }

    /// Leaves out every rule that is not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&Rule) -> bool) {
        for (rule, severity) in rules::ALL.iter().zip(&mut self.severities) {
            if !wanted(rule) {
                *severity = None;
            }
        }
    }

    /// Sets how bad breaches of a rule are, if it is wanted.
    pub fn set(&mut self, rule: &Rule, severity: Severity) {
        let known = &mut self.severities[usize::from(rules::index(rule))];
        *known = known.and(Some(severity));
    }

    /// Whether the rule is wanted.
    pub fn wants(&self, rule: &Rule) -> bool {
        self.severity(rule).is_some()
    }

    /// Gives a finding its severity; false when its rule is not wanted.
    fn admits(&self, finding: &mut Finding) -> bool {
        match self.severity(finding.rule) {
            Some(severity) => {
                finding.severity = severity;
                true
            }
            None => false,
        }
    }
}

/// What a line is checked against.
pub struct Checker<'c> {
    /// The model whose tokens count.
    pub encoder: ChatEncoder<'c>,
    /// Whose limits hold.
    pub target: Target,
    /// How closely images are looked at.
    pub verify: Verify,
    /// Which rules are wanted.
    pub selection: Selection,
    /// Whether excerpts are wanted.
    pub excerpts: bool,
    /// Fetches images of addresses; without it they are only named.
    pub fetching: Option<Arc<Fetching>>,
}

/// A finding at its place, with what stands there.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// The finding.
    pub diagnostic: Diagnostic,
    /// The text around the spot.
    pub excerpt: Option<Excerpt>,
}

/// What the look at one line leaves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// Its bytes in the file, line end included.
    pub length: u64,
    /// Whether it holds a sample, or is blank.
    pub is_sample: bool,
    /// How many images it names.
    pub images: usize,
    /// Findings in the order of their places, with byte columns from 1.
    pub findings: Vec<(Finding, Option<u64>, Option<Excerpt>)>,
    /// What is compared with other lines; of a line that cannot be read nothing is.
    pub facts: Option<Facts>,
    /// What was measured of each of its images; empty where they were not to be.
    pub measures: Vec<Option<Measure>>,
}

/// Hashes of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Of everything in it.
    pub sample: u128,
    /// Of everything but the last answer.
    pub prompt: u128,
    /// Of each image, and where it stands.
    pub images: Vec<(u128, String)>,
}

/// So many findings of one line are told one by one.
const MOST_FINDINGS: usize = 100;

impl Checker<'_> {
    /// Adds the lines of a block from a file whose images lie in `directory`; they are numbered by their place in `lines`.
    pub fn check_block(&self, directory: &Path, block: &Block, lines: &mut Vec<Line>) {
        if block.oversized().is_some() {
            return lines.extend(block.rows().map(|row| self.check(directory, &row)));
        }
        let mut rest = block.lines();
        while !rest.is_empty() {
            let number = lines.len() as u64 + 1;
            let line = self.first_line(directory, rest, number);
            rest = &rest[line.length as usize..];
            lines.push(line);
        }
    }

    /// Checks the first of several lines.
    fn first_line(&self, directory: &Path, lines: &[u8], number: u64) -> Line {
        let check = || {
            let (parsed, length) = json::parse_line(lines)?;
            let mut line = Line { number, length: length as u64, is_sample: true, ..Line::default() };
            let findings = self.judge(&parsed, lines, directory, &mut line);
            if !findings.is_empty() {
                let text = std::str::from_utf8(without_line_end(&lines[..length])).unwrap_or_default();
                self.report(findings, text, &mut line);
            }
            Some(line)
        };
        catch_unwind(AssertUnwindSafe(check)).ok().flatten().unwrap_or_else(|| {
            let length = memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
            let bytes = without_line_end(&lines[..length]).to_vec();
            self.check(
                directory,
                &RawRow { line: number, offset: 0, length: length as u64, bytes, cut: None },
            )
        })
    }

    /// Checks one line of a file whose images lie in `directory`. A panic over it is a finding like any other.
    pub fn check(&self, directory: &Path, row: &RawRow) -> Line {
        catch_unwind(AssertUnwindSafe(|| self.check_line(directory, row))).unwrap_or_else(|_| {
            let finding = Finding::new(&rules::INTERNAL, "", "the line made the program fail")
                .hint("this is a defect of pixtune: please report it with the line");
            let findings = vec![(finding, None, None)];
            Line { number: row.line, length: row.length, is_sample: true, findings, ..Line::default() }
        })
    }

    fn check_line(&self, directory: &Path, row: &RawRow) -> Line {
        let is_sample = row.cut.is_some() || row.bytes.iter().any(|byte| !byte.is_ascii_whitespace());
        let mut line = Line { number: row.line, length: row.length, is_sample, ..Line::default() };
        if !is_sample {
            let finding = Finding::new(&rules::JSON_BLANK_LINE, "", "the line is blank");
            self.report(vec![finding], "", &mut line);
            return line;
        }
        if row.cut == Some(Cut::TooLarge) {
            let message = format!("the line has {} bytes; the limit is {}", row.length, row.bytes.len());
            self.report(vec![Finding::new(&rules::ROW_TOO_LARGE, "", message)], "", &mut line);
            return line;
        }
        let text = match std::str::from_utf8(&row.bytes) {
            Ok(text) => text,
            Err(error) => {
                let byte = row.bytes[error.valid_up_to()];
                let message = format!("the byte `{byte:#04x}` is not UTF-8");
                let finding = Finding::new(&rules::INVALID_UTF8, "", message).at_byte(error.valid_up_to());
                self.report(vec![finding], &String::from_utf8_lossy(&row.bytes), &mut line);
                return line;
            }
        };
        let findings = match json::parse(text) {
            Ok(parsed) => self.judge(&parsed, text.as_bytes(), directory, &mut line),
            Err(error) => {
                let message = format!("not JSON: {}", error.what);
                vec![Finding::new(&rules::JSON_SYNTAX, "", message).at_byte(error.offset)]
            }
        };
        self.report(findings, text, &mut line);
        line
    }

    /// Everything that is to be said of a line's value, which was parsed from the beginning of `text`.
    fn judge(
        &self,
        parsed: &json::Parsed<'_>,
        text: &[u8],
        directory: &Path,
        line: &mut Line,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(offset) = parsed.lone_surrogate {
            let message = "half of a surrogate pair, which becomes U+FFFD";
            findings.push(Finding::new(&rules::JSON_LONE_SURROGATE, "", message).at_byte(offset));
        }
        let judged = checks::judge(&Row { value: &parsed.value, target: &self.target });
        findings.extend(judged.findings);
        let sample = judged.sample;
        let payloads = Payloads { text, runs: &parsed.base64 };
        let look = |image| self.look(image, &payloads, directory, &mut findings);
        let looked: Vec<_> = sample.images.iter().map(look).collect();
        line.images = looked.len();
        if !judged.accepted {
            return findings;
        }
        let unknown = (1, 1);
        let sizes: Vec<_> = looked.iter().map(|image| image.size.unwrap_or(unknown)).collect();
        match self
            .encoder
            .plain_bound(&sample, &sizes)
            .map_or_else(|| self.encoder.bound(&sample, &sizes), Ok)
        {
            Err(refusal) => findings.push(refusal),
            Ok(bound) if bound > self.encoder.spec.context => {
                if let Ok(counts) = self.encoder.count(&sample, &sizes) {
                    findings.extend(checks::context_overflow(self.encoder.spec, &counts));
                }
            }
            Ok(_) => {}
        }
        findings.extend(checks::nothing_to_train(&sample));
        line.facts = Some(Facts::new(&sample, looked.iter().map(|image| image.hash)));
        if self.verify == Verify::Compare {
            line.measures = looked.into_iter().map(|image| image.measure).collect();
        }
        findings
    }

    /// Puts findings in order, gives them their places and leaves out what is not wanted.
    fn report(&self, mut findings: Vec<Finding>, text: &str, line: &mut Line) {
        findings.retain_mut(|finding| self.selection.admits(finding));
        if findings.len() > MOST_FINDINGS {
            findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
            let more = findings.len() - MOST_FINDINGS + 1;
            findings.truncate(MOST_FINDINGS);
            if let Some(last) = findings.last_mut() {
                last.message = format!("and {more} more findings in this line");
                last.pointer.clear();
            }
        }
        for finding in findings {
            let offset = match finding.offset {
                Some(offset) => Some(offset),
                None if text.is_empty() || finding.rule.group == Group::Length => None,
                None => Some(json::locate(text, &finding.pointer)),
            };
            let excerpt = offset.filter(|_| self.excerpts).map(|offset| Excerpt::around(text, offset));
            line.findings.push((finding, offset.map(|offset| offset as u64 + 1), excerpt));
        }
        line.findings.sort_by_key(|(_, column, _)| *column);
    }
}

impl Line {
    /// The findings at their places.
    pub fn reported(self, file: &str) -> impl Iterator<Item = Reported> {
        let number = self.number;
        self.findings.into_iter().map(move |(finding, column, excerpt)| {
            let diagnostic = Diagnostic { column, ..finding.at(file, number) };
            Reported { diagnostic, excerpt }
        })
    }
}
