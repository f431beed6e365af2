//! `fix` over a file: every line on all threads, into a file that appears whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::{Diagnostic, Finding, Fix, Severity};
use pixtune_core::fix::Change;
use pixtune_core::rules;
use pixtune_files::{Existing, WholeFile};

use super::{Fixed, Fixer, TooLarge};
use crate::progress::Progress;
use crate::read::discover::refuse_all_but_directories;
use crate::read::{Elements, FileForm, LineFile, ReadError};

/// What to fix, and how.
pub struct FixPlan {
    /// The file to read; `-` for standard input.
    pub file: PathBuf,
    /// The file to write; `-` for standard output.
    pub out: PathBuf,
    /// Replace the output if it exists.
    pub force: bool,
    /// Where relative paths of images start, if not in the directory of the file.
    pub image_folder: Option<PathBuf>,
    /// What fixes the lines.
    pub fixer: Fixer,
    /// The bytes of a line that are kept.
    pub max_line: usize,
    /// Threads to work on.
    pub threads: usize,
}

/// What a fix reports to.
pub trait FixReporter: Send {
    /// A change to a line of the input, in the order of lines; changes to the whole file follow. An error ends the
    /// run.
    fn change(&mut self, line: u64, change: &Change) -> io::Result<()>;
    /// An error that is left in the output, at its line of the input.
    fn remaining(&mut self, error: &Diagnostic) -> io::Result<()>;
    /// How far the run is.
    fn progress(&mut self, progress: Progress);
    /// Whether the run shall end now, with [`FixError::Interrupted`] and without output. Asked after every block of lines.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// What ends a fix.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line is longer than what is kept of one.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Whoever hears of the changes ended it.
    #[error("the run was interrupted; nothing was written")]
    Interrupted,
    /// The output is the input.
    #[error("`{}` is the input, which is never changed", path.display())]
    InPlace {
        /// The file.
        path: PathBuf,
    },
    /// The output exists.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The output could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A change could not be reported, or standard output was closed.
    #[error("cannot report a change")]
    Report {
        /// Why.
        source: io::Error,
    },
}

/// What was fixed, and what is still wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FixSummary {
    /// Samples written.
    pub samples: u64,
    /// Changes.
    pub changes: u64,
    /// Lines with changes, counting the whole file as one.
    pub changed_lines: u64,
    /// Samples dropped.
    pub dropped: u64,
    /// Errors left.
    pub errors: u64,
    /// Samples with an error left.
    pub bad_samples: u64,
    /// Warnings left.
    pub warnings: u64,
    /// Errors left that unsafe fixes repair or drop.
    pub fixable_errors: u64,
}

/// Fixes the file of a plan.
pub fn run(plan: &FixPlan, reporter: &mut dyn FixReporter) -> Result<FixSummary, FixError> {
    refuse_output(plan)?;
    plan.image_folder.as_deref().map_or(Ok(()), refuse_all_but_directories)?;
    let lines = LineFile::open(&plan.file, plan.max_line)?;
    let directory = plan.image_folder.clone().unwrap_or_else(|| lines.directory.clone());
    let mut out = Out::create(&plan.out, plan.force)?;
    let mut log = Log::new(plan, reporter);
    let sink = |done: Vec<Result<Fixed, TooLarge>>| {
        let fetching = plan.fixer.checker.fetching.as_ref();
        if let Some((path, source)) = fetching.and_then(|fetching| fetching.fault()) {
            return Err(FixError::Write { path, source });
        }
        for fixed in done {
            let number = log.progress.rows + 1;
            let fixed = fixed.map_err(|error| TooLarge { line: number, ..error })?;
            if let Some(line) = &fixed.line {
                out.write(line)?;
            }
            log.line(&fixed).map_err(report_error)?;
        }
        if log.reporter.is_interrupted() {
            return Err(FixError::Interrupted);
        }
        Ok::<_, FixError>(())
    };
    let fixer = &plan.fixer;
    let form = lines.each_block(
        plan.threads,
        |block, done| {
            fixer.checker.request_images(block);
            done.extend(block.rows().map(|(length, row)| fixer.fix(&directory, length, row)));
        },
        sink,
    )?;
    log.file(&form).map_err(report_error)?;
    refuse_existing(plan)?;
    out.finish()?;
    log.end().map_err(report_error)
}

/// Reports every change and every error that is left, and counts them.
struct Log<'r> {
    name: String,
    reporter: &'r mut dyn FixReporter,
    summary: FixSummary,
    progress: Progress,
}

impl<'r> Log<'r> {
    fn new(plan: &FixPlan, reporter: &'r mut dyn FixReporter) -> Log<'r> {
        let input_total = plan.file.metadata().map_or(0, |about| about.len());
        let progress = Progress { input_total, ..Progress::default() };
        Log { name: plan.file.display().to_string(), reporter, summary: FixSummary::default(), progress }
    }

    fn line(&mut self, fixed: &Fixed) -> io::Result<()> {
        self.progress.rows += 1;
        self.progress.images += fixed.left.images as u64;
        self.progress.input_read += fixed.length;
        let is_sample = fixed.left.is_sample;
        self.summary.samples += u64::from(is_sample && fixed.line.is_some());
        self.summary.dropped += u64::from(is_sample && fixed.line.is_none());
        self.summary.changed_lines += u64::from(!fixed.changes.is_empty());
        for change in &fixed.changes {
            self.change(self.progress.rows, change)?;
        }
        let errors_before = self.summary.errors;
        for (finding, column, _) in &fixed.left.findings {
            if finding.severity == Severity::Error {
                self.summary.fixable_errors += u64::from(finding.rule.fix.is_some());
                let place = finding.clone().at(&self.name, self.progress.rows);
                self.remaining(&Diagnostic { column: *column, ..place })?;
            } else {
                self.summary.warnings += 1;
            }
        }
        self.summary.bad_samples += u64::from(self.summary.errors > errors_before);
        self.reporter.progress(self.progress);
        Ok(())
    }

    /// Changes that concern the whole file.
    fn file(&mut self, form: &FileForm) -> io::Result<()> {
        let elements = match form.elements {
            Some(Elements::Objects) => "the objects written as lines; the numbers above count them",
            _ => "the array written as lines; the numbers above count its elements",
        };
        let elements = (&rules::JSON_ARRAY, elements);
        let mark = (&rules::JSON_BOM, "the byte order mark removed");
        for ((rule, message), applies) in
            [(elements, form.elements.is_some()), (mark, form.has_byte_order_mark)]
        {
            if applies {
                self.summary.changed_lines += 1;
                let (pointer, message) = (String::new(), message.to_owned());
                self.change(1, &Change { rule, fix: Fix::Safe, pointer, message })?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<FixSummary> {
        if self.summary.samples == 0 {
            let finding = Finding::new(&rules::FILE_EMPTY, "", "the fixed file holds no sample");
            self.remaining(&finding.at(&self.name, 1))?;
        }
        Ok(self.summary)
    }

    fn change(&mut self, line: u64, change: &Change) -> io::Result<()> {
        self.summary.changes += 1;
        self.reporter.change(line, change)
    }

    fn remaining(&mut self, error: &Diagnostic) -> io::Result<()> {
        self.summary.errors += 1;
        self.reporter.remaining(error)
    }
}

/// Never in place, and nothing is replaced that was not meant to be.
fn refuse_output(plan: &FixPlan) -> Result<(), FixError> {
    let FixPlan { file, out, .. } = plan;
    let same = match (fs::canonicalize(file), fs::canonicalize(out)) {
        (Ok(file), Ok(out)) => file == out,
        _ => file == out,
    };
    if out != Path::new("-") && same {
        return Err(FixError::InPlace { path: out.clone() });
    }
    refuse_existing(plan)
}

fn refuse_existing(plan: &FixPlan) -> Result<(), FixError> {
    let FixPlan { out, force, .. } = plan;
    if out != Path::new("-") && out.exists() && !force {
        return Err(FixError::Exists { path: out.clone() });
    }
    Ok(())
}

/// Where fixed lines go.
enum Out<'a> {
    File(&'a Path, WholeFile),
    Standard(io::BufWriter<io::Stdout>),
}

impl<'a> Out<'a> {
    fn create(path: &'a Path, force: bool) -> Result<Out<'a>, FixError> {
        if path == Path::new("-") {
            return Ok(Out::Standard(io::BufWriter::new(io::stdout())));
        }
        let existing = if force { Existing::Replace } else { Existing::Keep };
        let file = WholeFile::create(path, existing).map_err(|source| write_error(path, source))?;
        Ok(Out::File(path, file))
    }

    fn write(&mut self, line: &[u8]) -> Result<(), FixError> {
        match self {
            Out::File(path, file) => file.write_all(line).map_err(|source| write_error(path, source)),
            Out::Standard(out) => out.write_all(line).map_err(report_error),
        }
    }

    fn finish(self) -> Result<(), FixError> {
        match self {
            Out::File(path, file) => file.commit().map_err(|source| write_error(path, source)),
            Out::Standard(mut out) => out.flush().map_err(report_error),
        }
    }
}

fn write_error(path: &Path, source: io::Error) -> FixError {
    FixError::Write { path: path.to_owned(), source }
}

fn report_error(source: io::Error) -> FixError {
    FixError::Report { source }
}
