//! The defaults of training with LoRA adapters: `plan` recommends them, and `train` uses them where no option is given.

/// Rank of the adapters.
pub const LORA_RANK: u64 = 16;

/// Warmup as a fraction of the steps, from LLaVA-1.5 (arXiv:2310.03744).
pub const WARMUP: f64 = 0.03;

/// Tokens of a batch that need no option of their own. A sample with more needs a batch, and memory, of its size.
pub const MAX_BATCH_TOKENS: u32 = 8192;

/// Weights above which QLoRA halves the rate: a model of 13B has as many in its linear layers.
const LARGE: u64 = 13_000_000_000;

/// Number of epochs for so many samples: fewer for larger datasets.
pub fn epochs(samples: u64) -> u64 {
    match samples {
        0..1000 => 4,
        1000..20_000 => 3,
        _ => 2,
    }
}

/// The learning rate that is published for LoRA on a model with so many weights in the decoder's linear layers.
pub(super) fn published_rate(linear_weights: u64) -> f64 {
    if linear_weights > LARGE { 1e-4 } else { 2e-4 }
}

/// Learning rate of a model with so many weights in the decoder's linear layers: half of the published rate, for small
/// datasets.
pub fn learning_rate(linear_weights: u64) -> f64 {
    published_rate(linear_weights) / 2.0
}

/// Samples per step: grows with the dataset, at most a tenth of it, so that an epoch has ten steps.
pub fn samples_per_step(samples: u64) -> u64 {
    let value = match samples {
        0..500 => 8,
        500..5000 => 16,
        5000..100_000 => 32,
        _ => 64,
    };
    value.min((samples / 10).max(1))
}

/// The tokens of a step, as packed batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Maximum tokens per batch.
    pub tokens: u32,
    /// Batches per step.
    pub batches: u32,
}

impl Batching {
    /// Batches for steps of [`samples_per_step`] average samples. Every batch holds at least the longest sample.
    pub fn of(samples: u64, tokens: u64, longest: u64) -> Batching {
        Batching::of_samples(samples, tokens, longest, samples_per_step(samples))
    }

    /// The same for steps of `per_step` average samples.
    pub fn of_samples(samples: u64, tokens: u64, longest: u64, per_step: u64) -> Batching {
        let step = tokens.saturating_mul(per_step).div_ceil(samples.max(1));
        let batches = step.div_ceil(u64::from(MAX_BATCH_TOKENS).max(longest)).clamp(1, 65_536);
        Batching::with(step, batches, longest)
    }

    /// The same in a given number of batches per step.
    pub fn of_batches(samples: u64, tokens: u64, longest: u64, batches: u32) -> Batching {
        let step = tokens.saturating_mul(samples_per_step(samples)).div_ceil(samples.max(1));
        Batching::with(step, u64::from(batches.max(1)), longest)
    }

    fn with(step: u64, batches: u64, longest: u64) -> Batching {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Batching { tokens: number(step.div_ceil(batches).max(longest).max(1)), batches: number(batches) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_a_step_and_the_longest_sample() {
        let batching = |samples, mean, longest| {
            let Batching { tokens, batches } = Batching::of(samples, samples * mean, longest);
            (tokens, batches)
        };
        assert_eq!(batching(57, 2010, 5534), (5534, 2));
        assert_eq!(batching(5, 20, 30), (30, 1));
        assert_eq!(batching(400, 300, 700), (2400, 1));
        assert_eq!(batching(1000, 2000, 6000), (8000, 4));
        assert_eq!(batching(1000, 2000, 20_000), (20_000, 2));
        assert_eq!(batching(0, 0, 0), (1, 1));
        assert_eq!(Batching::of(u64::MAX, u64::MAX, u64::MAX).batches, 1);
        assert_eq!(Batching::of_samples(1000, 1000 * 300, 700, 4), Batching { tokens: 1200, batches: 1 });
        assert_eq!(Batching::of_batches(400, 400 * 300, 700, 4), Batching { tokens: 700, batches: 4 });
    }
}
