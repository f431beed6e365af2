//! The run of a job: its length and rates, in place of those that `pixtune plan` recommends.

use pixtune_core::plan::TrainingPlan;
use pixtune_core::plan::defaults;

/// What a job asks for; what is `None` is as `pixtune train` chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RunSettings {
    /// Steps, which precede epochs.
    pub steps: Option<u64>,
    /// Epochs.
    pub epochs: Option<u64>,
    /// Samples per step.
    pub samples_per_step: Option<u64>,
    /// Peak learning rate.
    pub learning_rate: Option<f64>,
    /// Weight decay.
    pub weight_decay: Option<f64>,
    /// Warmup as a fraction of the steps.
    pub warmup: Option<f64>,
    /// The seed of the run.
    pub seed: u64,
    /// Train on the CPU, in single precision.
    pub on_cpu: bool,
}

/// The weight decay of `pixtune train`.
const WEIGHT_DECAY: f64 = 0.1;

/// Checkpoints of a run: a run that is stopped repeats what follows the last one.
const CHECKPOINTS: u64 = 20;

/// Checkpoints that are kept.
pub(crate) const KEPT: u64 = 3;

/// A run, with every number that a configuration needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Steps.
    pub steps: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Samples per step.
    pub samples_per_step: u64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Steps in which the learning rate rises.
    pub warmup_steps: u64,
    /// Steps between checkpoints and between evaluations.
    pub save_steps: u64,
    /// The seed.
    pub seed: u64,
    /// Train on the CPU, in single precision.
    pub on_cpu: bool,
}

impl RunSettings {
    /// The run on the data of a plan.
    pub fn resolve(&self, plan: &TrainingPlan) -> Run {
        let (schedule, samples) = (&plan.schedule, plan.dataset.train.samples);
        let samples_per_step = self.samples_per_step.unwrap_or(schedule.batch.value as u64).max(1);
        let steps_per_epoch = samples.div_ceil(samples_per_step).max(1);
        let epochs = self.epochs.unwrap_or_else(|| defaults::epochs(samples));
        let steps = self.steps.unwrap_or(epochs.saturating_mul(steps_per_epoch)).max(1);
        let warmup = self.warmup.unwrap_or(schedule.warmup.value);
        Run {
            steps,
            steps_per_epoch,
            samples_per_step,
            learning_rate: self.learning_rate.unwrap_or(schedule.learning_rate.value),
            weight_decay: self.weight_decay.unwrap_or(WEIGHT_DECAY),
            warmup_steps: (steps as f64 * warmup).ceil() as u64,
            save_steps: steps.div_ceil(CHECKPOINTS),
            seed: self.seed,
            on_cpu: self.on_cpu,
        }
    }
}
