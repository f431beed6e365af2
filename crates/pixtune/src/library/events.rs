//! What is heard of a run: findings, changes, notes, and how far it is.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::fix::Change;
use pixtune_io::check::{CheckReporter, Reported};
use pixtune_io::fetch::FetchCounts;
use pixtune_io::fix::FixReporter;
use pixtune_io::prepare::Watch;
use pixtune_io::progress::Progress;
use pixtune_io::provenance::Sources;

/// Something to report.
#[derive(Debug)]
pub enum Event<'e> {
    /// A finding, at the row that `prepare` made its line of where that is known.
    Finding(&'e Diagnostic),
    /// A change that `fix` made.
    Change {
        /// The file.
        file: &'e str,
        /// The line, from 1.
        line: u64,
        /// What was changed.
        change: &'e Change,
    },
    /// What the user should know beside the findings.
    Note(&'e str),
}

/// Who hears of a run. Calls come from any thread, one at a time.
pub trait Hear: Send + Sync {
    /// Something to report, in input order.
    fn event(&mut self, event: Event<'_>);
    /// Bytes of input or output that are done, and of how many.
    fn progress(&mut self, done: u64, total: u64);
    /// Whether the run shall end now.
    fn is_interrupted(&self) -> bool;
}

/// Hears of `prepare`.
pub(super) struct PrepareEvents<'h> {
    hear: RefCell<&'h mut dyn Hear>,
    sources: Sources,
    fetched: Option<FetchCounts>,
}

impl<'h> PrepareEvents<'h> {
    pub(super) fn new(hear: &'h mut dyn Hear) -> PrepareEvents<'h> {
        PrepareEvents { hear: RefCell::new(hear), sources: Sources::default(), fetched: None }
    }

    pub(super) fn note(&self, text: &str) {
        self.hear.borrow_mut().event(Event::Note(text));
    }

    /// What was downloaded, when images are.
    pub(super) fn fetched(&self) -> Option<&FetchCounts> {
        self.fetched.as_ref()
    }
}

impl Watch for PrepareEvents<'_> {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        self.hear.get_mut().event(Event::Finding(&self.sources.locate(diagnostic)));
    }

    fn progress(&mut self, progress: Progress) {
        self.hear.get_mut().progress(progress.input_read, progress.input_total);
    }

    fn fetching(&mut self, counts: &FetchCounts) {
        self.fetched = Some(counts.clone());
    }

    fn finishing(&mut self) {}

    fn is_interrupted(&self) -> bool {
        self.hear.borrow().is_interrupted()
    }
}

/// Hears of `check`.
pub(super) struct CheckEvents<'h> {
    hear: &'h mut dyn Hear,
    sources: Sources,
}

impl<'h> CheckEvents<'h> {
    pub(super) fn new(hear: &'h mut dyn Hear) -> CheckEvents<'h> {
        CheckEvents { hear, sources: Sources::default() }
    }

    pub(super) fn note(&mut self, text: &str) {
        self.hear.event(Event::Note(text));
    }
}

impl CheckReporter for CheckEvents<'_> {
    fn finding(&mut self, reported: &Reported) -> io::Result<()> {
        self.hear.event(Event::Finding(&self.sources.locate(&reported.diagnostic)));
        Ok(())
    }

    fn progress(&mut self, progress: Progress) {
        self.hear.progress(progress.input_read, progress.input_total);
    }

    fn is_interrupted(&self) -> bool {
        self.hear.is_interrupted()
    }
}

/// Hears of `fix`.
pub(super) struct FixEvents<'h> {
    hear: &'h mut dyn Hear,
    file: String,
}

impl<'h> FixEvents<'h> {
    pub(super) fn new(hear: &'h mut dyn Hear, file: &Path) -> FixEvents<'h> {
        FixEvents { hear, file: file.display().to_string() }
    }
}

impl FixReporter for FixEvents<'_> {
    fn change(&mut self, line: u64, change: &Change) -> io::Result<()> {
        self.hear.event(Event::Change { file: &self.file, line, change });
        Ok(())
    }

    fn remaining(&mut self, error: &Diagnostic) -> io::Result<()> {
        self.hear.event(Event::Finding(error));
        Ok(())
    }

    fn progress(&mut self, progress: Progress) {
        self.hear.progress(progress.input_read, progress.input_total);
    }

    fn is_interrupted(&self) -> bool {
        self.hear.is_interrupted()
    }
}
