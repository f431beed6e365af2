//! Two models on the same samples.

use pixtune_core::score::{Interval, bootstrap_difference, mcnemar};

use crate::contest::Outcome;

/// How sure the difference between two models is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Samples that both answered.
    pub samples: u64,
    /// The mean score of the model minus that of the one it is compared with.
    pub difference: f64,
    /// Its 95 % interval, by bootstrap over the samples.
    pub interval: Interval,
    /// Resamples of the bootstrap.
    pub rounds: u64,
    /// Samples that only the model has right.
    pub wins: u64,
    /// Samples that only the other has right.
    pub losses: u64,
    /// The p-value of McNemar's exact test of wins and losses.
    pub p_value: f64,
}

/// Resamples of a dataset of usual size.
const ROUNDS: usize = 10_000;
/// Numbers drawn at most: more than a few seconds would not make the interval any better.
const MOST_DRAWN: usize = 400_000_000;

/// Compares the outcomes of two models; `None` where no sample was answered by both.
pub(crate) fn compare(tuned: &[Outcome], base: &[Outcome], seed: u64) -> Option<Comparison> {
    let both =
        || tuned.iter().zip(base).filter(|(tuned, base)| tuned.score.is_some() && base.score.is_some());
    let scores = |(tuned, base): (&Outcome, &Outcome)| Some((base.score?, tuned.score?));
    let pairs: Vec<(f64, f64)> = both().filter_map(scores).collect();
    let rounds = ROUNDS.min(MOST_DRAWN / pairs.len().max(1)).max(100);
    let (difference, interval) = bootstrap_difference(&pairs, rounds, seed)?;
    let only = |one: fn(&(&Outcome, &Outcome)) -> bool| both().filter(one).count() as u64;
    let wins = only(|(tuned, base)| tuned.is_right && !base.is_right);
    let losses = only(|(tuned, base)| !tuned.is_right && base.is_right);
    let (samples, rounds) = (pairs.len() as u64, rounds as u64);
    let p_value = mcnemar(losses, wins);
    Some(Comparison { samples, difference, interval, rounds, wins, losses, p_value })
}

impl Comparison {
    /// The p-value as people read it.
    pub fn p_text(&self) -> String {
        if self.p_value < 0.0001 { "< 0.0001".to_owned() } else { format!("{:.4}", self.p_value) }
    }

    /// Whether 0 is outside the interval.
    pub fn is_sure(&self) -> bool {
        self.interval.low > 0.0 || self.interval.high < 0.0
    }
}
