//! `metrics.jsonl` while it is written, and the curves that are read back from it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use pixtune_core::metrics::{EvaluationRecord, Record, StepRecord};
use pixtune_core::text::counted;

use crate::error::TrainError;
use crate::tensorboard::EventFile;

/// The file while it is written.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: File,
    bytes: u64,
    events: Option<(PathBuf, EventFile)>,
}

impl MetricsWriter {
    /// Opens the file and truncates it to `bytes`: later lines are of steps that will be repeated.
    pub fn open(path: PathBuf, bytes: u64) -> Result<MetricsWriter, TrainError> {
        let failed = |source| TrainError::Write { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?.len();
        if found < bytes {
            let found = counted(found, "byte");
            let reason = format!("it has {found}, but had {bytes} when the checkpoint was written");
            return Err(TrainError::Damaged { path, reason });
        }
        file.set_len(bytes).map_err(failed)?;
        drop(file);
        let file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        Ok(MetricsWriter { path, file, bytes, events: None })
    }

    /// Writes events for TensorBoard as well, into a directory: all records that the file has so far, and each that follows.
    pub fn write_events(&mut self, directory: PathBuf) -> Result<(), TrainError> {
        let mut records = Vec::new();
        for line in BufReader::new(File::open(&self.path).map_err(|error| self.failed(error))?).lines() {
            records.extend(Record::parse(&line.map_err(|error| self.failed(error))?));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        let seconds: f64 = records.iter().map(seconds).sum();
        let write = || {
            let mut events = EventFile::create(&directory, now - seconds)?;
            records.iter().try_for_each(|record| events.push(record))?;
            Ok(events)
        };
        let events = write().map_err(|source| TrainError::Write { path: directory.clone(), source })?;
        self.events = Some((directory, events));
        Ok(())
    }

    fn failed(&self, source: io::Error) -> TrainError {
        TrainError::Write { path: self.path.clone(), source }
    }

    /// Appends a line. It goes to the file at once, so that a run can be followed.
    pub fn push(&mut self, record: &Record) -> Result<(), TrainError> {
        let line = record.to_json() + "\n";
        self.file.write_all(line.as_bytes()).map_err(|source| self.failed(source))?;
        self.bytes += line.len() as u64;
        if let Some((path, events)) = &mut self.events {
            events.push(record).map_err(|source| TrainError::Write { path: path.clone(), source })?;
        }
        Ok(())
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes everything durable.
    pub fn sync(&self) -> Result<(), TrainError> {
        self.file.sync_all().map_err(|source| self.failed(source))
    }
}

fn seconds(record: &Record) -> f64 {
    match record {
        Record::Step(step) => step.seconds,
        Record::Evaluation(evaluation) => evaluation.seconds,
    }
}

/// The most memory that this process has used so far, as Linux reports it.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Steps, each with a value.
pub type StepValues = Vec<(u64, f64)>;

/// A point of the curves of a run: one step, or the means of neighbors where there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// The step, the last one of several.
    pub step: u64,
    /// Training loss.
    pub loss: f64,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Tokens the network read.
    pub tokens: f64,
    /// Seconds that the step took.
    pub seconds: f64,
    /// The most memory used so far; 0 where it is not known.
    pub peak_memory_bytes: u64,
}

impl Point {
    /// Tokens per second; 0 where nothing was measured.
    pub fn tokens_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.tokens / self.seconds } else { 0.0 }
    }
}

/// The curves of a metrics file, with as many points as a chart can show.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// The steps, or means of neighbors.
    pub points: Vec<Point>,
    /// Every evaluation.
    pub evaluations: Vec<EvaluationRecord>,
    /// Tokens the network read.
    pub tokens: u64,
    /// Seconds of all steps and evaluations.
    pub seconds: f64,
}

impl History {
    /// Reads the file and keeps at most `points` points of a curve. Lines that are not records are skipped: a run that was
    /// killed may have left half a line.
    pub fn read(path: &Path, points: usize) -> io::Result<History> {
        let mut curves = Curves::new(points);
        for line in BufReader::new(File::open(path)?).lines() {
            if let Some(record) = Record::parse(&line?) {
                curves.push(&record);
            }
        }
        Ok(curves.finish())
    }

    /// A curve of the steps.
    pub fn curve(&self, value: impl Fn(&Point) -> f64) -> StepValues {
        self.points.iter().map(|point| (point.step, value(point))).collect()
    }

    /// The first of the best evaluations; the one before training does not count.
    pub fn best(&self) -> Option<&EvaluationRecord> {
        let after_training = self.evaluations.iter().filter(|evaluation| evaluation.step > 0);
        after_training.reduce(|best, next| if next.is_better_than(best) { next } else { best })
    }
}

/// A history while its records come in.
#[derive(Debug)]
pub struct Curves {
    history: History,
    steps: Thinned,
}

impl Curves {
    /// Keeps at most `points` points of a curve.
    pub fn new(points: usize) -> Curves {
        Curves { history: History::default(), steps: Thinned::new(points) }
    }

    /// Adds a record.
    pub fn push(&mut self, record: &Record) {
        self.history.seconds += seconds(record);
        match record {
            Record::Step(record) => {
                self.history.tokens += record.tokens;
                self.steps.push(record);
            }
            Record::Evaluation(record) => self.history.evaluations.push(*record),
        }
    }

    /// The history of all records.
    pub fn finish(self) -> History {
        History { points: self.steps.points, ..self.history }
    }
}

/// Points of the steps; whenever there are twice as many as wanted, neighbors are merged.
#[derive(Debug)]
struct Thinned {
    points: Vec<Point>,
    max: usize,
    /// Steps of a point.
    stride: u64,
    /// The point that is not complete yet: sums of so many steps.
    open: Point,
    steps: u64,
}

impl Thinned {
    fn new(max: usize) -> Thinned {
        Thinned { points: Vec::new(), max: max.max(1), stride: 1, open: Point::default(), steps: 0 }
    }

    fn push(&mut self, record: &StepRecord) {
        let open = &mut self.open;
        open.step = record.step;
        open.loss += record.loss;
        open.grad_norm += record.grad_norm;
        open.learning_rate = record.learning_rate;
        open.tokens += record.tokens as f64;
        open.seconds += record.seconds;
        open.peak_memory_bytes = record.peak_memory_bytes.unwrap_or(0);
        self.steps += 1;
        if self.steps < self.stride {
            return;
        }
        let (sum, steps) = (std::mem::take(&mut self.open), std::mem::take(&mut self.steps) as f64);
        self.points.push(Point {
            loss: sum.loss / steps,
            grad_norm: sum.grad_norm / steps,
            tokens: sum.tokens / steps,
            seconds: sum.seconds / steps,
            ..sum
        });
        if self.points.len() >= 2 * self.max {
            self.merge_neighbors();
        }
    }

    fn merge_neighbors(&mut self) {
        // The number of points is even: it was reached in steps of one from below.
        let mean = |one: f64, other: f64| (one + other) / 2.0;
        let merged = self.points.chunks_exact(2).map(|pair| Point {
            loss: mean(pair[0].loss, pair[1].loss),
            grad_norm: mean(pair[0].grad_norm, pair[1].grad_norm),
            tokens: mean(pair[0].tokens, pair[1].tokens),
            seconds: mean(pair[0].seconds, pair[1].seconds),
            ..pair[1]
        });
        self.points = merged.collect();
        self.stride *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Record {
        Record::Step(record(step, 1.5 / step as f64))
    }

    fn record(step: u64, loss: f64) -> StepRecord {
        StepRecord {
            step,
            loss,
            learning_rate: 1e-4,
            grad_norm: 0.5,
            tokens: 100,
            trained_tokens: 10,
            seconds: 0.25,
            peak_memory_bytes: Some(1000),
        }
    }

    const EVALUATION: EvaluationRecord = EvaluationRecord {
        step: 1,
        valid_loss: 2.0,
        valid_token_accuracy: 0.5,
        valid_tokens: 4,
        valid_score: None,
        seconds: 1.0,
    };

    #[test]
    fn records_read_back_and_are_truncated_where_a_checkpoint_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let mut metrics = MetricsWriter::open(path.clone(), 0).unwrap();
        metrics.push(&step(1)).unwrap();
        metrics.push(&Record::Evaluation(EVALUATION)).unwrap();
        let bytes = metrics.bytes();
        metrics.push(&step(2)).unwrap();
        drop(metrics);
        let history = History::read(&path, 100).unwrap();
        assert_eq!(history.curve(|point| point.loss), [(1, 1.5), (2, 0.75)]);
        assert_eq!(history.curve(Point::tokens_per_second), [(1, 400.0), (2, 400.0)]);
        assert_eq!(history.evaluations, [EVALUATION]);
        assert_eq!((history.tokens, history.seconds), (200, 1.5));
        drop(MetricsWriter::open(path.clone(), bytes).unwrap());
        assert_eq!(History::read(&path, 100).unwrap().points.len(), 1);
        assert!(matches!(MetricsWriter::open(path, 10_000), Err(TrainError::Damaged { .. })));
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_mean() {
        let mut thinned = Thinned::new(10);
        (1..=1000).for_each(|step| thinned.push(&record(step, step as f64)));
        assert!((10..20).contains(&thinned.points.len()), "{}", thinned.points.len());
        let first = thinned.points[0];
        assert_eq!((first.step, first.loss, first.tokens_per_second()), (64, 32.5, 400.0));
    }
}
