//! `metrics.jsonl` while it is written, and the curves that are read back from it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::metrics::{EvaluationRecord, Record};
use pixtune_core::text::counted;

use crate::error::TrainError;

/// The file while it is written.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: File,
    bytes: u64,
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
        Ok(MetricsWriter { path, file, bytes })
    }

    /// Appends a line. It goes to the file at once, so that a run can be followed.
    pub fn push(&mut self, record: &Record) -> Result<(), TrainError> {
        let line = record.to_json() + "\n";
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|source| TrainError::Write { path: self.path.clone(), source })?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// How long the file is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes everything durable.
    pub fn sync(&self) -> Result<(), TrainError> {
        self.file.sync_all().map_err(|source| TrainError::Write { path: self.path.clone(), source })
    }
}

/// Steps, each with a value.
pub type StepValues = Vec<(u64, f64)>;

/// The curves of a metrics file, with as many points as a chart can show.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Training loss; where there are too many steps, the mean of neighbors.
    pub losses: StepValues,
    /// Learning rate at the same points.
    pub learning_rates: StepValues,
    /// Every evaluation.
    pub evaluations: Vec<EvaluationRecord>,
    /// Tokens the network read.
    pub tokens: u64,
}

impl History {
    /// Reads the file and keeps at most `points` points of a curve. Lines that are not records are skipped: a run that was
    /// killed may have left half a line.
    pub fn read(path: &Path, points: usize) -> io::Result<History> {
        let mut history = History::default();
        let mut steps = Thinned::new(points);
        for line in BufReader::new(File::open(path)?).lines() {
            match Record::parse(&line?) {
                Some(Record::Step(record)) => {
                    history.tokens += record.tokens;
                    steps.push(record.step, record.loss, record.learning_rate);
                }
                Some(Record::Evaluation(record)) => history.evaluations.push(record),
                None => {}
            }
        }
        [history.losses, history.learning_rates] = steps.into_curves();
        Ok(history)
    }
}

/// Loss and learning rate of the steps; whenever there are twice as many points as wanted, neighbors are merged.
struct Thinned {
    points: Vec<Point>,
    max: usize,
    /// Steps of a point.
    stride: u64,
    open: Open,
}

struct Point {
    step: u64,
    loss: f64,
    learning_rate: f64,
}

/// The point that is not complete yet.
#[derive(Default)]
struct Open {
    steps: u64,
    loss_sum: f64,
}

impl Thinned {
    fn new(max: usize) -> Thinned {
        Thinned { points: Vec::new(), max: max.max(1), stride: 1, open: Open::default() }
    }

    fn push(&mut self, step: u64, loss: f64, learning_rate: f64) {
        self.open.steps += 1;
        self.open.loss_sum += loss;
        if self.open.steps < self.stride {
            return;
        }
        let Open { steps, loss_sum } = std::mem::take(&mut self.open);
        self.points.push(Point { step, loss: loss_sum / steps as f64, learning_rate });
        if self.points.len() >= 2 * self.max {
            self.merge_neighbors();
        }
    }

    fn merge_neighbors(&mut self) {
        // The number of points is even: it was reached in steps of one from below.
        let merged = self.points.chunks_exact(2).map(|pair| Point {
            step: pair[1].step,
            loss: (pair[0].loss + pair[1].loss) / 2.0,
            learning_rate: pair[1].learning_rate,
        });
        self.points = merged.collect();
        self.stride *= 2;
    }

    fn into_curves(self) -> [StepValues; 2] {
        let curve = |value: fn(&Point) -> f64| {
            self.points.iter().map(|point| (point.step, value(point))).collect::<StepValues>()
        };
        [curve(|point| point.loss), curve(|point| point.learning_rate)]
    }
}

#[cfg(test)]
mod tests {
    use pixtune_core::metrics::StepRecord;

    use super::*;

    fn step(step: u64) -> Record {
        Record::Step(StepRecord {
            step,
            loss: 1.5 / step as f64,
            learning_rate: 1e-4,
            grad_norm: 0.5,
            tokens: 100,
            trained_tokens: 10,
            seconds: 0.25,
        })
    }

    const EVALUATION: EvaluationRecord = EvaluationRecord {
        step: 1,
        valid_loss: 2.0,
        valid_token_accuracy: 0.5,
        valid_tokens: 4,
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
        assert_eq!(history.losses, [(1, 1.5), (2, 0.75)]);
        assert_eq!(history.evaluations, [EVALUATION]);
        assert_eq!(history.tokens, 200);
        drop(MetricsWriter::open(path.clone(), bytes).unwrap());
        assert_eq!(History::read(&path, 100).unwrap().losses, [(1, 1.5)]);
        assert!(matches!(MetricsWriter::open(path, 10_000), Err(TrainError::Damaged { .. })));
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_mean() {
        let mut thinned = Thinned::new(10);
        (1..=1000).for_each(|step| thinned.push(step, step as f64, 0.0));
        let [losses, _] = thinned.into_curves();
        assert!((10..20).contains(&losses.len()), "{}", losses.len());
        assert_eq!(losses[0], (64, 32.5));
    }
}
