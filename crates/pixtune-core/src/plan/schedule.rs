//! The schedule: epochs, steps, batch, learning rate.

use super::defaults::{self, Batching};
use super::{Basis, Dataset, Figure, Memory, Wish};
use crate::target::Method;

/// Epochs, steps, batch, learning rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Numbers of epochs.
    pub epochs: [u64; 3],
    /// Their steps.
    pub steps: [u64; 3],
    /// The advised number of epochs.
    pub advised_epochs: Figure,
    /// Samples per step.
    pub batch: Figure,
    /// Micro-batches per step; `None` if none fits.
    pub accumulate: Option<u64>,
    /// The batches of `pixtune train`, which packs samples.
    pub batching: Batching,
    /// Learning rate.
    pub learning_rate: Figure,
    /// The largest learning rate worth trying.
    pub largest_rate: Figure,
    /// The share of warmup steps.
    pub warmup: Figure,
    /// Warmup steps with the advised epochs.
    pub warmup_steps: u64,
}

const LLAVA: &str = "LLaVA-1.5, arXiv:2310.03744, table of hyperparameters in the appendix, and its scripts/v1_5/finetune.sh: batch 128, \
                     rate 2e-5, warmup 0.03, cosine; finetune_lora.sh: rate 2e-4";
const QLORA: &str = "QLoRA, arXiv:2305.14314, and the README of artidoro/qlora: 2e-4 up to 13B, 1e-4 above; LLaVA-1.5's \
                     scripts/v1_5/finetune_lora.sh: 2e-4 with 13B";
const REGRET: &str = "a tenth of the rate for adapters, the ratio that LoRA Without Regret finds (J. Schulman, Thinking Machines, \
                      September 2025, thinkingmachines.ai/blog/lora)";

/// Samples per step.
pub(super) fn batch(dataset: &Dataset, wish: &Wish) -> Figure {
    let samples = dataset.train.samples;
    if wish.method == Method::Full && samples >= 100_000 {
        return Figure { value: 128.0, basis: Basis::Published(LLAVA) };
    }
    let value = defaults::samples_per_step(samples);
    let why = match wish.method {
        Method::Full => "grows with the dataset, at most a tenth of it",
        _ => {
            "grows with the dataset, at most a tenth of it; adapters tolerate large batches less well than full training (LoRA \
             Without Regret, thinkingmachines.ai/blog/lora)"
        }
    };
    Figure { value: value as f64, basis: Basis::Guess(why) }
}

impl Schedule {
    pub(super) fn of(dataset: &Dataset, wish: &Wish, batch: Figure, memory: &Memory) -> Schedule {
        let samples = dataset.train.samples;
        let an_epoch = (samples as f64 / batch.value).ceil() as u64;
        let epochs = [2, 3, 4];
        let steps = epochs.map(|epochs| epochs * an_epoch);
        let advised = defaults::epochs(samples) as f64;
        let why = "fewer for larger datasets; stop when the validation loss rises";
        let advised_epochs = Figure { value: advised, basis: Basis::Guess(why) };
        let (rate, largest) = match wish.method {
            Method::Full => (
                Figure { value: 1e-5, basis: Basis::Guess(REGRET) },
                Figure { value: 2e-5, basis: Basis::Published(LLAVA) },
            ),
            _ => {
                let linears = wish.shape.linears();
                let why = "half of the published rate for models of this size, for small datasets";
                (
                    Figure { value: defaults::learning_rate(linears), basis: Basis::Guess(why) },
                    Figure { value: defaults::published_rate(linears), basis: Basis::Published(QLORA) },
                )
            }
        };
        let longest = dataset.train.lengths.max().max(dataset.validation.lengths.max());
        let warmup = Figure { value: defaults::WARMUP, basis: Basis::Published(LLAVA) };
        let step_tokens = batch.value * dataset.train.lengths.mean();
        let accumulate = memory.micro.map(|micro| ((step_tokens / micro.tokens as f64).ceil() as u64).max(1));
        let warmup_steps = (advised * an_epoch as f64 * warmup.value).ceil() as u64;
        Schedule {
            epochs,
            steps,
            advised_epochs,
            batch,
            accumulate,
            batching: Batching::of(samples, dataset.train.tokens, longest),
            learning_rate: rate,
            largest_rate: largest,
            warmup,
            warmup_steps,
        }
    }

    /// Steps of the advised epochs.
    pub fn advised_steps(&self) -> u64 {
        (self.steps[0] / 2) * self.advised_epochs.value as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dataset, wish};
    use super::super::{ModelShape, plan};
    use crate::spec;
    use crate::target::Method;

    #[test]
    fn steps_are_whole_batches() {
        let schedule = plan(dataset(1001, 2000), wish("h100-80gb", Method::Lora)).schedule;
        assert_eq!((schedule.batch.value, schedule.steps), (16.0, [126, 189, 252]));
        assert_eq!((schedule.advised_steps(), schedule.warmup_steps), (189, 6));
        assert_eq!((schedule.learning_rate.value, schedule.largest_rate.value), (1e-4, 2e-4));
        let tiny = plan(dataset(1, 20), wish("h100-80gb", Method::Lora)).schedule;
        assert_eq!((tiny.batch.value, tiny.steps, tiny.accumulate), (1.0, [2, 3, 4], Some(1)));
    }

    #[test]
    fn larger_models_have_half_the_learning_rate() {
        let mut wish = wish("h200", Method::Lora);
        wish.shape = ModelShape::of(&spec::PIXTRAL_LARGE).unwrap();
        let schedule = plan(dataset(1000, 2000), wish).schedule;
        assert_eq!((schedule.learning_rate.value, schedule.largest_rate.value), (5e-5, 1e-4));
    }
}
