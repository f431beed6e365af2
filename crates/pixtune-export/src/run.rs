//! The run of an export: rows in order to the files of their split, then the configuration, then the name of the directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::mem;
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::json::{self, Value, differences, list, object};
use pixtune_core::plan::{Dataset, SplitCounts, TrainingPlan};
use pixtune_core::spec::Exactness;
use pixtune_core::split::GivenSplit;
use pixtune_core::text::{counted, counted_as};
use pixtune_files::{Occupant, WorkDirectory};
use pixtune_io::manifest::{self, InputFile, MANIFEST, Manifest, OutputFile, TokenCounts};
use pixtune_io::progress::Progress;
use pixtune_io::read::{Elements, LineFile, MAX_LINE, Row, RowRef};

use crate::ExportError;
use crate::config::{self, Context};
use crate::plan::ExportPlan;
use crate::row::{Converted, Converter};
use crate::source::SplitFile;
use crate::store::{Encode, Piece, Store};
use crate::trainer::check::Literals;

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
    /// The plan that the configuration follows.
    pub training: TrainingPlan,
}

/// Rejected rows, with the reason.
const REJECTED: &str = "rejected.jsonl";
/// The data of an unfinished export, in its work directory.
const DATA: &str = "export";
/// Images that are not whole yet, in the work directory.
const UNFINISHED: &str = "unfinished";
/// The options of an unfinished export.
const PLAN: &str = "plan.json";
/// How far an unfinished export is.
const CHECKPOINT: &str = "checkpoint.json";

/// Exports the dataset of a plan.
pub fn run(plan: &ExportPlan<'_>, reporter: &mut dyn ExportReporter) -> Result<ExportSummary, ExportError> {
    refuse_existing(plan)?;
    refuse_other_model(plan)?;
    for file in &plan.source.files {
        // What cannot be opened is found before anything is made.
        LineFile::open(&file.path, MAX_LINE)?;
    }
    let work = WorkDirectory::open(&plan.out)?;
    let checkpoint = open_work(plan, &work)?;
    let root = work.path().join(DATA);
    let write_error = |path: &Path, source| ExportError::Write { path: path.to_owned(), source };
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
            literals: &Literals::new(plan.trainer, plan.encoder.tekken),
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

/// Nothing is replaced that was not meant to be.
fn refuse_existing(plan: &ExportPlan<'_>) -> Result<(), ExportError> {
    let ExportPlan { out, resume, force, .. } = plan;
    let write_error = |source| ExportError::Write { path: out.clone(), source };
    let partial = WorkDirectory::path_for(out).map_err(write_error)?;
    if partial.exists() && !resume && !force {
        return Err(ExportError::Unfinished { path: partial });
    }
    match Occupant::of(out, MANIFEST).map_err(write_error)? {
        Occupant::Nothing => Ok(()),
        Occupant::Ours if is_export(out) && *force => Ok(()),
        Occupant::Ours if is_export(out) => Err(ExportError::Exists { path: out.clone() }),
        // A prepared dataset has a manifest too.
        _ => Err(ExportError::Foreign { path: out.clone() }),
    }
}

fn is_export(directory: &Path) -> bool {
    matches!(Manifest::read(directory), Ok(Some(manifest)) if manifest.plan.get("export").is_some())
}

/// Images that were fitted to another model have another size for this one.
fn refuse_other_model(plan: &ExportPlan<'_>) -> Result<(), ExportError> {
    let Some(manifest) = &plan.source.manifest else { return Ok(()) };
    let spec = plan.encoder.spec;
    let prepared = manifest.model_images().or_else(|| {
        let known = pixtune_core::spec::ALL.iter().find(|spec| spec.id == manifest.model())?;
        Some([known.patch, known.merge, known.max_side])
    });
    if prepared.is_some_and(|prepared| prepared != [spec.patch, spec.merge, spec.max_side]) {
        let (prepared, model) = (manifest.model().to_owned(), spec.id.to_owned());
        return Err(ExportError::OtherModel { prepared, model });
    }
    Ok(())
}

/// Whether the images of the dataset were fitted by `prepare`, so that none is transparent.
fn is_fitted(plan: &ExportPlan<'_>) -> bool {
    let manifest = plan.source.manifest.as_ref();
    manifest.is_some_and(|manifest| manifest.plan.get("images").and_then(Value::as_str) == Some("fit"))
}

/// Empties the work directory, or finds out how far an export of the same plan was.
fn open_work(plan: &ExportPlan<'_>, work: &WorkDirectory) -> Result<Checkpoint, ExportError> {
    let path = work.path().to_owned();
    let write_error = |source| ExportError::Write { path: path.clone(), source };
    if !plan.resume {
        work.clear(&[]).map_err(write_error)?;
    }
    let identity = plan.identity();
    let kept = path.join(PLAN);
    match fs::read_to_string(&kept) {
        Ok(before) if before == identity => Ok(Checkpoint::read(&path.join(CHECKPOINT))),
        Ok(before) => Err(ExportError::OtherPlan { difference: difference(&before, &identity), path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            pixtune_files::write(&kept, identity.as_bytes()).map_err(write_error)?;
            Ok(Checkpoint::default())
        }
        Err(error) => Err(write_error(error)),
    }
}

/// What differs between an unfinished export and this one.
fn difference(before: &str, now: &str) -> String {
    let parsed = |text: &str| json::parse(text).map(|parsed| parsed.value.into_owned());
    let (Ok(before), Ok(now)) = (parsed(before), parsed(now)) else {
        return "another version of pixtune".into();
    };
    let mut all: Vec<String> = Vec::new();
    if let (Some(old), Some(new)) = (before.get("plan"), now.get("plan")) {
        all.extend(differences(old, new).iter().map(ToString::to_string));
    }
    if before.get("inputs") != now.get("inputs") {
        all.push("other input files".into());
    }
    if before.get("pixtune") != now.get("pixtune") {
        all.push("another version of pixtune".into());
    }
    all.join("; ")
}

/// How far an export was when it was stopped: the rows before a row are in finished files.
#[derive(Debug, Clone, Default, PartialEq)]
struct Checkpoint {
    /// Finished files of each split.
    files: [Vec<OutputFile>; 3],
    /// The index of the input and the number of the row that follows them.
    next: (usize, u64),
}

impl Checkpoint {
    /// A checkpoint that cannot be read is none: everything is written again.
    fn read(path: &Path) -> Checkpoint {
        let read = || {
            let text = fs::read_to_string(path).ok()?;
            let root = json::parse(&text).ok()?.value.into_owned();
            let number = |key: &str| manifest::number_at(&root, key);
            let files = root.get("files")?.as_array()?;
            let of_split = |split: &Value<'_>| split.as_array()?.iter().map(OutputFile::from_json).collect();
            let files: Option<Vec<Vec<OutputFile>>> = files.iter().map(of_split).collect();
            Some(Checkpoint {
                files: files?.try_into().ok()?,
                next: (number("input") as usize, number("row")),
            })
        };
        read().unwrap_or_default()
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let text = json::document(object(|out| {
            out.field("input", self.next.0 as u64).field("row", self.next.1);
            out.field("files", list(self.files.iter().map(|files| list(files.iter().map(json::spaced)))));
        }));
        pixtune_files::write(path, text.as_bytes())
    }
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
            path: portable(file),
            bytes: fingerprint.bytes,
            blake3: fingerprint.blake3,
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

    /// Writes the configuration and the manifest, and gives the directory its name.
    fn finish(mut self, mut stores: Vec<Box<dyn Store>>) -> Result<ExportSummary, ExportError> {
        let plan = self.plan;
        let failed = |path: &Path, source| ExportError::Write { path: path.to_owned(), source };
        self.rejected.flush().map_err(|source| failed(&self.root, source))?;
        self.refuse_counts()?;
        for store in stores.iter_mut().filter(|store| !store.files().is_empty()) {
            store.publish(&self.root).map_err(|source| failed(&self.root, source))?;
        }
        let outputs: Vec<Vec<OutputFile>> = stores.iter().map(|store| store.files().to_vec()).collect();
        let State { rows, splits, rejected, findings, resized_by_trainer, .. } = self.state;
        let longest = splits[0].lengths.max().max(splits[1].lengths.max());
        let estimate = match plan.encoder.exactness() {
            Exactness::Exact => None,
            Exactness::Estimate(why) => Some(why),
        };
        let dataset = Dataset {
            train: splits[0].clone(),
            validation: splits[1].clone(),
            refused: rejected,
            estimate,
            ..Dataset::default()
        };
        let training = pixtune_core::plan::plan(dataset, plan.settings.wish);
        let context = Context {
            trainer: plan.trainer,
            spec: plan.encoder.spec,
            settings: &plan.settings,
            training: &training,
            files: &outputs,
            longest,
            test_samples: splits[2].samples,
        };
        let mut written: Vec<OutputFile> = Vec::new();
        for file in config::files(&context) {
            let path = self.root.join(file.name);
            fs::write(&path, &file.text).map_err(|source| failed(&path, source))?;
            let blake3 = blake3::hash(file.text.as_bytes()).to_hex().to_string();
            let lines = file.text.lines().count() as u64;
            written.push(OutputFile {
                path: file.name.to_owned(),
                bytes: file.text.len() as u64,
                lines,
                blake3,
            });
        }
        let rejected_file =
            hashed(&self.root, REJECTED, rejected).map_err(|source| failed(&self.root, source))?;
        let mut all: Vec<OutputFile> = outputs.into_iter().flatten().collect();
        all.extend(written);
        all.push(rejected_file);
        let sum = |of: fn(&SplitCounts) -> u64| splits.iter().map(of).sum::<u64>();
        let summary = ExportSummary {
            rows,
            samples: splits.each_ref().map(|split| split.samples),
            rejected,
            images: sum(|split| split.images),
            resized_by_trainer,
            tokens: sum(|split| split.tokens),
            trained_tokens: sum(|split| split.trained_tokens),
            longest: longest.max(splits[2].lengths.max()),
            outputs: all,
            findings,
            training,
        };
        let manifest = Manifest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            plan: plan.to_value(),
            inputs: self.inputs,
            outputs: summary.outputs.clone(),
            counts: manifest::Counts {
                rows,
                train: splits[0].samples,
                validation: splits[1].samples,
                test: splits[2].samples,
                rejected,
                duplicates: 0,
            },
            tokens: TokenCounts {
                total: summary.tokens,
                image: sum(|split| split.image_tokens),
                trained: summary.trained_tokens,
                max_sample: summary.longest,
                estimate: estimate.map(str::to_owned),
            },
            findings: summary.findings.iter().map(|(rule, count)| ((*rule).to_owned(), *count)).collect(),
        };
        let path = self.root.join(MANIFEST);
        fs::write(&path, manifest.to_json()).map_err(|source| failed(&path, source))?;
        publish(self.work, &self.root).map_err(|source| failed(&plan.out, source))?;
        Ok(summary)
    }

    /// Refuses an export that nothing can be trained with.
    fn refuse_counts(&self) -> Result<(), ExportError> {
        let (state, trainer) = (&self.state, self.plan.trainer);
        let samples = state.splits[0].samples;
        let all: u64 = state.splits.iter().map(|split| split.samples).sum();
        let limits = &trainer.limits;
        let refused = if all == 0 {
            let rows = counted_as(state.rows, "row", "rows");
            Some(ExportError::NothingLeft { rows })
        } else if samples < limits.min_samples || samples > limits.max_samples {
            let range = match limits.max_samples {
                u64::MAX => format!("at least {}", limits.min_samples),
                most => format!("{} to {most}", limits.min_samples),
            };
            let (name, samples) = (trainer.name, counted(samples, "sample"));
            Some(ExportError::SampleCount { name, range, samples })
        } else {
            None
        };
        refused.map_or(Ok(()), |error| {
            // The same would come of resuming it.
            let _ = self.work.discard();
            Err(error)
        })
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

/// The name of an input in the manifest, the same wherever the export is made.
fn portable(file: &SplitFile) -> String {
    match Path::new(&file.name) {
        path if path.is_absolute() => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        _ => file.name.clone(),
    }
}

/// The line of `rejected.jsonl`: the row as it is if it is JSON, else as a string.
fn rejected_line(diagnostic: &Diagnostic, row: &Row) -> String {
    let text = String::from_utf8_lossy(&row.bytes);
    let is_json = row.cut.is_none() && json::parse(&text).is_ok();
    let row = if is_json { text.into_owned() } else { json::quoted(&text) };
    diagnostic.to_rejected(&row) + "\n"
}

fn hashed(root: &Path, name: &str, lines: u64) -> io::Result<OutputFile> {
    let mut hash = blake3::Hasher::new();
    let mut file = File::open(root.join(name))?;
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
    Ok(OutputFile { path: name.to_owned(), bytes, lines, blake3: hash.finalize().to_hex().to_string() })
}

/// Moves the finished files into the directory that appears under the name of the output.
fn publish(work: &WorkDirectory, root: &Path) -> io::Result<()> {
    let staged = work.stage()?;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        fs::rename(entry.path(), staged.join(entry.file_name()))?;
    }
    work.publish()
}
