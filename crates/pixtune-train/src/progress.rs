//! Where a run stands: everything beside the network's own state that decides how it goes on.

use pixtune_core::json::{self, Value};

use crate::metrics::{EvaluationRecord, StepRecord};

/// The position of a run between two steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// The epoch of the next step.
    pub epoch: u64,
    /// Steps taken of that epoch.
    pub step_in_epoch: u64,
    /// Tokens read so far.
    pub tokens: u64,
    /// Length of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// The validation loss before the first step.
    pub baseline: Option<f64>,
    /// The best evaluation after it: its step and loss.
    pub best: Option<(u64, f64)>,
    /// Evaluations since the best one.
    pub evaluations_since_best: u64,
    /// The evaluation before the next: its step and loss.
    pub last_evaluation: Option<(u64, f64)>,
    /// Sum of the losses, and the number of steps, since the last evaluation.
    pub recent: (f64, u64),
    /// Mean loss of the steps between the two last evaluations.
    pub recent_before: Option<f64>,
    /// Whether overfitting has been told.
    pub warned: bool,
}

/// What an evaluation means for the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// It is the best so far.
    pub best: bool,
    /// Validation got worse while training got better, and it is told for the first time.
    pub overfitting: Option<Overfitting>,
}

/// Validation turned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overfitting {
    /// The best evaluation.
    pub best: (u64, f64),
    /// The one that shows it.
    pub now: (u64, f64),
    /// Mean training loss before, and now.
    pub train: (f64, f64),
}

impl Progress {
    /// Counts a step.
    pub fn stepped(&mut self, record: &StepRecord) {
        self.step = record.step;
        self.tokens += record.tokens;
        self.recent.0 += record.loss;
        self.recent.1 += 1;
    }

    /// Takes an evaluation in. One that is only as good is no better: the earlier adapter is kept.
    pub fn evaluated(&mut self, record: &EvaluationRecord) -> Judged {
        let now = (record.step, record.valid_loss);
        if record.step == 0 {
            self.baseline = Some(record.valid_loss);
            self.last_evaluation = Some(now);
            return Judged { best: false, overfitting: None };
        }
        let best = self.best.is_none_or(|(_, loss)| record.valid_loss < loss);
        let (sum, count) = std::mem::take(&mut self.recent);
        let recent = (count > 0).then(|| sum / count as f64);
        let overfitting = self.overfitting(now, recent);
        if best {
            self.best = Some(now);
            self.evaluations_since_best = 0;
        } else {
            self.evaluations_since_best += 1;
        }
        self.warned |= overfitting.is_some();
        self.last_evaluation = Some(now);
        self.recent_before = recent.or(self.recent_before);
        Judged { best, overfitting }
    }

    /// Validation is worse than at its best and than before, while the training loss fell.
    fn overfitting(&self, now: (u64, f64), recent: Option<f64>) -> Option<Overfitting> {
        let (best, last) = (self.best?, self.last_evaluation?);
        let train = (self.recent_before?, recent?);
        let turned = now.1 > best.1 && now.1 > last.1 && train.1 < train.0;
        (turned && !self.warned).then_some(Overfitting { best, now, train })
    }

    /// As JSON, every float to its last bit.
    pub fn to_json(&self) -> String {
        let point = |point: Option<(u64, f64)>| {
            point.map_or("null".to_owned(), |(step, loss)| format!("[{step},{loss}]"))
        };
        format!(
            "{{\n  \"step\": {},\n  \"epoch\": {},\n  \"step_in_epoch\": {},\n  \"tokens\": {},\n  \
             \"metrics_bytes\": {},\n  \"baseline\": {},\n  \"best\": {},\n  \"evaluations_since_best\": {},\n  \"last_evaluation\": {},\n  \
             \"recent\": [{},{}],\n  \"recent_before\": {},\n  \"warned\": {}\n}}\n",
            self.step,
            self.epoch,
            self.step_in_epoch,
            self.tokens,
            self.metrics_bytes,
            number_or_null(self.baseline),
            point(self.best),
            self.evaluations_since_best,
            point(self.last_evaluation),
            self.recent.0,
            self.recent.1,
            number_or_null(self.recent_before),
            self.warned,
        )
    }

    /// Whether the step reached has not been evaluated yet: it may have been interrupted there.
    pub fn evaluation_is_due(&self, every: u64, total: u64) -> bool {
        let is_place = self.step.is_multiple_of(every) || self.step == total;
        is_place && self.last_evaluation.is_none_or(|(step, _)| step != self.step)
    }

    /// Reads [`Progress::to_json`].
    pub fn from_json(text: &str) -> Result<Progress, String> {
        let value = json::parse(text).map_err(|error| error.to_string())?.value;
        let count = |key: &str| match value.get(key) {
            Some(Value::Number(text)) => text.parse::<u64>().map_err(|_| format!("`{key}` is no count")),
            _ => Err(format!("it has no `{key}`")),
        };
        let pair = |key: &str| match value.get(key) {
            Some(Value::Array(pair)) => match &pair[..] {
                [Value::Number(first), Value::Number(second)] => Ok(Some((first, second))),
                _ => Err(format!("`{key}` is no pair")),
            },
            Some(Value::Null) => Ok(None),
            _ => Err(format!("it has no `{key}`")),
        };
        let point = |key: &str| match pair(key)? {
            None => Ok(None),
            Some((step, loss)) => match (step.parse(), finite(loss)) {
                (Ok(step), Some(loss)) => Ok(Some((step, loss))),
                _ => Err(format!("`{key}` is no step and loss")),
            },
        };
        let loss = |key: &str| match value.get(key) {
            Some(Value::Null) => Ok(None),
            Some(Value::Number(text)) => {
                finite(text).map(Some).ok_or_else(|| format!("`{key}` is too large"))
            }
            _ => Err(format!("it has no `{key}`")),
        };
        let (sum, recent) = pair("recent")?.ok_or("it has no `recent`")?;
        Ok(Progress {
            step: count("step")?,
            epoch: count("epoch")?,
            step_in_epoch: count("step_in_epoch")?,
            tokens: count("tokens")?,
            metrics_bytes: count("metrics_bytes")?,
            baseline: loss("baseline")?,
            best: point("best")?,
            evaluations_since_best: count("evaluations_since_best")?,
            last_evaluation: point("last_evaluation")?,
            recent: match (finite(sum), recent.parse()) {
                (Some(sum), Ok(count)) => (sum, count),
                _ => return Err("`recent` is no sum and count".to_owned()),
            },
            recent_before: loss("recent_before")?,
            warned: value.get("warned") == Some(&Value::Bool(true)),
        })
    }
}

/// A run ends before it keeps a loss that is none.
fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn number_or_null(number: Option<f64>) -> String {
    number.map_or("null".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(step: u64, valid_loss: f64) -> EvaluationRecord {
        EvaluationRecord { step, valid_loss, valid_token_accuracy: 0.0, valid_tokens: 1, seconds: 0.0 }
    }

    fn step(progress: &mut Progress, loss: f64) {
        let step = progress.step + 1;
        let record = StepRecord {
            step,
            loss,
            learning_rate: 0.0,
            grad_norm: 0.0,
            tokens: 1,
            trained_tokens: 1,
            seconds: 0.0,
        };
        progress.stepped(&record);
    }

    #[test]
    fn a_state_reads_back_to_the_last_bit() {
        let mut progress = Progress { metrics_bytes: 17, epoch: 3, ..Progress::default() };
        assert_eq!(Progress::from_json(&progress.to_json()).unwrap(), progress);
        step(&mut progress, 0.1 + 0.2);
        progress.evaluated(&evaluation(1, 1.0 / 3.0));
        step(&mut progress, 1e-300);
        assert_eq!(Progress::from_json(&progress.to_json()).unwrap(), progress);
        let json = progress.to_json();
        let changed = [("[1,", "[x,"), ("[1,", "[1,1e999,"), ("0.3333333333333333", "1e999")];
        let changed = changed.map(|(from, to)| json.replace(from, to));
        assert!(changed.iter().all(|changed| *changed != json));
        for broken in ["", "{}", "{\"step\": -1}"].into_iter().chain(changed.iter().map(String::as_str)) {
            assert!(Progress::from_json(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn overfitting_is_told_once_when_validation_turns_while_training_falls() {
        let mut progress = Progress::default();
        let mut run = |train: f64, valid: f64| {
            step(&mut progress, train);
            let step = progress.step;
            progress.evaluated(&evaluation(step, valid))
        };
        assert_eq!(run(3.0, 3.0), Judged { best: true, overfitting: None });
        assert_eq!(run(2.0, 2.0), Judged { best: true, overfitting: None });
        assert_eq!(run(2.5, 2.1).overfitting, None, "training rose as well");
        let told = run(1.0, 2.5).overfitting.unwrap();
        assert_eq!(told, Overfitting { best: (2, 2.0), now: (4, 2.5), train: (2.5, 1.0) });
        assert_eq!(run(0.5, 3.0), Judged { best: false, overfitting: None });
        assert_eq!((progress.best, progress.evaluations_since_best), (Some((2, 2.0)), 3));
    }
}
