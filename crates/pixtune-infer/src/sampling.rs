//! Which token comes next.

use pixtune_core::random::SplitMix64;

/// How each token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    temperature: f64,
    top_p: f64,
    seed: u64,
}

/// A temperature that is negative or not finite.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the temperature is {0}; it has to be 0 or above")]
pub struct InvalidTemperature(f64);

/// A `top_p` outside of (0, 1].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("top_p is {0}; it has to be above 0 and at most 1")]
pub struct InvalidTopP(f64);

impl Sampling {
    /// Always the most likely token; of equals the first.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_p: 1.0, seed: 0 };

    /// Tokens drawn from the softmax of the logits divided by the temperature. The same seed draws the same text; a
    /// temperature of 0 is [`Sampling::GREEDY`].
    pub fn new(temperature: f64, seed: u64) -> Result<Sampling, InvalidTemperature> {
        match temperature.is_finite() && temperature >= 0.0 {
            true => Ok(Sampling { temperature, top_p: 1.0, seed }),
            false => Err(InvalidTemperature(temperature)),
        }
    }

    /// The same, with tokens drawn only from the most likely ones whose probabilities reach `top_p` together (nucleus
    /// sampling).
    pub fn within(self, top_p: f64) -> Result<Sampling, InvalidTopP> {
        match top_p > 0.0 && top_p <= 1.0 {
            true => Ok(Sampling { top_p, ..self }),
            false => Err(InvalidTopP(top_p)),
        }
    }

    /// The same with another seed.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Sampling {
        Sampling { seed, ..self }
    }

    /// The share of the probability that tokens are drawn from; 1 is all of it.
    pub fn top_p(&self) -> f64 {
        self.top_p
    }

    /// The temperature; 0 is the most likely token.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The seed of what is drawn.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// Chooses the tokens of one answer.
#[derive(Debug)]
pub enum Sampler {
    Greedy,
    Random { temperature: f64, top_p: f64, random: SplitMix64 },
}

impl Sampler {
    /// At the beginning of an answer.
    pub fn new(Sampling { temperature, top_p, seed }: Sampling) -> Sampler {
        match temperature > 0.0 {
            true => Sampler::Random { temperature, top_p, random: SplitMix64::new(seed) },
            false => Sampler::Greedy,
        }
    }

    /// The next token by its logits, `[vocabulary]`.
    pub fn choose(&mut self, logits: &[f32]) -> u32 {
        let best = most_likely(logits);
        let Sampler::Random { temperature, top_p, random } = self else { return best };
        let max = f64::from(logits[best as usize]);
        let weight = |logit: &f32| ((f64::from(*logit) - max) / *temperature).exp();
        let total = logits.iter().map(weight).sum::<f64>();
        if *top_p < 1.0 {
            return from_nucleus(logits, weight, total * *top_p, random).unwrap_or(best);
        }
        let mut rest = random.unit() * total;
        for (id, logit) in (0u32..).zip(logits) {
            rest -= weight(logit);
            if rest < 0.0 {
                return id;
            }
        }
        best
    }
}

/// Draws from the most likely tokens whose weights together reach `share`; of equal ones the first.
fn from_nucleus(
    logits: &[f32],
    weight: impl Fn(&f32) -> f64,
    share: f64,
    random: &mut SplitMix64,
) -> Option<u32> {
    let mut ids: Vec<u32> = (0..u32::try_from(logits.len()).ok()?).collect();
    let logit = |id: &u32| logits[*id as usize];
    ids.sort_by(|one, other| logit(other).total_cmp(&logit(one)).then(one.cmp(other)));
    let (mut reached, mut kept) = (0.0, 0);
    while reached < share && kept < ids.len() {
        reached += weight(&logit(&ids[kept]));
        kept += 1;
    }
    let mut rest = random.unit() * reached;
    ids[..kept].iter().copied().find(|id| {
        rest -= weight(&logit(id));
        rest < 0.0
    })
}

fn most_likely(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, &logit) in (0u32..).zip(logits) {
        if logit > logits[best as usize] {
            best = id;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f64) -> Sampler {
        Sampler::new(Sampling::new(temperature, 5).unwrap())
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(Sampler::new(Sampling::GREEDY).choose(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert_eq!(sampler(0.0).choose(&[0.0, 1.0]), 1);
    }

    #[test]
    fn temperature_draws_by_probability() {
        let logits = [0.0, 2f32.ln(), f32::NEG_INFINITY];
        let mut warm = sampler(1.0);
        let mut counts = [0; 3];
        for _ in 0..30_000 {
            counts[warm.choose(&logits) as usize] += 1;
        }
        assert!((9_500..10_500).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
        let mut cold = sampler(1e-3);
        assert!((0..100).all(|_| cold.choose(&logits) == 1));
    }

    #[test]
    fn nucleus_sampling_leaves_the_unlikely_tail() {
        let logits = [0.0, 3f32.ln(), 6f32.ln()];
        let sampling = |top_p| Sampling::new(1.0, 3).unwrap().within(top_p).unwrap();
        let drawn = |top_p: f64| {
            let mut sampler = Sampler::new(sampling(top_p));
            let mut counts = [0; 3];
            (0..20_000).for_each(|_| counts[sampler.choose(&logits) as usize] += 1);
            counts
        };
        assert_eq!(drawn(0.5), [0, 0, 20_000]);
        let two = drawn(0.7);
        assert!(two[0] == 0 && (6_000..7_300).contains(&two[1]), "{two:?}");
        assert!((1_600..2_400).contains(&drawn(0.999)[0]));
        assert!([0.0, -0.1, 1.1, f64::NAN].iter().all(|bad| Sampling::GREEDY.within(*bad).is_err()));
    }

    #[test]
    fn refuses_temperatures_that_are_negative_or_not_finite() {
        assert!([-1.0, f64::NAN, f64::INFINITY].iter().all(|bad| Sampling::new(*bad, 0).is_err()));
    }
}
