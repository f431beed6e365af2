//! Two models on the same samples: how sure their difference is.

/// An interval that holds the true value with the chosen probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The mean difference `tuned - base` of paired scores with its 95 % interval: percentiles of `rounds` resamples of the pairs.
/// The same seed gives the same interval. `None` without pairs or rounds.
pub fn bootstrap_difference(pairs: &[(f64, f64)], rounds: usize, seed: u64) -> Option<(f64, Interval)> {
    if pairs.is_empty() || rounds == 0 {
        return None;
    }
    let differences: Vec<f64> = pairs.iter().map(|(base, tuned)| tuned - base).collect();
    let count = differences.len();
    let mean = differences.iter().sum::<f64>() / count as f64;
    let mut random = SplitMix(seed);
    let mut means: Vec<f64> = (0..rounds)
        .map(|_| (0..count).map(|_| differences[random.below(count)]).sum::<f64>() / count as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((rounds - 1) as f64 * share).round() as usize];
    Some((mean, Interval { low: at(0.025), high: at(0.975) }))
}

/// The p-value of McNemar's exact test: the probability of a split of the samples on which exactly one model is right that is at
/// least as uneven as `(only_base, only_tuned)`, were both models equally good. 1 where they never differ.
pub fn mcnemar(only_base: u64, only_tuned: u64) -> f64 {
    let (few, all) = (only_base.min(only_tuned), only_base + only_tuned);
    if 2 * few >= all {
        return 1.0;
    }
    // Sums of binomial coefficients in logarithms: the numbers themselves leave the range of a float at 1,030 samples.
    let mut log_term = -(all as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for k in 1..=few {
        log_term += ((all - k + 1) as f64).ln() - (k as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a generator whose whole state is its seed.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, by multiplication: its bias is below 2^-32 for any set that fits in memory.
    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_test_matches_scipy() {
        // scipy.stats.binomtest(min(b, c), b + c).pvalue
        let check =
            |b, c, p: f64| assert!((mcnemar(b, c) - p).abs() < 1e-12 * p, "{b}, {c}: {}", mcnemar(b, c));
        check(0, 0, 1.0);
        check(5, 5, 1.0);
        check(1, 9, 0.021484375);
        check(0, 10, 0.001953125);
        check(3, 15, 0.0075378417968750);
        assert!(mcnemar(1000, 3000) < 1e-200);
    }

    #[test]
    fn an_interval_holds_the_mean_and_repeats_with_its_seed() {
        let pairs: Vec<(f64, f64)> =
            (0..200).map(|index| (0.0, f64::from(u8::from(index % 4 == 0)))).collect();
        let (mean, interval) = bootstrap_difference(&pairs, 1000, 7).unwrap();
        assert_eq!(mean, 0.25);
        assert!(0.18 < interval.low && interval.low < mean && mean < interval.high && interval.high < 0.32);
        assert_eq!(bootstrap_difference(&pairs, 1000, 7), Some((mean, interval)));
        assert_eq!(bootstrap_difference(&[], 1000, 7), None);
    }
}
