//! The main job: rows and images in, training and validation files out.
//!
//! Three steps. The *scan* finishes every row as a line, on all threads and without knowledge of other rows; lines
//! and small records go to a spool on disk. *Decide* reads all records, from the journal if they are many: duplicates, split.
//! *Finish* puts the lines to their split. A killed run continues from its spool and writes the same bytes.

mod ahead;
mod dataset;
mod facts;
mod findings;
mod images;
mod journal;
mod options;
mod plan;
mod provenance;
mod reasons;
mod references;
mod resume;
mod scan;
mod scratch;
mod spool;
mod stages;
mod stream;
mod summary;
mod work;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pixtune_core::diagnostic::{Diagnostic, Severity};
use pixtune_core::rules;
use pixtune_core::text::counted_as;
use pixtune_files::LockError;

pub use options::{Images, MaxReject, Options, ScanOptions};
pub use plan::{PlannedInput, Preparation, parse_bytes};
pub use scan::{Origin, ScannedRow, Scanner};
pub use stages::{Done, Engine, Joined, Run, Stage, Threads, Worker, run_stages};

use crate::fetch::FetchCounts;
use crate::parallel;
use crate::progress::Progress;
use crate::read::{Fingerprint, ReadError, Row, RowReader, RowRef};
use crate::remote;
use crate::thumbnails::Thumbnails;
use crate::tokens::TokenizerError;
use ahead::Ahead;
use dataset::Spooled;
use facts::Facts;
use journal::Entry;
use spool::Spool;
use stages::Fragment;
use stream::Stream;
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
    #[error("the unfinished run in `{}` has other options or inputs: {difference}", path.display())]
    OtherPlan {
        /// Its directory.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
    /// A machine resolves the options to another plan, or sees other inputs.
    #[error("the options or inputs are not those of the run: {difference}")]
    OtherInputs {
        /// What differs.
        difference: String,
    },
    /// A machine does not see the work directory of the run.
    #[error("`{}` is not the work directory of the run: all nodes must share the path of the output", path.display())]
    NotShared {
        /// The directory.
        path: PathBuf,
    },
    /// The process that scans a fragment dies each time.
    #[error("{place}: the scan was started {starts} times and never ended")]
    Crashes {
        /// The fragment.
        place: String,
        /// How often it was started.
        starts: u64,
    },
    /// A task of a stage failed on another machine.
    #[error("{what}: {message}")]
    Task {
        /// The machine, and what it did.
        what: String,
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Another process writes there.
    #[error("another run is writing `{}`", path.display())]
    Locked {
        /// Its directory.
        path: PathBuf,
    },
    /// Too many rows were rejected.
    #[error("{rejected} of {} rejected; the limit is {limit}", counted_as(*rows, "row was", "rows were"))]
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
    /// Whoever watches the run ended it. What is finished is kept for `resume`.
    #[error("the run was interrupted")]
    Interrupted,
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
    /// What was downloaded so far. Called from time to time if images are fetched, and when the scan is over.
    fn fetching(&mut self, _counts: &FetchCounts) {}
    /// The scan is over; the files are being put together.
    fn finishing(&mut self);
    /// Whether the scan shall end now, with [`PrepareError::Interrupted`]. Asked after every row.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// The summary of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows read.
    pub rows: u64,
    /// Rows in the training files.
    pub train: u64,
    /// Rows in the validation files.
    pub validation: u64,
    /// Rows in the test split of the dataset: left out, or written to the test files.
    pub test: u64,
    /// Rows in `rejected.jsonl`, duplicates among them.
    pub rejected: u64,
    /// Of these, rows that repeat another.
    pub duplicates: u64,
    /// Images in the rows that were kept.
    pub images: u64,
    /// Of these, downscaled images.
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
    /// Rows reused from an unfinished run.
    pub resumed: u64,
}

/// Runs a plan to its end.
pub fn run(plan: &Preparation, watch: &mut dyn Watch) -> Result<Summary, PrepareError> {
    let work = Work::open(plan)?;
    if let Some(summary) = work.already_finished(plan)? {
        return Ok(summary);
    }
    stages::refuse_fragments(&work)?;
    let mut scanned = Scanned::new(Facts::new(work.path(), plan.options.memory));
    let result = scan_all(plan, &work, &mut scanned, watch);
    if matches!(result, Err(PrepareError::TooManyRejected { .. })) {
        work.discard()?;
    }
    let (segments, thumbnails) = result?;
    watch.finishing();
    let mut lines = Spooled { work: &work, segments, thumbnails };
    dataset::write_dataset(plan, &work, scanned, &mut lines, watch)
}

/// What the scan leaves behind in memory.
pub(crate) struct Scanned {
    pub(crate) facts: Facts,
    pub(crate) findings: BTreeMap<u16, u64>,
    pub(crate) rejected_by_rule: BTreeMap<u16, u64>,
    pub(crate) rejected: u64,
    pub(crate) resumed: u64,
    pub(crate) inputs: Vec<Fingerprint>,
}

impl Scanned {
    fn new(facts: Facts) -> Scanned {
        Scanned {
            facts,
            findings: BTreeMap::new(),
            rejected_by_rule: BTreeMap::new(),
            rejected: 0,
            resumed: 0,
            inputs: Vec::new(),
        }
    }

    fn add(&mut self, entry: &Entry) {
        self.facts.add(entry);
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
    plan: &Preparation,
    work: &Work,
    scanned: &mut Scanned,
    watch: &mut dyn Watch,
) -> Result<([Vec<spool::Segment>; 4], Thumbnails), PrepareError> {
    let write_error = |source| PrepareError::Write { path: work.path().to_owned(), source };
    let mut done = Vec::new();
    let mut spool = Spool::open(work.path(), plan.options.scan.target.max_file_bytes, |entry| {
        scanned.add(&entry);
        done.push(entry.row_hash);
    })
    .map_err(write_error)?;
    scanned.resumed = done.len() as u64;
    let mut rows = Ahead::new(plan, InputRows::open(plan, work, &done)?);
    drop(done);
    let watch = Mutex::new(watch);
    let watching = || watch.lock().unwrap_or_else(PoisonError::into_inner);
    let input_total = plan.input_bytes();
    let mut progress = Progress { input_total, rows: scanned.resumed, ..Progress::default() };
    let next = || rows.next(|counts| watching().fetching(counts));
    let scan = |(at, row, nth, input_read): NextRow| {
        (plan.scanner.scan(plan.inputs[at.file as usize].origin(), at, nth, &row), input_read)
    };
    let sink = |(mut row, input_read): (ScannedRow, u64)| {
        check_faults(plan)?;
        let mut entry = entry_of(plan, &mut row);
        spool.append(&mut entry, &row.line, &row.thumbnails).map_err(write_error)?;
        plan.scanner.recycle(row.line);
        scanned.add(&entry);
        progress = Progress {
            rows: progress.rows + 1,
            images: progress.images + entry.images.len() as u64,
            bytes: progress.bytes + entry.record.bytes,
            input_read,
            input_total,
        };
        for finding in row.findings {
            watching().finding(&finding.at(&plan.input_of(&entry.record).input.name, entry.record.line));
        }
        watching().progress(progress);
        if watching().is_interrupted() {
            return Err(PrepareError::Interrupted);
        }
        plan.check_rejected(scanned.rejected, progress.rows, false)
    };
    let outcome = parallel::ordered(plan.options.threads, next, scan, sink);
    // What is finished is kept, also when the run cannot go on.
    let flushed = spool.flush().map_err(write_error);
    outcome?;
    flushed?;
    plan.check_rejected(scanned.rejected, progress.rows, true)?;
    if let Some(fetcher) = plan.scanner.fetcher() {
        watching().fetching(&fetcher.counts());
    }
    scanned.inputs = rows.into_fingerprints();
    spool.finish().map_err(write_error)
}

/// Fails where rows that follow could not be scanned for a reason outside them, and would be rejected.
fn check_faults(plan: &Preparation) -> Result<(), PrepareError> {
    if let Some((path, error)) = remote::fault() {
        return Err(ReadError::Io { path, source: error.into() }.into());
    }
    match plan.scanner.fetcher().and_then(|fetcher| Some((fetcher, fetcher.fault()?))) {
        Some((fetcher, source)) => Err(PrepareError::Write { path: fetcher.cache().to_owned(), source }),
        None => Ok(()),
    }
}

fn entry_of(plan: &Preparation, row: &mut ScannedRow) -> Entry {
    let rejected = row.record.rejected;
    let likely = plan.options.split.likely_subset(&row.record, &row.images);
    let stream = match likely {
        _ if rejected => Stream::Rejected,
        pixtune_core::curate::Subset::Train => Stream::Train,
        pixtune_core::curate::Subset::Validation => Stream::Validation,
        pixtune_core::curate::Subset::Test => Stream::Test,
    };
    let findings =
        row.findings.iter().map(|finding| (rules::index(finding.rule), finding.severity)).collect();
    Entry {
        record: row.record,
        images: row.images.clone(),
        stream,
        row_hash: row.row_hash,
        checksum: 0,
        findings,
        image_names: std::mem::take(&mut row.image_names),
    }
}

/// A row, which of its samples is meant, and how many bytes of all inputs are read with it.
type NextRow = (RowRef, Row, u8, u64);

/// All rows of all inputs, one after the other.
struct InputRows<'a> {
    plan: &'a Preparation,
    /// The index of the input that is read, and of the one before which reading ends.
    input: u32,
    until: u32,
    /// Rows that are read at most.
    left: u64,
    reader: Option<Box<dyn RowReader>>,
    /// A row that becomes further samples, and which of them is next.
    repeated: Option<(RowRef, Row, std::ops::Range<u8>, u64)>,
    fingerprints: Vec<Fingerprint>,
}

impl<'a> InputRows<'a> {
    /// The rows of consecutive inputs.
    fn between(plan: &'a Preparation, input: u32, until: u32) -> InputRows<'a> {
        let (reader, repeated, fingerprints) = (None, None, Vec::new());
        InputRows { plan, input, until, left: u64::MAX, reader, repeated, fingerprints }
    }

    /// The rows of a part of one input.
    fn of_fragment(plan: &'a Preparation, fragment: &Fragment) -> Result<InputRows<'a>, PrepareError> {
        let mut rows = InputRows::between(plan, fragment.input, fragment.input + 1);
        if let Some(start) = fragment.start {
            let input = &plan.inputs[fragment.input as usize].input;
            rows.reader = Some(input.open_at(start, plan.options.max_row_bytes)?);
        }
        rows.left = fragment.rows.unwrap_or(u64::MAX);
        Ok(rows)
    }

    /// Starts after the rows that are done, which must not have changed.
    fn open(plan: &'a Preparation, work: &Work, done: &[u64]) -> Result<InputRows<'a>, PrepareError> {
        let until = plan.inputs.len() as u32;
        let mut rows = InputRows::between(plan, 0, until);
        for hash in done {
            let row = rows.next()?;
            if row.as_ref().is_none_or(|(at, row, ..)| row.hash(*at) != *hash) {
                let place = row.map_or("the inputs have fewer rows".to_owned(), |(at, ..)| {
                    format!("{}:{} has changed", plan.inputs[at.file as usize].input.name, at.number)
                });
                return Err(PrepareError::OtherPlan { path: work.path().to_owned(), difference: place });
            }
        }
        Ok(rows)
    }

    /// The next row, as often as it becomes samples; the number of the sample; and how many bytes of all inputs are read with
    /// it.
    fn next(&mut self) -> Result<Option<NextRow>, PrepareError> {
        if let Some((at, row, rest, input_read)) = &mut self.repeated
            && let Some(nth) = rest.next()
        {
            return Ok(Some((*at, row.clone(), nth, *input_read)));
        }
        self.repeated = None;
        while self.left > 0
            && self.input < self.until
            && let Some(PlannedInput { input, schema, .. }) = self.plan.inputs.get(self.input as usize)
        {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                closed => closed.insert(input.open(self.input, self.plan.options.max_row_bytes)?),
            };
            if let Some((at, row)) = reader.next_row()? {
                self.left -= 1;
                let input_read = self.plan.bytes_before(self.input) + reader.position();
                let samples = schema.samples(&row, self.plan.options.scan.answers);
                if samples > 1 {
                    self.repeated = Some((at, row.clone(), 1..samples, input_read));
                }
                return Ok(Some((at, row, 0, input_read)));
            }
            self.fingerprints.push(reader.fingerprint());
            self.reader = None;
            self.input += 1;
        }
        Ok(None)
    }
}
