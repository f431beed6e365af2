//! `trainer_state.json`, the log of a run of transformers, as records.

use super::{EvaluationRecord, Record, StepRecord};
use crate::json::{self, Value};

/// What `trainer_state.json` of transformers holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainerState {
    /// The step that it was written at.
    pub step: u64,
    /// The steps of the whole run.
    pub max_steps: Option<u64>,
    /// Its log, in order.
    pub records: Vec<Record>,
    /// Seconds of the whole run, if it has ended.
    pub seconds: f64,
    /// Options of the run that it names.
    pub options: Vec<(String, String)>,
}

impl TrainerState {
    /// Reads the text of the file. The error is a message.
    pub fn parse(text: &str) -> Result<TrainerState, String> {
        let root = json::parse(text).map_err(|error| error.to_string())?.value;
        let log = root.get("log_history").and_then(Value::as_array);
        let log = log.ok_or_else(|| "it has no `log_history`".to_owned())?;
        let mut state = TrainerState::default();
        let mut tokens = 0;
        for entry in log {
            state.add(entry, &mut tokens);
            state.seconds = number(entry, "train_runtime").unwrap_or(state.seconds);
        }
        let whole = |key: &str| number(&root, key).filter(|number| *number > 0.0).map(|number| number as u64);
        state.step = whole("global_step").unwrap_or_default();
        state.max_steps = whole("max_steps");
        let names = ["num_train_epochs", "max_steps", "train_batch_size", "best_metric"];
        let options = names.iter().filter_map(|name| {
            let value = root.get(name).filter(|value| **value != Value::Null)?;
            Some(((*name).to_owned(), value.to_string()))
        });
        state.options = options.collect();
        Ok(state)
    }

    /// Adds the records of an entry of the log. `tokens` are those that the network has read so far.
    fn add(&mut self, entry: &Value<'_>, tokens: &mut u64) {
        let number = |key: &str| number(entry, key);
        let Some(step) = number("step").map(|step| step as u64) else { return };
        if let Some(loss) = number("loss") {
            // TRL logs all tokens that the network has read so far.
            let so_far = number("num_tokens").map_or(*tokens, |tokens| tokens as u64);
            self.records.push(Record::Step(StepRecord {
                step,
                loss,
                learning_rate: number("learning_rate").unwrap_or(f64::NAN),
                grad_norm: number("grad_norm").unwrap_or(f64::NAN),
                tokens: so_far.saturating_sub(*tokens),
                trained_tokens: 0,
                seconds: 0.0,
                peak_memory_bytes: None,
            }));
            *tokens = so_far;
        }
        if let Some(valid_loss) = number("eval_loss") {
            let accuracy = ["eval_mean_token_accuracy", "eval_token_acc"].iter().find_map(|key| number(key));
            self.records.push(Record::Evaluation(EvaluationRecord {
                step,
                valid_loss,
                valid_token_accuracy: accuracy.unwrap_or(f64::NAN),
                valid_tokens: 0,
                valid_score: None,
                seconds: 0.0,
            }));
        }
    }
}

fn number(value: &Value<'_>, key: &str) -> Option<f64> {
    match value.get(key)? {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_entries_become_records() {
        let text = r#"{"global_step": 2, "max_steps": 4, "best_metric": null, "log_history": [
            {"grad_norm": 2.5, "learning_rate": 0.0001, "loss": 3.0, "num_tokens": 100.0, "step": 1},
            {"loss": 2.0, "num_tokens": 250.0, "step": 2}, {"eval_loss": 1.5, "step": 2}, {"train_runtime": 40.0, "step": 2}]}"#;
        let state = TrainerState::parse(text).unwrap();
        assert_eq!((state.step, state.max_steps, state.seconds), (2, Some(4), 40.0));
        let tokens = state.records.iter().map(|record| match record {
            Record::Step(step) => (step.step, step.loss, step.tokens),
            Record::Evaluation(evaluation) => (evaluation.step, evaluation.valid_loss, 0),
        });
        assert_eq!(tokens.collect::<Vec<_>>(), [(1, 3.0, 100), (2, 2.0, 150), (2, 1.5, 0)]);
        assert_eq!(state.options, [("max_steps".to_owned(), "4".to_owned())]);
    }

    #[test]
    fn half_a_file_is_an_error() {
        for text in ["", "{", "{}", r#"{"log_history": 1}"#, r#"{"log_history": [{"step": 1"#] {
            assert!(TrainerState::parse(text).is_err(), "{text}");
        }
    }
}
