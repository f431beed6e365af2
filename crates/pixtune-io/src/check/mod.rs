//! Checking finished conversations: every problem of every line, then of lines compared with each other.
//!
//! A line is checked by itself on any thread and read once: it is parsed in the buffer that it was read into, and its texts and
//! images are checked in place. What is kept of it are hashes: 40 to 65 bytes per sample and, where training and
//! validation files are compared, 25 to 50 per image (with what is measured of it 140), so a file of any size is read in
//! flat memory.

mod dataset;
mod excerpt;
mod fetched;
mod images;
pub(crate) mod index;
mod run;
mod shared_images;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use pixtune_core::checks;
use pixtune_core::diagnostic::{Diagnostic, Finding, Group, Rule, Severity};
use pixtune_core::json;
use pixtune_core::rules;
use pixtune_core::strict::BorrowedSample;
use pixtune_core::target::Target;
use pixtune_core::text::{counted, grouped};
use pixtune_core::tokens::ChatEncoder;

use crate::base64::Payloads;
use crate::image::measure::Measure;
use crate::image::{Limits, Resolver};
use crate::read::blocks::{Block, unreadable, without_line_end};
use crate::read::schema::{PYTHON_DICT, rejected_surrogate};
use crate::read::{Cut, Row, encoding};
use crate::verify::Verify;

pub use dataset::{DatasetChecks, is_validation};
pub use excerpt::{Excerpt, start_of_line};
pub use fetched::Fetching;
pub use run::{CheckError, CheckPlan, CheckReporter, CheckSummary, run, run_lines};

/// Which rules are selected, and their severity.
#[derive(Debug, Clone)]
pub struct Selection {
    severities: Vec<Option<Severity>>,
}

impl Selection {
    /// Every rule with the severity that it has for the target.
    pub fn of(target: &Target) -> Selection {
        Selection { severities: rules::ALL.iter().map(|rule| Some(target.severity(rule))).collect() }
    }

    /// Every rule with the same severity.
    pub fn every(severity: Severity) -> Selection {
        Selection { severities: vec![Some(severity); rules::ALL.len()] }
    }

    /// The severity of a rule, if it is selected.
    pub fn severity(&self, rule: &Rule) -> Option<Severity> {
        self.severities[usize::from(rules::index(rule))]
    }

    /// Deselects every rule that is not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&Rule) -> bool) {
        for (rule, severity) in rules::ALL.iter().zip(&mut self.severities) {
            if !wanted(rule) {
                *severity = None;
            }
        }
    }

    /// Sets the severity of a rule, if it is selected.
    pub fn set(&mut self, rule: &Rule, severity: Severity) {
        let known = &mut self.severities[usize::from(rules::index(rule))];
        *known = known.and(Some(severity));
    }

    /// Whether the rule is selected.
    pub fn wants(&self, rule: &Rule) -> bool {
        self.severity(rule).is_some()
    }

    /// Gives a finding its severity; false when its rule is not selected.
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

/// Checks lines by themselves.
pub struct Checker<'c> {
    /// The model whose tokens are counted.
    pub encoder: ChatEncoder<'c>,
    /// Whose limits apply.
    pub target: Target,
    /// How deep images are verified.
    pub verify: Verify,
    /// Whether decoded images are measured, to find the same image across files.
    pub measure: bool,
    /// How large an image may be.
    pub limits: Limits,
    /// Which rules are selected.
    pub selection: Selection,
    /// Whether findings get excerpts.
    pub excerpts: bool,
    /// Fetches images of URLs; without it they are only reported.
    pub fetching: Option<Arc<Fetching>>,
    /// Where images may be.
    pub images_from: ImagesFrom,
}

/// Where the images of a sample may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImagesFrom {
    /// In the sample, in files, and at URLs.
    #[default]
    Anywhere,
    /// In the sample alone: who sent it must not reach the files of this machine, or what it can connect to.
    Sample,
}

/// A finding at its place, with an excerpt of the line.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// The finding.
    pub diagnostic: Diagnostic,
    /// The text around the place.
    pub excerpt: Option<Excerpt>,
}

/// What checking a line yields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CheckedLine {
    /// Its number, from 1.
    pub number: u64,
    /// Its length in the file, including the line end.
    pub length: u64,
    /// Whether it is a sample; a blank line is not.
    pub is_sample: bool,
    /// How many images it refers to.
    pub images: usize,
    /// Findings in the order of their places, with their columns: characters from 1, as editors count.
    pub findings: Vec<(Finding, Option<u64>, Option<Excerpt>)>,
    /// What is compared with other lines; none for a line that cannot be read.
    pub hashes: Option<SampleHashes>,
    /// The measures of its images; empty where images are not measured.
    pub measures: Vec<Option<Measure>>,
}

/// Hashes of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleHashes {
    /// Of everything in it.
    pub sample: u128,
    /// Of everything but the last response.
    pub prompt: u128,
    /// Of each image, with its pointer.
    pub images: Vec<(u128, String)>,
}

/// This many findings of one line are reported one by one.
const MOST_FINDINGS: usize = 100;

impl Checker<'_> {
    /// Checks the lines of a block from a file whose images are in `directory`. Whoever knows the file numbers them.
    pub fn check_block(&self, directory: &Path, block: &mut Block, lines: &mut Vec<CheckedLine>) {
        if block.oversized().is_some() {
            let check = |(length, row)| CheckedLine { length, ..self.check(directory, &row) };
            return lines.extend(block.rows().map(check));
        }
        self.request_images(block);
        let mut rest = block.lines();
        while !rest.is_empty() {
            let line = self.first_line(directory, rest);
            rest = &rest[line.length as usize..];
            lines.push(line);
        }
    }

    /// Checks the first of several lines.
    fn first_line(&self, directory: &Path, lines: &[u8]) -> CheckedLine {
        let check = || {
            let (parsed, length) = json::parse_line(lines)?;
            let mut line = CheckedLine { length: length as u64, is_sample: true, ..CheckedLine::default() };
            let findings = self.judge(&parsed, lines, directory, &mut line);
            if !findings.is_empty() {
                let text = std::str::from_utf8(without_line_end(&lines[..length])).unwrap_or_default();
                self.report(findings, text, &mut line);
            }
            Some(line)
        };
        catch_unwind(AssertUnwindSafe(check)).ok().flatten().unwrap_or_else(|| {
            let length = memchr::memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
            let line = &lines[..length];
            let checked = self.check_kept(directory, without_line_end(line), unreadable(line).as_ref());
            CheckedLine { length: length as u64, ..checked }
        })
    }

    /// Checks one line of a file whose images are in `directory`. A panic is a finding like any other.
    pub fn check(&self, directory: &Path, row: &Row) -> CheckedLine {
        self.check_kept(directory, &row.bytes, row.cut.as_ref())
    }

    /// Checks what was kept of a line, and why that is not all of it.
    fn check_kept(&self, directory: &Path, kept: &[u8], cut: Option<&Cut>) -> CheckedLine {
        catch_unwind(AssertUnwindSafe(|| self.check_line(directory, kept, cut))).unwrap_or_else(|_| {
            let finding = Finding::new(&rules::INTERNAL, "", "pixtune failed on this line")
                .hint("this is a defect of pixtune: please report it with the line");
            let findings = vec![(finding, None, None)];
            CheckedLine { is_sample: true, findings, ..CheckedLine::default() }
        })
    }

    fn check_line(&self, directory: &Path, kept: &[u8], cut: Option<&Cut>) -> CheckedLine {
        let is_sample = cut.is_some() || !kept.iter().all(u8::is_ascii_whitespace);
        let mut line = CheckedLine { is_sample, ..CheckedLine::default() };
        if !line.is_sample {
            let finding = Finding::new(&rules::JSON_BLANK_LINE, "", "the line is blank");
            self.report(vec![finding], "", &mut line);
            return line;
        }
        if let Some(Cut::Unreadable { why }) = cut {
            self.report(vec![Finding::new(&rules::ROW_UNREADABLE, "", why.as_str())], "", &mut line);
            return line;
        }
        if let Some(Cut::TooLarge { bytes }) = cut {
            let message = format!(
                "the line has {}; the limit is {}",
                counted(*bytes, "byte"),
                grouped(kept.len() as u64)
            );
            self.report(vec![Finding::new(&rules::ROW_TOO_LARGE, "", message)], "", &mut line);
            return line;
        }
        let text = match std::str::from_utf8(kept) {
            Ok(text) => text,
            Err(error) => {
                let byte = kept[error.valid_up_to()];
                let message = format!("the byte `{byte:#04x}` is not UTF-8");
                let finding = Finding::new(&rules::INVALID_UTF8, "", message)
                    .at_byte(error.valid_up_to())
                    .hint(encoding::hint(kept));
                self.report(vec![finding], &String::from_utf8_lossy(kept), &mut line);
                return line;
            }
        };
        let findings = match json::parse(text) {
            Ok(parsed) => self.judge(&parsed, text.as_bytes(), directory, &mut line),
            Err(error) => {
                let message = format!("not JSON: {}", error.what);
                let finding = Finding::new(&rules::JSON_SYNTAX, "", message).at_byte(error.offset);
                vec![if json::python_dict(text).is_some() { finding.hint(PYTHON_DICT) } else { finding }]
            }
        };
        self.report(findings, text, &mut line);
        line
    }

    /// The findings about a line's value, which was parsed from the beginning of `text`.
    fn judge(
        &self,
        parsed: &json::Parsed<'_>,
        text: &[u8],
        directory: &Path,
        line: &mut CheckedLine,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(offset) = parsed.lone_surrogate.filter(|_| self.encoder.tokenizer.rejects_surrogates()) {
            findings.push(rejected_surrogate(offset));
        } else if let Some(offset) = parsed.lone_surrogate {
            let message = "unpaired surrogate, which becomes U+FFFD";
            findings.push(Finding::new(&rules::JSON_LONE_SURROGATE, "", message).at_byte(offset));
        }
        let row = checks::Row { value: &parsed.value, target: &self.target };
        let judged = checks::judge(&row, self.encoder.tokenizer);
        findings.extend(judged.findings);
        let sample = judged.sample;
        let fetcher = self.fetching.as_ref().map(|fetching| &fetching.fetcher);
        let payloads = Payloads { text, runs: &parsed.base64 };
        let resolver = Resolver::new(directory).fetching(fetcher).knowing(payloads);
        let look = |image| self.look(image, &resolver, &mut findings);
        let looked: Vec<_> = sample.images.iter().map(look).collect();
        line.images = looked.len();
        if !judged.accepted {
            return findings;
        }
        let unknown = (1, 1);
        let sizes: Vec<_> = looked.iter().map(|image| image.size.unwrap_or(unknown)).collect();
        findings.extend(self.refused_or_too_long(&sample, &sizes));
        findings.extend(checks::nothing_to_train(&sample));
        line.hashes = Some(SampleHashes::new(&sample, looked.iter().map(|image| image.hash)));
        if self.measure {
            line.measures = looked.into_iter().map(|image| image.measure).collect();
        }
        findings
    }

    /// What the reference refuses, or the context does not hold. Tokens are counted only where their bound is beyond it.
    fn refused_or_too_long(&self, sample: &BorrowedSample<'_>, sizes: &[(u32, u32)]) -> Option<Finding> {
        let encoder = &self.encoder;
        if let Some(overflow) = checks::certain_overflow(encoder.spec, encoder.tokenizer, sample) {
            return Some(overflow);
        }
        match encoder.plain_bound(sample, sizes).map_or_else(|| encoder.bound(sample, sizes), Ok) {
            Err(refusal) => Some(refusal),
            Ok(bound) if bound > encoder.spec.context => {
                let counted = encoder.count(sample, sizes);
                counted.map_or_else(Some, |counts| checks::context_overflow(encoder.spec, &counts))
            }
            Ok(_) => None,
        }
    }

    /// Sorts findings, gives them their places and drops those of rules that are not selected.
    fn report(&self, mut findings: Vec<Finding>, text: &str, line: &mut CheckedLine) {
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
            line.findings.push((finding, offset.map(|offset| column(text, offset)), excerpt));
        }
        line.findings.sort_by_key(|(_, column, _)| *column);
    }
}

/// The column of a byte of a text: characters before it, and one.
fn column(text: &str, offset: usize) -> u64 {
    let before = &text.as_bytes()[..offset.min(text.len())];
    // Every byte but those that continue a character.
    before.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64 + 1
}

impl CheckedLine {
    /// The findings at their places.
    pub fn reported(self, file: &str) -> impl Iterator<Item = Reported> {
        let number = self.number;
        self.findings.into_iter().map(move |(finding, column, excerpt)| {
            let diagnostic = Diagnostic { column, ..finding.at(file, number) };
            Reported { diagnostic, excerpt }
        })
    }
}
