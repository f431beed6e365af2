//! The main job: rows and images in, training and validation files out.
//!
//! Three steps. The *scan* finishes every row as a line, on all threads and without knowledge of other rows; lines
//! and small records go to a spool on disk. *Decide* looks at all records: duplicates, split. *Finish* puts the
//! lines where the decision wants them. A run that was killed goes on from its spool and writes the same bytes.

mod count;
mod finish;
mod journal;
mod manifest;
mod options;
mod plan;
mod scan;
mod spool;
mod telling;
mod work;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use pixtune_core::curate::Records;
use pixtune_core::diagnostic::{Diagnostic, Severity};
use pixtune_core::rules;
use pixtune_files::LockError;

pub use options::{Images, MaxReject, Options, Verify};
pub use plan::{Plan, parse_bytes};

use crate::parallel;
use crate::read::ReadError;
use crate::read::records::RawRow;
use crate::thumbnails::Thumbnails;
use crate::tokens::TokenizerError;
use journal::{Entry, Stream};
use scan::Finished;
use spool::Spool;
use work::Work;

/// A run that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// An input could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The tokenizer file could not be used.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The output or the unfinished run beside it could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output is there already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The output is a directory that was not made by this program, so it is never replaced.
    #[error("`{}` holds something else than prepared data and is not replaced", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// An unfinished run is there.
    #[error("an unfinished run is in `{}`", path.display())]
    Unfinished {
        /// Its directory.
        path: PathBuf,
    },
    /// The unfinished run was made with other options or inputs.
    #[error("the unfinished run in `{}` was made with other options or inputs: {difference}", path.display())]
    OtherPlan {
        /// Its directory.
        path: PathBuf,
        /// The first line that differs.
        difference: String,
    },
    /// Another process writes there.
    #[error("another run is writing `{}`", path.display())]
    Locked {
        /// Its directory.
        path: PathBuf,
    },
    /// Too many rows were rejected.
    #[error("{rejected} of {rows} rows were rejected; the limit is {limit}")]
    TooManyRejected {
        /// Rejected rows.
        rejected: u64,
        /// Rows read so far.
        rows: u64,
        /// The limit as given.
        limit: String,
    },
    /// Near duplicates or image quality are asked for, and images are not measured.
    #[error("{wanted} needs every image measured, and {because} leaves some unmeasured")]
    Unmeasured {
        /// What needs it.
        wanted: String,
        /// What is in the way.
        because: &'static str,
    },
    /// `--split group` or `stratify` without a column for it.
    #[error("`{file}` has no column for the {what}")]
    NoLabel {
        /// The input.
        file: String,
        /// Group or stratum.
        what: &'static str,
    },
}

impl From<LockError> for PrepareError {
    fn from(error: LockError) -> PrepareError {
        match error {
            LockError::Held { path } => PrepareError::Locked { path },
            LockError::Io { path, source } => PrepareError::Write { path, source },
        }
    }
}

/// Who watches a run.
pub trait Watch: Send {
    /// A finding, in input order.
    fn finding(&mut self, diagnostic: &Diagnostic);
    /// How far the scan is.
    fn progress(&mut self, progress: Progress);
    /// The scan is over; the files are being put together.
    fn finishing(&mut self);
}

/// How far the scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows done.
    pub rows: u64,
    /// Images in them.
    pub images: u64,
    /// Bytes of output made.
    pub bytes: u64,
    /// Bytes of input read.
    pub input_read: u64,
    /// Bytes of input in all.
    pub input_total: u64,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows read.
    pub rows: u64,
    /// Rows in the training files.
    pub train: u64,
    /// Rows in the validation files.
    pub validation: u64,
    /// Rows in `rejected.jsonl`, duplicates among them.
    pub rejected: u64,
    /// Of these, rows that repeat another.
    pub duplicates: u64,
    /// Images in the rows that were kept.
    pub images: u64,
    /// Of these, images made smaller.
    pub shrunk: u64,
    /// Tokens of the rows that were kept.
    pub tokens: u64,
    /// Of these, tokens of images.
    pub image_tokens: u64,
    /// Of these, tokens with loss.
    pub trained_tokens: u64,
    /// Tokens of the median sample.
    pub median_tokens: u32,
    /// Tokens of the largest sample.
    pub max_tokens: u32,
    /// Bytes of the largest sample.
    pub max_bytes: u64,
    /// Findings by rule.
    pub findings: BTreeMap<String, u64>,
    /// Rejected rows by rule.
    pub rejected_by_rule: BTreeMap<String, u64>,
    /// The files written: name, bytes, lines.
    pub outputs: Vec<(String, u64, u64)>,
    /// Rows taken over from an unfinished run.
    pub resumed: u64,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan, watch: &mut dyn Watch) -> Result<Summary, PrepareError> {
    let work = Work::open(plan)?;
    if let Some(summary) = work.already_finished(plan)? {
        return Ok(summary);
    }
    let mut scanned = Scanned::default();
    let result = scan_all(plan, &work, &mut scanned, watch);
    if matches!(result, Err(PrepareError::TooManyRejected { .. })) {
        work.discard()?;
    }
    let (segments, thumbnails) = result?;
    watch.finishing();
    finish::finish(plan, &work, scanned, &segments, thumbnails, watch)
}

/// What the scan leaves behind in memory.
#[derive(Default)]
pub(crate) struct Scanned {
    pub(crate) records: Records,
    pub(crate) streams: Vec<Stream>,
    pub(crate) findings: BTreeMap<u16, u64>,
    pub(crate) rejected_by_rule: BTreeMap<u16, u64>,
    pub(crate) rejected: u64,
    pub(crate) resumed: u64,
    pub(crate) inputs: Vec<(u64, String)>,
}

impl Scanned {
    fn add(&mut self, entry: &Entry) {
        self.records.push(entry.record, &entry.images);
        self.streams.push(entry.stream);
        for (rule, _) in &entry.findings {
            *self.findings.entry(*rule).or_default() += 1;
        }
        if entry.record.rejected {
            self.rejected += 1;
            if let Some((rule, _)) = entry.findings.iter().find(|(_, severity)| *severity == Severity::Error)
            {
                *self.rejected_by_rule.entry(*rule).or_default() += 1;
            }
        }
    }
}

fn scan_all(
    plan: &Plan,
    work: &Work,
    scanned: &mut Scanned,
    watch: &mut dyn Watch,
) -> Result<([Vec<spool::Segment>; 3], Thumbnails), PrepareError> {
    let write_error = |source| PrepareError::Write { path: work.path().to_owned(), source };
    let mut done = Vec::new();
    let mut spool = Spool::open(work.path(), plan.options.target.max_file_bytes, |entry| {
        scanned.add(&entry);
        done.push(entry.row_hash);
    })
    .map_err(write_error)?;
    scanned.resumed = done.len() as u64;
    let mut source = Source::open(plan, work, &done)?;
    drop(done);
    let input_total = plan.input_bytes();
    let mut progress = Progress { input_total, rows: scanned.resumed, ..Progress::default() };
    let next = || source.next();
    let work_on = |(input, row): (u32, RawRow)| {
        let finished = scan::finish(plan, input, &row);
        let read = plan.bytes_before(input) + row.offset + row.length;
        (finished, read)
    };
    let sink = |(finished, input_read): (Finished, u64)| {
        let mut entry = entry_of(plan, &finished);
        spool.append(&mut entry, &finished.line, &finished.thumbnails).map_err(write_error)?;
        plan.buffers.give(finished.line);
        scanned.add(&entry);
        progress = Progress {
            rows: progress.rows + 1,
            images: progress.images + entry.images.len() as u64,
            bytes: progress.bytes + entry.record.bytes,
            input_read,
            input_total,
        };
        for finding in finished.findings {
            let name = &plan.tables[entry.record.input as usize].input.name;
            watch.finding(&finding.at(name, entry.record.line));
        }
        watch.progress(progress);
        plan.check_rejected(scanned.rejected, progress.rows, false)
    };
    let outcome = parallel::ordered(plan.options.threads, next, work_on, sink);
    // What is finished is kept, also when the run cannot go on.
    let flushed = spool.flush().map_err(write_error);
    outcome?;
    flushed?;
    plan.check_rejected(scanned.rejected, progress.rows, true)?;
    scanned.inputs = source.fingerprints;
    spool.finish().map_err(write_error)
}

fn entry_of(plan: &Plan, finished: &Finished) -> Entry {
    let rejected = finished.record.rejected;
    let likely = plan.options.split.likely_subset(&finished.record, &finished.images);
    let stream = match likely {
        _ if rejected => Stream::Rejected,
        pixtune_core::curate::Subset::Train => Stream::Train,
        pixtune_core::curate::Subset::Validation => Stream::Validation,
    };
    let findings =
        finished.findings.iter().map(|finding| (rules::index(finding.rule), finding.severity)).collect();
    Entry {
        record: finished.record,
        images: finished.images.clone(),
        stream,
        row_hash: finished.row_hash,
        checksum: 0,
        findings,
    }
}

/// All rows of all inputs, one after the other.
struct Source<'a> {
    plan: &'a Plan,
    input: usize,
    rows: Option<crate::read::records::Records<fs::File>>,
    fingerprints: Vec<(u64, String)>,
}

impl<'a> Source<'a> {
    /// Starts behind the rows that are done, which must still be what they were.
    fn open(plan: &'a Plan, work: &Work, done: &[u64]) -> Result<Source<'a>, PrepareError> {
        let mut source = Source { plan, input: 0, rows: None, fingerprints: vec![] };
        for hash in done {
            let row = source.next()?;
            if row.as_ref().is_none_or(|(_, row)| row.hash() != *hash) {
                let place = row.map_or("the inputs have fewer rows".to_owned(), |(input, row)| {
                    format!("{}:{} has changed", plan.tables[input as usize].input.name, row.line)
                });
                return Err(PrepareError::OtherPlan { path: work.path().to_owned(), difference: place });
            }
        }
        Ok(source)
    }

    fn next(&mut self) -> Result<Option<(u32, RawRow)>, PrepareError> {
        while let Some(table) = self.plan.tables.get(self.input) {
            if self.rows.is_none() {
                self.rows = Some(table.rows(self.plan.options.max_row_bytes)?);
            }
            let rows = self.rows.as_mut().expect("it was just opened");
            let broken = |source| ReadError::Io { path: table.input.path.clone(), source };
            if let Some(row) = rows.next_row().map_err(broken)? {
                return Ok(Some((self.input as u32, row)));
            }
            self.fingerprints.push(rows.fingerprint());
            self.rows = None;
            self.input += 1;
        }
        Ok(None)
    }
}
