//! `metrics.jsonl`: a line for each step and each evaluation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};

use crate::error::TrainError;

/// A step that was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepRecord {
    /// Its number, from 1.
    pub step: u64,
    /// Mean cross-entropy of the step's trained tokens, before the step.
    pub loss: f64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// Tokens the network read.
    pub tokens: u64,
    /// Those that count in the loss.
    pub trained_tokens: u64,
    /// Seconds from the end of the step before to its end.
    pub seconds: f64,
}

/// An evaluation on the validation data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvaluationRecord {
    /// The step it follows; 0 before the first.
    pub step: u64,
    /// Mean cross-entropy of the trained tokens.
    pub valid_loss: f64,
    /// Share of them that were the most likely token.
    pub valid_token_accuracy: f64,
    /// How many there were.
    pub valid_tokens: u64,
    /// Seconds it took.
    pub seconds: f64,
}

impl StepRecord {
    /// Its line, without the end.
    pub fn to_json(&self) -> String {
        let StepRecord { step, loss, learning_rate, grad_norm, tokens, trained_tokens, seconds } = self;
        format!(
            "{{\"step\":{step},\"loss\":{loss},\"learning_rate\":{learning_rate},\"grad_norm\":{grad_norm},\
             \"tokens\":{tokens},\"trained_tokens\":{trained_tokens},\"seconds\":{seconds:.4}}}"
        )
    }
}

impl EvaluationRecord {
    /// Its line, without the end.
    pub fn to_json(&self) -> String {
        let EvaluationRecord { step, valid_loss, valid_token_accuracy, valid_tokens, seconds } = self;
        format!(
            "{{\"step\":{step},\"valid_loss\":{valid_loss},\"valid_token_accuracy\":{valid_token_accuracy},\
             \"valid_tokens\":{valid_tokens},\"seconds\":{seconds:.4}}}"
        )
    }
}

/// The file while it is written.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Metrics {
    /// Opens the file and takes off what stands behind `bytes`: lines of steps that will be taken again.
    pub fn open(path: PathBuf, bytes: u64) -> Result<Metrics, TrainError> {
        let failed = |source| TrainError::Write { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let there = file.metadata().map_err(failed)?.len();
        if there < bytes {
            let reason = format!("it has {there} bytes, the checkpoint knows of {bytes}");
            return Err(TrainError::Damaged { path, reason });
        }
        file.set_len(bytes).map_err(failed)?;
        drop(file);
        let file = OpenOptions::new().append(true).open(&path).map_err(failed)?;
        Ok(Metrics { path, file, bytes })
    }

    /// Appends a line. It goes to the file at once, so that it can be followed.
    pub fn push(&mut self, line: &str) -> Result<(), TrainError> {
        let line = format!("{line}\n");
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

/// A step and what was measured there.
pub type Curve = Vec<(u64, f64)>;

/// What a metrics file tells, thinned to what an image can show.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    /// Step and loss; where there are too many, the mean of neighbors.
    pub losses: Curve,
    /// Step and learning rate of the same points.
    pub learning_rates: Curve,
    /// Every evaluation: step, loss, accuracy.
    pub evaluations: Vec<(u64, f64, f64)>,
    /// Tokens the network read.
    pub tokens: u64,
    /// Seconds of all steps and evaluations.
    pub seconds: f64,
}

impl History {
    /// Reads the file and keeps at most so many points of the losses. Lines that are no metrics are passed over: a run that
    /// was killed may have left half a line.
    pub fn read(path: &Path, points: usize) -> io::Result<History> {
        let lines = BufReader::new(File::open(path)?).lines();
        let mut history = History::default();
        let mut steps = Thinned::new(points);
        for line in lines {
            let line = line?;
            let Ok(parsed) = json::parse(&line) else { continue };
            let number = |key| number(&parsed.value, key);
            let Some(step) = number("step").map(|step| step as u64) else { continue };
            history.seconds += number("seconds").unwrap_or_default();
            if let (Some(loss), Some(accuracy)) = (number("valid_loss"), number("valid_token_accuracy")) {
                history.evaluations.push((step, loss, accuracy));
            } else if let (Some(loss), Some(rate)) = (number("loss"), number("learning_rate")) {
                history.tokens += number("tokens").unwrap_or_default() as u64;
                steps.push(step, loss, rate);
            }
        }
        [history.losses, history.learning_rates] = steps.finish();
        Ok(history)
    }

    /// Reads the lines of a file as they are, for small ones.
    pub fn lines(path: &Path) -> io::Result<Vec<String>> {
        Ok(fs::read_to_string(path)?.lines().map(str::to_owned).collect())
    }
}

/// The number at a key.
pub(crate) fn number(value: &Value<'_>, key: &str) -> Option<f64> {
    match value.get(key)? {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

/// Points of a curve; whenever there are twice as many as wanted, neighbors are joined.
struct Thinned {
    points: Vec<(u64, f64, f64)>,
    most: usize,
    /// So many steps make a point.
    stride: u64,
    open: (u64, f64, f64),
}

impl Thinned {
    fn new(most: usize) -> Thinned {
        Thinned { points: Vec::new(), most: most.max(1), stride: 1, open: (0, 0.0, 0.0) }
    }

    fn push(&mut self, step: u64, loss: f64, rate: f64) {
        self.open = (self.open.0 + 1, self.open.1 + loss, rate);
        if self.open.0 < self.stride {
            return;
        }
        let (count, sum, rate) = std::mem::take(&mut self.open);
        self.points.push((step, sum / count as f64, rate));
        if self.points.len() >= 2 * self.most {
            let join = |pair: &[(u64, f64, f64)]| match *pair {
                [(_, first, _), (step, second, rate)] => (step, (first + second) / 2.0, rate),
                _ => pair[0],
            };
            self.points = self.points.chunks(2).map(join).collect();
            self.stride *= 2;
        }
    }

    fn finish(self) -> [Curve; 2] {
        let point = |&(step, loss, _): &(u64, f64, f64)| (step, loss);
        let rate = |&(step, _, rate): &(u64, f64, f64)| (step, rate);
        [self.points.iter().map(point).collect(), self.points.iter().map(rate).collect()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_is_cut_where_a_checkpoint_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let step = |step| StepRecord {
            step,
            loss: 1.5 / step as f64,
            learning_rate: 1e-4,
            grad_norm: 0.5,
            tokens: 100,
            trained_tokens: 10,
            seconds: 0.25,
        };
        let mut metrics = Metrics::open(path.clone(), 0).unwrap();
        metrics.push(&step(1).to_json()).unwrap();
        let evaluation = EvaluationRecord {
            step: 1,
            valid_loss: 2.0,
            valid_token_accuracy: 0.5,
            valid_tokens: 4,
            seconds: 1.0,
        };
        metrics.push(&evaluation.to_json()).unwrap();
        let bytes = metrics.bytes();
        metrics.push(&step(2).to_json()).unwrap();
        drop(metrics);
        let history = History::read(&path, 100).unwrap();
        assert_eq!(history.losses, [(1, 1.5), (2, 0.75)]);
        assert_eq!(history.evaluations, [(1, 2.0, 0.5)]);
        assert_eq!((history.tokens, history.seconds), (200, 1.5));
        drop(Metrics::open(path.clone(), bytes).unwrap());
        assert_eq!(History::lines(&path).unwrap().len(), 2);
        assert!(matches!(Metrics::open(path, 10_000), Err(TrainError::Damaged { .. })));
    }

    #[test]
    fn a_long_curve_is_thinned_and_keeps_its_mean() {
        let mut thinned = Thinned::new(10);
        (1..=1000).for_each(|step| thinned.push(step, step as f64, 0.0));
        let [losses, _] = thinned.finish();
        assert!((10..20).contains(&losses.len()), "{}", losses.len());
        assert_eq!(losses[0], (64, 32.5));
    }
}
