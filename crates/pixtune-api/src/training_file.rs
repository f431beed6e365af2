//! What an uploaded file of training data holds: every sample is checked before the client gets an answer, and again for a job
//! whose model has other rules.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use pixtune_core::diagnostic::{Diagnostic, Severity};
use pixtune_core::json;
use pixtune_core::rules;
use pixtune_core::spec::ModelSpec;
use pixtune_core::target::PIXTUNE;
use pixtune_core::text::{counted, counted_as};
use pixtune_core::tokens::{ChatEncoder, Layout, Tokenizer};
use pixtune_io::check::{
    self, CheckError, CheckPlan, CheckReporter, CheckSummary, Checker, ImagesFrom, Reported, Selection,
};
use pixtune_io::image::Limits;
use pixtune_io::progress::Progress;
use pixtune_io::read::{LineFile, ReadError};
use pixtune_io::verify::Verify;

use crate::blobs::Incoming;
use crate::error::ApiError;
use crate::sample_rules::SampleRules;
use crate::store::File;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Samples.
    pub samples: u64,
    /// Line numbers of samples that cannot be trained on, ascending.
    pub invalid_lines: Vec<u64>,
    /// The first findings, as a JSON list.
    pub findings: String,
    /// The first errors, for a message.
    pub first_errors: Vec<String>,
}

/// Findings that are kept with a file.
const MOST_FINDINGS: usize = 100;

/// Errors that a message quotes.
const QUOTED: usize = 3;

/// The longest line, as for `check`: a sample with many images.
const MAX_LINE: usize = 512 << 20;

/// A check that began while the file was arriving, by the rules of the server's first model.
#[derive(Debug)]
pub struct EarlyCheck {
    rules: SampleRules,
    thread: JoinHandle<Option<Examined>>,
}

/// Files that are checked at once while they arrive: clients that send slowly occupy the threads of their checks.
const MOST_EARLY: usize = 4;

impl EarlyCheck {
    /// Starts it, for a file that may be training data; `None` where it is to be checked when it has arrived. `running` counts such
    /// checks.
    pub fn start(
        incoming: &mut Incoming,
        name: &str,
        threads: usize,
        rules: SampleRules,
        running: &Arc<AtomicUsize>,
    ) -> Option<EarlyCheck> {
        if !is_jsonl(name) {
            return None;
        }
        let running = Running::one_more(running, MOST_EARLY)?;
        let stream = incoming.reader().ok()?;
        let (path, name) = (incoming.path().to_owned(), name.to_owned());
        let check = move || {
            let _running = running;
            let count = Arc::new(Mutex::new(LineCount::default()));
            let stream = Box::new(CountedLines { inner: stream, count: Arc::clone(&count) });
            let lines = LineFile::of_stream(&path, stream, MAX_LINE).ok()?;
            if lines.elements.is_some() {
                return None;
            }
            let spec = rules.spec();
            let (summary, report) =
                checked(&path, &name, |report| check::run_lines(plan(&path, threads, &spec), lines, report))
                    .ok()?;
            let lines = count.lock().unwrap_or_else(PoisonError::into_inner).lines();
            // Whatever is wrong with the file as a whole is found and explained when it has arrived.
            (lines == summary.samples && summary.bad_samples < lines)
                .then(|| report.examined(summary.samples))
        };
        let thread = thread::Builder::new().name("early check".to_owned()).spawn(check).ok()?;
        Some(EarlyCheck { rules, thread })
    }

    /// Its result; `None` if the file has to be checked again.
    fn wait(self) -> Option<Examined> {
        self.thread.join().ok().flatten()
    }
}

/// One of the checks that run, until it is dropped.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn one_more(running: &Arc<AtomicUsize>, most: usize) -> Option<Running> {
        let fits = |count: usize| (count < most).then_some(count + 1);
        running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Running(Arc::clone(running)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Checks a file for the models of the server: by the rules that refuse the fewest samples, which are named. A file that has no
/// valid sample is refused with its first errors. `early` is the check that has begun already.
pub fn examine(
    path: &Path,
    name: &str,
    threads: usize,
    rules: &[SampleRules],
    mut early: Option<EarlyCheck>,
) -> Result<(Examined, SampleRules), ApiError> {
    if !is_jsonl(name) {
        let message = format!(
            "training data has to be a .jsonl file, one sample per line; `{name}` is not (`pixtune prepare` converts tables, \
             JSON and Parquet)"
        );
        return Err(ApiError::invalid("file", message).coded("invalid_file_format"));
    }
    let mut best: Option<Result<(Examined, SampleRules), ApiError>> = None;
    for rules in rules {
        let known = early.take_if(|early| early.rules == *rules).and_then(EarlyCheck::wait);
        let examined = match known {
            Some(examined) => Ok(examined),
            None => examine_lines(path, name, threads, rules),
        };
        let found = examined.and_then(|examined| usable(examined, name)).map(|examined| (examined, *rules));
        let refused = |result: &Result<(Examined, SampleRules), ApiError>| {
            result.as_ref().map_or(usize::MAX, |(examined, _)| examined.invalid_lines.len())
        };
        if best.as_ref().is_none_or(|best| refused(&found) < refused(best)) {
            best = Some(found);
        }
        if best.as_ref().is_some_and(|best| refused(best) == 0) {
            break;
        }
    }
    best.unwrap_or_else(|| Err(ApiError::internal("the server has no rules for samples")))
}

/// A file as a model sees it: its invalid samples and findings by the rules of the model.
pub fn as_for(file: File, path: &Path, threads: usize, rules: &SampleRules) -> Result<File, ApiError> {
    if file.samples.is_none() || file.rules == rules.to_string() {
        return Ok(file);
    }
    let examined = examine_lines(path, &file.name, threads, rules)?;
    Ok(File {
        samples: Some(examined.samples),
        invalid: examined.invalid_lines.len() as u64,
        invalid_lines: examined.invalid_lines.iter().flat_map(|line| line.to_le_bytes()).collect(),
        findings: Some(examined.findings),
        rules: rules.to_string(),
        ..file
    })
}

/// Whether a name is that of JSON Lines. Some clients send no name of their own; the content decides then.
fn is_jsonl(name: &str) -> bool {
    Path::new(name).extension().is_none_or(|extension| extension.eq_ignore_ascii_case("jsonl"))
}

/// Refuses a file of which no sample can be trained on.
fn usable(examined: Examined, name: &str) -> Result<Examined, ApiError> {
    if examined.samples == 0 {
        return Err(
            ApiError::invalid("file", format!("`{name}` has no samples")).coded("invalid_file_format")
        );
    }
    if examined.invalid_lines.len() as u64 == examined.samples {
        let samples = counted_as(examined.samples, "sample is", "samples are");
        let message = format!("none of {samples} valid: {}", examined.first_errors.join("; "));
        return Err(ApiError::invalid("file", message).coded("invalid_file_format"));
    }
    Ok(examined)
}

fn examine_lines(path: &Path, name: &str, threads: usize, rules: &SampleRules) -> Result<Examined, ApiError> {
    let spec = rules.spec();
    let (summary, report) =
        checked(path, name, |report| check::run(plan(path, threads, &spec), report)).map_err(explain)?;
    if lines(path).map_err(|error| ApiError::internal(error.to_string()))? != summary.samples {
        let message = format!(
            "`{name}` is not JSON Lines: every sample has to be on one line (`pixtune fix` writes it so)"
        );
        return Err(ApiError::invalid("file", message).coded("invalid_file_format"));
    }
    Ok(report.examined(summary.samples))
}

fn checked(
    path: &Path,
    name: &str,
    check: impl FnOnce(&mut Report) -> Result<CheckSummary, CheckError>,
) -> Result<(CheckSummary, Report), CheckError> {
    let mut report = Report { name: name.to_owned(), path: path.display().to_string(), ..Report::default() };
    check(&mut report).map(|summary| (summary, report))
}

/// Lines that are not blank.
fn lines(path: &Path) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(1 << 20, fs::File::open(path)?);
    let mut count = LineCount::default();
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            return Ok(count.lines());
        }
        let length = block.len();
        count.add(block);
        reader.consume(length);
    }
}

/// Counts lines that are not blank.
#[derive(Default)]
struct LineCount {
    ended: u64,
    /// The last line, which has not ended, has more than white space.
    has_more: bool,
}

impl LineCount {
    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.has_more |= !piece.iter().all(u8::is_ascii_whitespace);
            if piece.ends_with(b"\n") {
                self.ended += u64::from(std::mem::take(&mut self.has_more));
            }
        }
    }

    fn lines(&self) -> u64 {
        self.ended + u64::from(self.has_more)
    }
}

/// Counts the lines of what is read.
struct CountedLines<R> {
    inner: R,
    count: Arc<Mutex<LineCount>>,
}

impl<R: Read> Read for CountedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.lock().unwrap_or_else(PoisonError::into_inner).add(&buffer[..read]);
        Ok(read)
    }
}

fn plan<'s>(path: &Path, threads: usize, spec: &'s ModelSpec) -> CheckPlan<'s> {
    let mut selection = Selection::of(&PIXTUNE);
    // The same sample twice is trained twice, which its sender may want.
    selection.set(&rules::DUPLICATE, Severity::Warning);
    let checker = Checker {
        encoder: ChatEncoder {
            spec,
            tokenizer: Tokenizer::built_in(spec.tokenizer),
            layout: Layout::MistralCommon,
        },
        target: PIXTUNE,
        verify: Verify::Header,
        measure: false,
        limits: Limits::default(),
        selection,
        excerpts: false,
        fetching: None,
        images_from: ImagesFrom::Sample,
    };
    CheckPlan { files: vec![path.to_owned()], checker, max_line: MAX_LINE, threads }
}

fn explain(error: CheckError) -> ApiError {
    match error {
        CheckError::Read(error @ ReadError::Io { .. }) => ApiError::internal(error.to_string()),
        CheckError::Read(error) => {
            ApiError::invalid("file", format!("the file cannot be read as JSON Lines: {error}"))
                .coded("invalid_file_format")
        }
        error => ApiError::internal(error.to_string()),
    }
}

#[derive(Default)]
struct Report {
    /// The client's name of the file, which replaces that on the disk.
    name: String,
    /// The name on the disk, which is nothing to the client.
    path: String,
    invalid_lines: Vec<u64>,
    findings: Vec<String>,
    first_errors: Vec<String>,
}

impl Report {
    fn examined(self, samples: u64) -> Examined {
        let Report { mut invalid_lines, findings, first_errors, .. } = self;
        // What lines show together is found at the end.
        invalid_lines.sort_unstable();
        invalid_lines.dedup();
        Examined { samples, invalid_lines, findings: format!("[{}]", findings.join(",")), first_errors }
    }
}

impl CheckReporter for Report {
    fn finding(&mut self, reported: &Reported) -> io::Result<()> {
        let Diagnostic { finding, line, .. } = &reported.diagnostic;
        let mut diagnostic = Diagnostic { file: self.name.clone(), ..reported.diagnostic.clone() };
        diagnostic.finding.message = finding.message.replace(&self.path, &self.name);
        if finding.severity == Severity::Error {
            if self.invalid_lines.last() != Some(line) {
                self.invalid_lines.push(*line);
            }
            if self.first_errors.len() < QUOTED {
                self.first_errors.push(format!("line {line}: {}", diagnostic.finding.message));
            }
        }
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(diagnostic.to_json());
        }
        Ok(())
    }

    fn progress(&mut self, _: Progress) {}
}

/// A sentence about samples that cannot be trained on.
pub fn invalid_message(name: &str, invalid: u64, samples: u64, first: &[String]) -> String {
    let rest = first.join("; ");
    format!("{} of {} in `{name}` cannot be trained on: {rest}", invalid, counted(samples, "sample"))
}

/// The errors of a stored list of findings, as texts.
pub fn errors_in(findings: &str) -> Vec<String> {
    let Ok(parsed) = json::parse(findings) else { return Vec::new() };
    let all = parsed.value.as_array().unwrap_or_default();
    let errors = all.iter().filter(|finding| finding.text("severity") == Some("error")).take(QUOTED);
    errors
        .map(|finding| {
            let line = finding.get("line").map(json::text).unwrap_or_default();
            format!("line {line}: {}", finding.text("message").unwrap_or_default())
        })
        .collect()
}
