//! Where a run stands between two steps: everything beside the network's own numbers that decides how it continues.

use pixtune_core::json::{self, ToJson, Value, compact, document, list, object};
use pixtune_core::metrics::{EvaluationRecord, StepRecord, is_better};

use crate::guard::{Divergence, GuardMemory, Symptom};

/// The state of a run, saved with every checkpoint as `state.json`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunState {
    /// Optimizer steps so far.
    pub step: u64,
    /// The epoch of the next step.
    pub epoch: u64,
    /// Optimizer steps of that epoch so far.
    pub step_in_epoch: u64,
    /// Tokens read so far.
    pub tokens: u64,
    /// Length of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// The validation loss before the first step.
    pub baseline: Option<f64>,
    /// The score before the first step, if scores are computed.
    pub baseline_score: Option<f64>,
    /// The best evaluation after the baseline.
    pub best: Option<LossAt>,
    /// Its score.
    pub best_score: Option<f64>,
    /// Evaluations since the best one.
    pub evaluations_since_best: u64,
    /// The latest evaluation.
    pub last_evaluation: Option<LossAt>,
    /// The training loss since the latest evaluation.
    pub recent: LossMean,
    /// Mean training loss of the steps between the two latest evaluations.
    pub recent_before: Option<f64>,
    /// Whether overfitting was reported.
    pub warned: bool,
    /// What the guard against divergence remembers.
    pub guard: GuardMemory,
}

/// A validation loss and the step it was measured after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossAt {
    /// The step.
    pub step: u64,
    /// The loss.
    pub loss: f64,
}

/// A mean of losses while it grows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossMean {
    /// Sum of the losses.
    pub sum: f64,
    /// How many there are.
    pub count: u64,
}

impl LossMean {
    fn push(&mut self, loss: f64) {
        self.sum += loss;
        self.count += 1;
    }

    fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// What an evaluation means for the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgment {
    /// It is the best so far.
    pub best: bool,
    /// It is the first to show overfitting.
    pub overfitting: Option<Overfitting>,
}

/// Validation got worse while training got better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overfitting {
    /// The best evaluation.
    pub best: LossAt,
    /// The evaluation that shows it.
    pub now: LossAt,
    /// Mean training loss before the previous evaluation.
    pub train_before: f64,
    /// Mean training loss since then.
    pub train_now: f64,
}

/// Evaluations in a row without improvement that are a trend.
const TREND: u64 = 3;

impl RunState {
    /// Counts a step.
    pub fn record_step(&mut self, record: &StepRecord) {
        self.step = record.step;
        self.tokens += record.tokens;
        self.recent.push(record.loss);
    }

    /// Counts an evaluation. One that only equals the best is not better: the earlier adapter is kept.
    pub fn record_evaluation(&mut self, record: &EvaluationRecord) -> Judgment {
        let now = LossAt { step: record.step, loss: record.valid_loss };
        if now.step == 0 {
            self.baseline = Some(now.loss);
            self.baseline_score = record.valid_score;
            self.last_evaluation = Some(now);
            return Judgment { best: false, overfitting: None };
        }
        let recent = std::mem::take(&mut self.recent).mean();
        let overfitting = self.overfitting(now, recent);
        let is_better =
            |best: LossAt| is_better((record.valid_score, now.loss), (self.best_score, best.loss));
        let best = self.best.is_none_or(is_better);
        if best {
            self.best = Some(now);
            self.best_score = record.valid_score;
            self.evaluations_since_best = 0;
        } else {
            self.evaluations_since_best += 1;
        }
        self.warned |= overfitting.is_some();
        self.last_evaluation = Some(now);
        self.recent_before = recent.or(self.recent_before);
        Judgment { best, overfitting }
    }

    /// Validation has been worse than its best for several evaluations and got worse again, although the training loss fell.
    fn overfitting(&self, now: LossAt, recent: Option<f64>) -> Option<Overfitting> {
        let (best, last) = (self.best?, self.last_evaluation?);
        let (train_before, train_now) = (self.recent_before?, recent?);
        let is_trend = self.evaluations_since_best + 1 >= TREND;
        let turned = is_trend && now.loss > best.loss && now.loss > last.loss && train_now < train_before;
        (turned && !self.warned).then_some(Overfitting { best, now, train_before, train_now })
    }

    /// Whether the step reached has to be evaluated and was not yet: the run may have been interrupted there.
    pub fn evaluation_is_due(&self, every: u64, total: u64) -> bool {
        let is_evaluated = self.last_evaluation.is_some_and(|last| last.step == self.step);
        !is_evaluated && (self.step.is_multiple_of(every) || self.step == total)
    }

    /// `state.json`, every number to its last bit.
    pub fn to_json(&self) -> String {
        let pair = |first: f64, second: f64| compact(list([first, second]));
        let point = |point: LossAt| pair(point.step as f64, point.loss);
        document(object(|state| {
            state
                .field("step", self.step)
                .field("epoch", self.epoch)
                .field("step_in_epoch", self.step_in_epoch)
                .field("tokens", self.tokens)
                .field("metrics_bytes", self.metrics_bytes)
                .field("baseline", self.baseline)
                .optional("baseline_score", self.baseline_score)
                .field("best", self.best.map(point))
                .optional("best_score", self.best_score)
                .field("evaluations_since_best", self.evaluations_since_best)
                .field("last_evaluation", self.last_evaluation.map(point))
                .field("recent", pair(self.recent.sum, self.recent.count as f64))
                .field("recent_before", self.recent_before)
                .field("warned", self.warned)
                .field("first_step", self.guard.first.map(|(loss, norm)| pair(loss, norm)))
                .field("divergence", self.guard.streak.map(divergence));
        }))
    }

    /// Reads [`RunState::to_json`].
    pub fn from_json(text: &str) -> Result<RunState, String> {
        let members = Members(json::parse(text).map_err(|error| error.to_string())?.value);
        Ok(RunState {
            step: members.count("step")?,
            epoch: members.count("epoch")?,
            step_in_epoch: members.count("step_in_epoch")?,
            tokens: members.count("tokens")?,
            metrics_bytes: members.count("metrics_bytes")?,
            baseline: members.loss("baseline")?,
            baseline_score: members.score("baseline_score")?,
            best: members.loss_at("best")?,
            best_score: members.score("best_score")?,
            evaluations_since_best: members.count("evaluations_since_best")?,
            last_evaluation: members.loss_at("last_evaluation")?,
            recent: members.loss_mean("recent")?,
            recent_before: members.loss("recent_before")?,
            warned: members.0.get("warned") == Some(&Value::Bool(true)),
            guard: members.guard()?,
        })
    }
}

/// The members of a state file.
struct Members<'v>(Value<'v>);

impl Members<'_> {
    fn get(&self, key: &str) -> Result<&Value<'_>, String> {
        self.0.get(key).ok_or_else(|| format!("it has no `{key}`"))
    }

    fn count(&self, key: &str) -> Result<u64, String> {
        count(self.get(key)?).ok_or_else(|| format!("`{key}` is not a count"))
    }

    fn loss(&self, key: &str) -> Result<Option<f64>, String> {
        match self.get(key)? {
            Value::Null => Ok(None),
            value => loss(value).map(Some).ok_or_else(|| format!("`{key}` is not a loss")),
        }
    }

    /// A score, which only runs with a metric have.
    fn score(&self, key: &str) -> Result<Option<f64>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(_) => self.loss(key),
        }
    }

    fn loss_at(&self, key: &str) -> Result<Option<LossAt>, String> {
        let parts = match self.get(key)? {
            Value::Null => return Ok(None),
            Value::Array(parts) => &parts[..],
            _ => &[],
        };
        let point = match parts {
            [first, second] => count(first).zip(loss(second)).map(|(step, loss)| LossAt { step, loss }),
            _ => None,
        };
        point.map(Some).ok_or_else(|| format!("`{key}` is not a step and its loss"))
    }

    /// What the guard remembers. States of versions before it was saved have nothing.
    fn guard(&self) -> Result<GuardMemory, String> {
        let first = match self.0.get("first_step") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_array() {
                Some([first, second]) => loss(first).zip(loss(second)),
                _ => None,
            }
            .map(Some)
            .ok_or("`first_step` is not a loss and a gradient norm")?,
        };
        let streak = match self.0.get("divergence") {
            None | Some(Value::Null) => None,
            Some(value) => Some(read_divergence(value).ok_or("`divergence` does not describe steps")?),
        };
        Ok(GuardMemory { first, streak })
    }

    fn loss_mean(&self, key: &str) -> Result<LossMean, String> {
        let mean = match self.get(key)?.as_array() {
            Some([first, second]) => {
                loss(first).zip(count(second)).map(|(sum, count)| LossMean { sum, count })
            }
            _ => None,
        };
        mean.ok_or_else(|| format!("`{key}` is not a sum of losses and their count"))
    }
}

fn divergence(found: Divergence) -> impl ToJson {
    let numbers = compact(list([found.loss, found.grad_norm, found.chance]));
    object(move |out| {
        out.field("symptom", found.symptom.as_str()).field("since", found.since);
        out.field("steps", u64::from(found.steps)).field("loss_norm_chance", numbers);
    })
}

fn read_divergence(value: &Value<'_>) -> Option<Divergence> {
    let [loss, grad_norm, chance] = value.get("loss_norm_chance")?.as_array()? else { return None };
    Some(Divergence {
        symptom: Symptom::parse(value.get("symptom")?.as_str()?)?,
        since: count(value.get("since")?)?,
        steps: u32::try_from(count(value.get("steps")?)?).ok()?,
        loss: self::loss(loss)?,
        grad_norm: self::loss(grad_norm)?,
        chance: self::loss(chance)?,
    })
}

fn count(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

/// A finite number: a run ends before it saves any other loss.
fn loss(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Number(text) => text.parse().ok().filter(|loss: &f64| loss.is_finite()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(step: u64, valid_loss: f64) -> EvaluationRecord {
        EvaluationRecord {
            step,
            valid_loss,
            valid_token_accuracy: 0.0,
            valid_tokens: 1,
            valid_score: None,
            seconds: 0.0,
        }
    }

    fn step(state: &mut RunState, loss: f64) {
        state.record_step(&StepRecord {
            step: state.step + 1,
            loss,
            learning_rate: 0.0,
            grad_norm: 0.0,
            tokens: 1,
            trained_tokens: 1,
            seconds: 0.0,
            peak_memory_bytes: None,
        });
    }

    #[test]
    fn state_reads_back_to_the_last_bit() {
        let mut state = RunState { metrics_bytes: 17, epoch: 3, ..RunState::default() };
        assert_eq!(RunState::from_json(&state.to_json()).unwrap(), state);
        step(&mut state, 0.1 + 0.2);
        state.record_evaluation(&evaluation(1, 1.0 / 3.0));
        step(&mut state, 1e-300);
        let (symptom, since, steps) = (Symptom::ExplodingGradient, 2, 1);
        let streak = Divergence { symptom, since, steps, loss: 0.1, grad_norm: 1e300, chance: 6.0 };
        state.guard = GuardMemory { first: Some((0.3, 0.7)), streak: Some(streak) };
        assert_eq!(RunState::from_json(&state.to_json()).unwrap(), state);
        let json = state.to_json();
        let changed = [("[1,", "[x,"), ("[1,", "[1,1e999,"), ("0.3333333333333333", "1e999")];
        let changed = changed.map(|(from, to)| json.replace(from, to));
        assert!(changed.iter().all(|changed| *changed != json));
        for broken in ["", "{}", "{\"step\": -1}"].into_iter().chain(changed.iter().map(String::as_str)) {
            assert!(RunState::from_json(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn reports_overfitting_once_when_validation_turns_while_training_falls() {
        let mut state = RunState::default();
        let mut run = |train: f64, valid: f64| {
            step(&mut state, train);
            let step = state.step;
            state.record_evaluation(&evaluation(step, valid))
        };
        assert_eq!(run(3.0, 3.0), Judgment { best: true, overfitting: None });
        assert_eq!(run(2.0, 2.0), Judgment { best: true, overfitting: None });
        assert_eq!(run(2.5, 2.1).overfitting, None, "training rose as well");
        let at = |step, loss| LossAt { step, loss };
        let expected = Overfitting { best: at(2, 2.0), now: at(5, 2.5), train_before: 1.2, train_now: 1.0 };
        assert_eq!(run(1.2, 2.3).overfitting, None, "two evaluations are no trend");
        assert_eq!(run(1.0, 2.5).overfitting, Some(expected));
        assert_eq!(run(0.5, 3.0), Judgment { best: false, overfitting: None });
        assert_eq!((state.best, state.evaluations_since_best), (Some(at(2, 2.0)), 4));
    }

    #[test]
    fn scores_decide_which_adapter_is_the_best() {
        let mut state = RunState::default();
        let mut run = |step: u64, score: f64, loss: f64| {
            let record = EvaluationRecord { valid_score: Some(score), ..evaluation(step, loss) };
            state.record_evaluation(&record).best
        };
        let best = [run(0, 0.1, 3.0), run(1, 0.4, 2.0), run(2, 0.5, 2.5), run(3, 0.5, 2.6), run(4, 0.4, 1.0)];
        assert_eq!(best, [false, true, true, false, false]);
        assert_eq!((state.best_score, state.baseline_score), (Some(0.5), Some(0.1)));
        assert_eq!((state.best.unwrap().step, state.evaluations_since_best), (2, 2));
        assert_eq!(RunState::from_json(&state.to_json()).unwrap(), state);
    }
}
