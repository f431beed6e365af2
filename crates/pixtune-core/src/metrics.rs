//! The records of `metrics.jsonl`: what a training run measured, one to a line.

use std::str::FromStr;

use crate::json::{self, Value, fixed, object};

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Record {
    /// A training step.
    Step(StepRecord),
    /// An evaluation on the validation split.
    Evaluation(EvaluationRecord),
}

/// A training step.
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

/// An evaluation on the validation split.
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
            learning_rate: number(value, "learning_rate")?,
            grad_norm: number(value, "grad_norm")?,
            tokens: number(value, "tokens")?,
            trained_tokens: number(value, "trained_tokens")?,
            seconds: number(value, "seconds")?,
            peak_memory_bytes: number(value, "peak_memory_bytes"),
        })
    }

    fn to_json(self) -> String {
        json::text(object(|line| {
            line.field("step", self.step)
                .field("loss", self.loss)
                .field("learning_rate", self.learning_rate)
                .field("grad_norm", self.grad_norm)
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
            valid_token_accuracy: number(value, "valid_token_accuracy")?,
            valid_tokens: number(value, "valid_tokens")?,
            valid_score: number(value, "valid_score"),
            seconds: number(value, "seconds")?,
        })
    }

    fn to_json(self) -> String {
        json::text(object(|line| {
            line.field("step", self.step)
                .field("valid_loss", self.valid_loss)
                .field("valid_token_accuracy", self.valid_token_accuracy)
                .field("valid_tokens", self.valid_tokens)
                .optional("valid_score", self.valid_score)
                .field("seconds", fixed(self.seconds, 4));
        }))
    }
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
        for line in ["", "{", "[]", "{}", r#"{"step":1,"loss":0.5"#, r#"{"step":1,"loss":0.5}"#] {
            assert_eq!(Record::parse(line), None, "{line}");
        }
    }
}
