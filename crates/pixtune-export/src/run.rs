//! The run of an export: rows in order to the files of their split, then the configuration, then the name of the directory.

mod finish;
mod start;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::mem;
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::json;
use pixtune_core::plan::{SplitCounts, TrainingPlan};
use pixtune_core::split::GivenSplit;
use pixtune_files::WorkDirectory;
use pixtune_io::manifest::{InputFile, OutputFile, portable_name};
use pixtune_io::progress::Progress;
use pixtune_io::read::{Elements, LineFile, MAX_LINE, Row, RowRef};

use crate::ExportError;
use crate::plan::ExportPlan;
use crate::row::{Converted, Converter};
use crate::source::SplitFile;
use crate::store::{Encode, Piece, Store};
use crate::trainer::check::Literals;
use start::{
    CHECKPOINT, Checkpoint, is_fitted, open_work, refuse_existing, refuse_other_layout, refuse_other_model,
};

/// What an export reports to.
pub trait ExportReporter: Send {
    /// A file that is one array: lines are numbered by element.
    fn elements(&mut self, file: &str, elements: Elements);
    /// A sample that cannot be exported, or a warning about one that can, in the order of the lines.
    fn finding(&mut self, diagnostic: &Diagnostic);
    /// How far the run is.
    fn progress(&mut self, progress: Progress);
}

/// What was exported.
#[derive(Debug, Clone)]
pub struct ExportSummary {
    /// Rows read.
    pub rows: u64,
    /// Samples of training, validation and test.
    pub samples: [u64; 3],
    /// Rejected rows.
    pub rejected: u64,
    /// Findings by rule.
    pub findings: BTreeMap<&'static str, u64>,
    /// Images in the samples.
    pub images: u64,
    /// Images whose sides are no multiples of a patch: the processors of transformers resize them with another filter than
    /// the reference.
    pub resized_by_trainer: u64,
    /// Tokens of the samples.
    pub tokens: u64,
    /// Of these, tokens that count in the loss.
    pub trained_tokens: u64,
    /// Tokens of the longest sample.
    pub longest: u64,
    /// The files that were written, without images that are files.
    pub outputs: Vec<OutputFile>,
    /// The plan that the configuration follows, if there is one.
    pub training: Option<TrainingPlan>,
}

/// Rejected rows, with the reason.
const REJECTED: &str = "rejected.jsonl";
/// The data of an unfinished export, in its work directory.
const DATA: &str = "export";
/// Images that are not whole yet, in the work directory.
const UNFINISHED: &str = "unfinished";

/// Exports the dataset of a plan.
pub fn run(plan: &ExportPlan<'_>, reporter: &mut dyn ExportReporter) -> Result<ExportSummary, ExportError> {
    refuse_existing(plan)?;
    refuse_other_model(plan)?;
    refuse_other_layout(plan)?;
    for file in &plan.source.files {
        // What cannot be opened is found before anything is made.
        LineFile::open(&file.path, MAX_LINE)?;
    }
    let work = WorkDirectory::open(&plan.out)?;
    let checkpoint = open_work(plan, &work)?;
    let root = work.path().join(DATA);
    let write_error = |path: &Path, source| ExportError::Write { path: path.to_owned(), source };
    work.unstage_to(&root).map_err(|source| write_error(&root, source))?;
    fs::create_dir_all(&root).map_err(|source| write_error(&root, source))?;
    let unfinished = work.path().join(UNFINISHED);
    fs::create_dir_all(&unfinished).map_err(|source| write_error(&unfinished, source))?;
    let rejected = File::create(root.join(REJECTED)).map_err(|source| write_error(&root, source))?;
    let mut run = Run {
        plan,
        root: root.clone(),
        work: &work,
        checkpoint,
        reporter,
        converter: Converter {
            encoder: plan.encoder,
            trainer: plan.trainer,
            literals: &Literals::new(plan.trainer, plan.encoder.tokenizer),
            system: plan.system,
            limits: plan.limits,
            resize_to_patches: plan.resize_to_patches,
            is_fitted: is_fitted(plan),
        },
        rejected: BufWriter::new(rejected),
        state: State::default(),
        progress: Progress { input_total: plan.source.bytes(), ..Progress::default() },
        inputs: Vec::new(),
    };
    let encode = plan.encode(&root, &unfinished);
    let mut stores = Vec::new();
    for split in GivenSplit::ALL {
        stores.push(run.split(split, &*encode)?);
    }
    run.finish(stores)
}

/// What was counted so far.
#[derive(Debug, Default)]
struct State {
    rows: u64,
    splits: [SplitCounts; 3],
    rejected: u64,
    findings: BTreeMap<&'static str, u64>,
    resized_by_trainer: u64,
    first_size: Option<(u32, u32)>,
}

struct Run<'r, 'e> {
    plan: &'r ExportPlan<'e>,
    root: PathBuf,
    work: &'r WorkDirectory,
    checkpoint: Checkpoint,
    reporter: &'r mut dyn ExportReporter,
    converter: Converter<'r>,
    rejected: BufWriter<File>,
    state: State,
    progress: Progress,
    inputs: Vec<InputFile>,
}

/// A row after its conversion: counts, warnings and what is written, or the line of `rejected.jsonl`.
enum Done {
    Kept(Box<Converted>, Option<io::Result<Piece>>),
    Rejected(Diagnostic, String),
}

impl Run<'_, '_> {
    /// Exports the files of a split.
    fn split(&mut self, split: GivenSplit, encode: &dyn Encode) -> Result<Box<dyn Store>, ExportError> {
        let files = self.plan.source.files.iter().enumerate().filter(|(_, file)| file.split == split);
        let files: Vec<(usize, SplitFile)> = files.map(|(index, file)| (index, file.clone())).collect();
        let done = mem::take(&mut self.checkpoint.files[split as usize]);
        let mut store = self.plan.store(&self.root, split, done);
        for (index, file) in &files {
            self.file(*index, file, &mut *store, encode)?;
        }
        let root = self.root.clone();
        let failed = |source| ExportError::Write { path: root.clone(), source };
        store.finish().map_err(failed)?;
        if let Some((last, _)) = files.last() {
            self.keep(&*store, split, (last + 1, 0)).map_err(failed)?;
        }
        Ok(store)
    }

    /// Notes that everything before a row is in finished files.
    fn keep(&mut self, store: &dyn Store, split: GivenSplit, next: (usize, u64)) -> io::Result<()> {
        if next <= self.checkpoint.next {
            return Ok(());
        }
        self.checkpoint.files[split as usize] = store.files().to_vec();
        self.checkpoint.next = next;
        self.checkpoint.write(&self.work.path().join(CHECKPOINT))
    }

    fn file(
        &mut self,
        index: usize,
        file: &SplitFile,
        store: &mut dyn Store,
        encode: &dyn Encode,
    ) -> Result<(), ExportError> {
        let lines = LineFile::open(&file.path, MAX_LINE)?.with_fingerprint();
        if let Some(elements) = lines.elements {
            self.reporter.elements(&file.name, elements);
        }
        let directory = lines.directory.clone();
        let (plan, converter) = (self.plan, self.converter);
        let before = self.progress.input_read;
        // Rows whose samples are in finished files are only counted again.
        let start = self.checkpoint.next;
        let work = |at: RowRef, row: Row| {
            let key = format!("{index:03}-{:09}", at.number);
            match converter.convert(&directory, &row, key) {
                Ok(converted) => {
                    let is_written = (index, at.number) < start;
                    let mut converted = converted;
                    let exported = converted.exported.take().filter(|_| !is_written);
                    Done::Kept(Box::new(converted), exported.map(|exported| encode.encode(exported)))
                }
                Err(finding) => {
                    let diagnostic = finding.at(&file.name, at.number);
                    let line = rejected_line(&diagnostic, &row);
                    Done::Rejected(diagnostic, line)
                }
            }
        };
        let sink = |at: RowRef, done: Done| {
            self.progress.rows += 1;
            self.progress.input_read = before + at.offset + at.length;
            self.state.rows += 1;
            self.row((index, at.number), file, done, store)?;
            self.reporter.progress(self.progress);
            Ok::<_, ExportError>(())
        };
        let fingerprint = lines.each_large_row(plan.threads, work, sink)?.unwrap_or_default();
        self.progress.input_read = before + file.bytes;
        self.inputs.push(InputFile {
            path: portable_name(&file.name).to_owned(),
            bytes: fingerprint.bytes,
            blake3: fingerprint.blake3,
            version: fingerprint.version,
        });
        Ok(())
    }

    fn row(
        &mut self,
        at: (usize, u64),
        file: &SplitFile,
        done: Done,
        store: &mut dyn Store,
    ) -> Result<(), ExportError> {
        match done {
            Done::Rejected(diagnostic, line) => {
                self.state.rejected += 1;
                *self.state.findings.entry(diagnostic.finding.rule.id).or_default() += 1;
                let path = self.root.join(REJECTED);
                self.rejected
                    .write_all(line.as_bytes())
                    .map_err(|source| ExportError::Write { path, source })?;
                self.reporter.finding(&diagnostic);
            }
            Done::Kept(converted, piece) => {
                for warning in &converted.warnings {
                    *self.state.findings.entry(warning.rule.id).or_default() += 1;
                    self.reporter.finding(&warning.clone().at(&file.name, at.1));
                }
                if let Some(piece) = piece {
                    let root = self.root.clone();
                    let failed = |source| ExportError::Write { path: root.clone(), source };
                    let starts_file = store.append(piece.map_err(failed)?).map_err(failed)?;
                    if starts_file && !store.files().is_empty() {
                        self.keep(store, file.split, at).map_err(failed)?;
                    }
                }
                self.progress.images += converted.sizes.len() as u64;
                self.state.count(file.split, &converted, self.plan);
            }
        }
        Ok(())
    }
}

impl State {
    fn count(&mut self, split: GivenSplit, converted: &Converted, plan: &ExportPlan<'_>) {
        let Converted { counts, sizes, has_system, .. } = converted;
        let cell = plan.encoder.spec.patch * plan.encoder.spec.merge;
        let first = *self.first_size.get_or_insert(sizes.first().copied().unwrap_or_default());
        let pixels = |size: &(u32, u32)| u64::from(size.0) * u64::from(size.1);
        let ragged = sizes.iter().filter(|(width, height)| width % cell != 0 || height % cell != 0);
        if !plan.resize_to_patches {
            self.resized_by_trainer += ragged.count() as u64;
        }
        let to = &mut self.splits[split as usize];
        to.samples += 1;
        to.tokens += counts.tokens as u64;
        to.image_tokens += counts.image_tokens as u64;
        to.trained_tokens += counts.trained_tokens as u64;
        to.images += sizes.len() as u64;
        to.most_images = to.most_images.max(sizes.len() as u64);
        to.lengths.add(counts.tokens as u64);
        to.pixels += sizes.iter().map(pixels).sum::<u64>();
        to.with_system += u64::from(*has_system);
        to.sizes_differ |= sizes.iter().any(|size| *size != first);
    }
}

/// The line of `rejected.jsonl`: the row as it is if it is JSON, else as a string.
fn rejected_line(diagnostic: &Diagnostic, row: &Row) -> String {
    let text = String::from_utf8_lossy(&row.bytes);
    let is_json = row.cut.is_none() && json::parse(&text).is_ok();
    let row = if is_json { text.into_owned() } else { json::quoted(&text) };
    diagnostic.to_rejected(&row) + "\n"
}
