//! The records of `metrics.jsonl`: what a training run measured, one to a line.

mod trainer_state;

use std::str::FromStr;

use crate::json::{self, Value, fixed, object};

pub use trainer_state::TrainerState;

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Record {
    /// A training step.
    Step(StepRecord),
    /// An evaluation on the validation split.
    Evaluation(EvaluationRecord),
}

/// A training step. What its trainer did not report is not a number, or 0 where it is a count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepRecord {
    /// Its number, from 1.
    pub step: u64,
    /// Mean cross-entropy of the trained tokens, before the update.
    pub loss: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// Tokens the network read.
    pub tokens: u64,
    /// Tokens that count in the loss.
    pub trained_tokens: u64,
    /// Seconds from the end of the previous step to the end of this one.
    pub seconds: f64,
    /// The most memory that the process has used so far, where the system reports it.
    pub peak_memory_bytes: Option<u64>,
}

/// An evaluation on the validation split. What its trainer did not report is not a number, or 0 where it is a count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvaluationRecord {
    /// The step it follows; 0 before the first.
    pub step: u64,
    /// Mean cross-entropy of the trained tokens.
    pub valid_loss: f64,
    /// Share of the trained tokens that were the most likely token.
    pub valid_token_accuracy: f64,
    /// How many trained tokens there are.
    pub valid_tokens: u64,
    /// The mean score of the samples that the model answered, if it was asked for.
    pub valid_score: Option<f64>,
    /// Seconds it took.
    pub seconds: f64,
}

impl EvaluationRecord {
    /// Whether it is better than another one: by its score, where both have one, else by its loss. Of equal scores, which are usual
    /// with few samples, the one with the lower loss is better.
    pub fn is_better_than(&self, other: &EvaluationRecord) -> bool {
        is_better((self.valid_score, self.valid_loss), (other.valid_score, other.valid_loss))
    }
}

/// Whether a score and a loss are better than another score and loss.
pub fn is_better(one: (Option<f64>, f64), other: (Option<f64>, f64)) -> bool {
    match (one.0, other.0) {
        (Some(score), Some(other)) if score != other => score > other,
        _ => one.1 < other.1,
    }
}

impl Record {
    /// The record of a line; `None` where it is not one, or not a whole one.
    pub fn parse(line: &str) -> Option<Record> {
        let value = json::parse(line).ok()?.value;
        match StepRecord::read(&value) {
            Some(step) => Some(Record::Step(step)),
            None => Some(Record::Evaluation(EvaluationRecord::read(&value)?)),
        }
    }

    /// The line, without its end.
    pub fn to_json(&self) -> String {
        match self {
            Record::Step(step) => step.to_json(),
            Record::Evaluation(evaluation) => evaluation.to_json(),
        }
    }
}

impl StepRecord {
    fn read(value: &Value<'_>) -> Option<StepRecord> {
        Some(StepRecord {
            step: number(value, "step")?,
            loss: number(value, "loss")?,
            learning_rate: number(value, "learning_rate").unwrap_or(f64::NAN),
            grad_norm: number(value, "grad_norm").unwrap_or(f64::NAN),
            tokens: number(value, "tokens").unwrap_or_default(),
            trained_tokens: number(value, "trained_tokens").unwrap_or_default(),
            seconds: number(value, "seconds").unwrap_or_default(),
            peak_memory_bytes: number(value, "peak_memory_bytes"),
        })
    }

    fn to_json(self) -> String {
        json::text(object(|line| {
            line.field("step", self.step)
                .field("loss", self.loss)
                .optional("learning_rate", finite(self.learning_rate))
                .optional("grad_norm", finite(self.grad_norm))
                .field("tokens", self.tokens)
                .field("trained_tokens", self.trained_tokens)
                .field("seconds", fixed(self.seconds, 4))
                .optional("peak_memory_bytes", self.peak_memory_bytes);
        }))
    }
}

impl EvaluationRecord {
    fn read(value: &Value<'_>) -> Option<EvaluationRecord> {
        Some(EvaluationRecord {
            step: number(value, "step")?,
            valid_loss: number(value, "valid_loss")?,
            valid_token_accuracy: number(value, "valid_token_accuracy").unwrap_or(f64::NAN),
            valid_tokens: number(value, "valid_tokens").unwrap_or_default(),
            valid_score: number(value, "valid_score"),
            seconds: number(value, "seconds").unwrap_or_default(),
        })
    }

    fn to_json(self) -> String {
        json::text(object(|line| {
            line.field("step", self.step)
                .field("valid_loss", self.valid_loss)
                .optional("valid_token_accuracy", finite(self.valid_token_accuracy))
                .field("valid_tokens", self.valid_tokens)
                .optional("valid_score", self.valid_score)
                .field("seconds", fixed(self.seconds, 4));
        }))
    }
}

/// A number that was reported.
pub fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn number<T: FromStr>(value: &Value<'_>, key: &str) -> Option<T> {
    match value.get(key)? {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back() {
        let step = StepRecord {
            step: 3,
            loss: 0.1 + 0.2,
            learning_rate: 1e-4,
            grad_norm: 1e-12,
            tokens: 100,
            trained_tokens: 10,
            seconds: 0.25,
            peak_memory_bytes: Some(1 << 33),
        };
        let evaluation = EvaluationRecord {
            step: 3,
            valid_loss: 1.0 / 3.0,
            valid_token_accuracy: 0.5,
            valid_tokens: 4,
            valid_score: None,
            seconds: 1.5,
        };
        let scored = EvaluationRecord { valid_score: Some(0.1 + 0.2), ..evaluation };
        let unknown = StepRecord { peak_memory_bytes: None, ..step };
        for record in [
            Record::Step(step),
            Record::Step(unknown),
            Record::Evaluation(evaluation),
            Record::Evaluation(scored),
        ] {
            assert_eq!(Record::parse(&record.to_json()), Some(record));
        }
    }

    #[test]
    fn scores_decide_before_losses() {
        assert!(is_better((Some(0.6), 2.0), (Some(0.5), 1.0)));
        assert!(is_better((Some(0.5), 0.9), (Some(0.5), 1.0)));
        assert!(!is_better((Some(0.5), 1.0), (Some(0.5), 1.0)), "the earlier one stays");
        assert!(is_better((None, 0.9), (Some(0.5), 1.0)) && !is_better((None, 1.0), (None, 0.9)));
    }

    #[test]
    fn half_a_line_is_not_a_record() {
        for line in
            ["", "{", "[]", "{}", r#"{"step":1,"loss":0.5"#, r#"{"loss":0.5}"#, r#"{"step":1,"loss":"0.5"}"#]
        {
            assert_eq!(Record::parse(line), None, "{line}");
        }
    }

    #[test]
    fn what_another_trainer_does_not_report_is_not_invented() {
        let Some(Record::Step(step)) = Record::parse(r#"{"step":1,"loss":0.5}"#) else { panic!("a step") };
        assert!(step.learning_rate.is_nan() && step.grad_norm.is_nan() && step.tokens == 0);
        let line = Record::Step(step).to_json();
        assert_eq!(line, r#"{"step":1,"loss":0.5,"tokens":0,"trained_tokens":0,"seconds":0.0000}"#);
        let Some(Record::Evaluation(evaluation)) = Record::parse(r#"{"step":1,"valid_loss":0.5}"#) else {
            panic!("an evaluation")
        };
        assert!(evaluation.valid_token_accuracy.is_nan());
        assert!(!Record::Evaluation(evaluation).to_json().contains("accuracy"));
    }
}
