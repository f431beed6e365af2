//! `check` over files: every line on all threads, then what lines and files show together.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use pixtune_core::diagnostic::{Fix, Severity};

use super::{CheckedLine, Checker, DatasetChecks, Reported};
use crate::progress::Progress;
use crate::read::{LineFile, ReadError};

/// What to check, and how.
pub struct CheckPlan<'c> {
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// What checks their lines.
    pub checker: Checker<'c>,
    /// The bytes of a line that are kept; a longer line is a finding.
    pub max_line: usize,
    /// Threads to work on.
    pub threads: usize,
}

/// What a check reports to.
pub trait CheckReporter: Send {
    /// A finding, in the order of files and lines. An error ends the check.
    fn finding(&mut self, reported: &Reported) -> io::Result<()>;
    /// How far the check is.
    fn progress(&mut self, progress: Progress);
    /// Whether the check shall end now, with [`CheckError::Interrupted`]. Asked after every block of lines.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// What ends a check.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A finding could not be reported.
    #[error("cannot report a finding")]
    Report {
        /// Why.
        source: io::Error,
    },
    /// Whoever hears of the findings ended it.
    #[error("the check was interrupted")]
    Interrupted,
    /// The directory for temporary files, or for downloads, could not be used.
    #[error("cannot write `{}`", path.display())]
    Temporary {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What was checked and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckSummary {
    /// Files checked.
    pub files: u64,
    /// Samples in them.
    pub samples: u64,
    /// Samples with an error.
    pub bad_samples: u64,
    /// Images in the samples.
    pub images: u64,
    /// Findings by severity and rule.
    pub findings: BTreeMap<(Severity, &'static str), u64>,
    /// Findings that `fix` repairs safely.
    pub safe_fixes: u64,
    /// Findings that `fix` repairs only by guessing.
    pub unsafe_fixes: u64,
    /// Images of training files were looked for in validation files.
    pub compared_images: bool,
}

impl CheckSummary {
    /// Findings of a severity.
    pub fn count(&self, severity: Severity) -> u64 {
        let of_severity = self.findings.iter().filter(|((found, _), _)| *found == severity);
        of_severity.map(|(_, count)| count).sum()
    }

    fn add(&mut self, reported: &Reported) {
        let finding = &reported.diagnostic.finding;
        *self.findings.entry((finding.severity, finding.rule.id)).or_default() += 1;
        match finding.rule.fix {
            Some(Fix::Safe) => self.safe_fixes += 1,
            Some(Fix::Unsafe) => self.unsafe_fixes += 1,
            None => {}
        }
    }
}

/// Checks the files of a plan.
pub fn run(plan: CheckPlan<'_>, reporter: &mut dyn CheckReporter) -> Result<CheckSummary, CheckError> {
    let (files, max_line) = (plan.files.clone(), plan.max_line);
    check_all(plan, files.iter().map(|file| LineFile::open(file, max_line)), reporter)
}

/// Checks lines that come from elsewhere than the file of the plan, which has its name.
pub fn run_lines(
    plan: CheckPlan<'_>,
    lines: LineFile,
    reporter: &mut dyn CheckReporter,
) -> Result<CheckSummary, CheckError> {
    check_all(plan, std::iter::once(Ok(lines)), reporter)
}

fn check_all(
    mut plan: CheckPlan<'_>,
    files: impl Iterator<Item = Result<LineFile, ReadError>>,
    reporter: &mut dyn CheckReporter,
) -> Result<CheckSummary, CheckError> {
    let names: Vec<String> = plan.files.iter().map(|file| file.display().to_string()).collect();
    let (selection, target) = (plan.checker.selection.clone(), plan.checker.target);
    let mut across = DatasetChecks::new(&names, &selection, &target);
    let compared_images = across.compares_images();
    plan.checker.measure &= compared_images;
    let input_total =
        plan.files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
    let mut run = Run {
        plan: &plan,
        reporter,
        summary: CheckSummary { compared_images, ..CheckSummary::default() },
        progress: Progress { input_total, ..Progress::default() },
    };
    for (index, lines) in files.enumerate() {
        run.file(index, lines?, &mut across)?;
    }
    let threads = NonZeroUsize::new(plan.threads).unwrap_or(NonZeroUsize::MIN);
    let temporary = |source| CheckError::Temporary { path: std::env::temp_dir(), source };
    run.report(&across.end(threads).map_err(temporary)?)?;
    Ok(run.summary)
}

struct Run<'r> {
    plan: &'r CheckPlan<'r>,
    reporter: &'r mut dyn CheckReporter,
    summary: CheckSummary,
    progress: Progress,
}

impl Run<'_> {
    fn file(
        &mut self,
        index: usize,
        lines: LineFile,
        across: &mut DatasetChecks<'_>,
    ) -> Result<(), CheckError> {
        let CheckPlan { checker, threads, .. } = self.plan;
        let (name, directory) = (lines.name.clone(), lines.directory.clone());
        let mut number = 0;
        let sink = |checked: Vec<CheckedLine>| {
            if let Some((path, source)) = checker.fetching.as_ref().and_then(|fetching| fetching.fault()) {
                return Err(CheckError::Temporary { path, source });
            }
            across.prefetch(&checked);
            for mut line in checked {
                number += 1;
                line.number = number;
                across.add(index, &mut line);
                self.line(line, &name)?;
            }
            self.reporter.progress(self.progress);
            if self.reporter.is_interrupted() {
                return Err(CheckError::Interrupted);
            }
            Ok::<_, CheckError>(())
        };
        let form =
            lines.each_block(*threads, |block, done| checker.check_block(&directory, block, done), sink)?;
        self.summary.files += 1;
        self.report(&across.end_of_file(index, &form))
    }

    fn line(&mut self, line: CheckedLine, file: &str) -> Result<(), CheckError> {
        let is_error = line.findings.iter().any(|(finding, ..)| finding.severity == Severity::Error);
        self.summary.samples += u64::from(line.is_sample);
        self.summary.bad_samples += u64::from(line.is_sample && is_error);
        self.summary.images += line.images as u64;
        self.progress.rows += 1;
        self.progress.images += line.images as u64;
        self.progress.input_read += line.length;
        line.reported(file).try_for_each(|reported| self.report(&[reported]))
    }

    fn report(&mut self, reported: &[Reported]) -> Result<(), CheckError> {
        for reported in reported {
            self.summary.add(reported);
            self.reporter.finding(reported).map_err(|source| CheckError::Report { source })?;
        }
        Ok(())
    }
}
