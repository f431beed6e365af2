//! The options of a training run.

use pixtune_core::score::Scorer;
use pixtune_model::network::LoraConfig;

use crate::error::TrainError;
use crate::schedule::Warmup;

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// This many passes over the data.
    Epochs(u64),
    /// This many steps, over as many epochs as they take.
    Steps(u64),
}

/// What to do with samples that cannot be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidSamples {
    /// Do not start the run.
    #[default]
    Refuse,
    /// Report them and train on the others.
    Skip,
}

/// A metric that is computed at every evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvalMetric {
    /// It scores the responses.
    pub scorer: Scorer,
    /// Maximum validation samples that the model answers, spread evenly.
    pub samples: usize,
}

impl EvalMetric {
    /// Metric and variant: `relaxed (mistral)`.
    pub fn name(&self) -> String {
        match self.scorer.variant() {
            Some(variant) => format!("{} ({})", self.scorer.family().id(), variant.id()),
            None => self.scorer.family().id().to_owned(),
        }
    }
}

/// Everything a user can choose about the training itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The adapter.
    pub lora: LoraConfig,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// Length of the run.
    pub length: Length,
    /// Maximum tokens per batch.
    pub batch_tokens: u32,
    /// Batches per step (gradient accumulation).
    pub accumulate: u32,
    /// Warmup of the learning rate.
    pub warmup: Warmup,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Maximum norm of the gradients; longer ones are clipped to it.
    pub max_grad_norm: f64,
    /// Steps between evaluations; a tenth of the run by default.
    pub eval_every: Option<u64>,
    /// The metric that decides which adapter is the best; without one, the validation loss does.
    pub metric: Option<EvalMetric>,
    /// Evaluations without improvement that end the run.
    pub patience: Option<u64>,
    /// Steps between checkpoints; as between evaluations by default.
    pub save_every: Option<u64>,
    /// Number of checkpoints to keep.
    pub keep: usize,
    /// Seed of the sample order, the adapter's initial values and dropout.
    pub seed: u64,
    /// What to do with samples that cannot be trained on.
    pub invalid_samples: InvalidSamples,
    /// Whether the frozen linears are in 4 bits.
    pub load_in_4bit: bool,
    /// Threads for decoding and computing.
    pub threads: usize,
    /// Bytes of decoded samples to keep in memory.
    pub cache_bytes: usize,
}

/// Peak learning rates that are of use for LoRA; the default is 1e-4.
const LEARNING_RATES: std::ops::RangeInclusive<f64> = 1e-7..=1e-2;

impl Settings {
    /// What is possible and probably not meant.
    pub fn warnings(&self) -> Vec<String> {
        let rate = self.learning_rate;
        let unusual = !LEARNING_RATES.contains(&rate);
        let effect = if rate > 1e-2 { "destroy the model" } else { "change nothing" };
        unusual
            .then(|| {
                format!("--learning-rate {rate:e} will probably {effect}: LoRA is usually trained with 1e-5 to 1e-3")
            })
            .into_iter()
            .collect()
    }

    /// Refuses values that make no sense, before any work is done.
    pub fn check(&self) -> Result<(), TrainError> {
        self.lora.check()?;
        let positive = |number: f64| number.is_finite() && number > 0.0;
        let no_length = matches!(self.length, Length::Epochs(0) | Length::Steps(0));
        let rules = [
            (positive(self.learning_rate), "--learning-rate must be a number above 0"),
            (self.weight_decay == 0.0 || positive(self.weight_decay), "--weight-decay must be 0 or above"),
            (positive(self.max_grad_norm), "--max-grad-norm must be a number above 0"),
            (!no_length, "--epochs and --steps must be at least 1"),
            (self.batch_tokens > 0, "--batch-tokens must be at least 1"),
            ((1..=65_536).contains(&self.accumulate), "--accumulate must be from 1 to 65,536"),
            (self.eval_every != Some(0), "--eval-every must be at least 1"),
            (self.save_every != Some(0), "--save-every must be at least 1"),
            (self.patience != Some(0), "--patience must be at least 1"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, reason)) => Err(TrainError::Setting { reason: reason.to_owned() }),
            None => Ok(()),
        }
    }
}
