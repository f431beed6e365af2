//! Which token comes next.

use pixtune_core::random::SplitMix64;

/// How each token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    temperature: f64,
    seed: u64,
}

/// A temperature that is negative or not finite.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the temperature is {0}; it has to be 0 or above")]
pub struct InvalidTemperature(f64);

impl Sampling {
    /// Always the most likely token; of equals the first.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, seed: 0 };

    /// Tokens drawn from the softmax of the logits divided by the temperature. The same seed draws the same text; a
    /// temperature of 0 is [`Sampling::GREEDY`].
    pub fn new(temperature: f64, seed: u64) -> Result<Sampling, InvalidTemperature> {
        match temperature.is_finite() && temperature >= 0.0 {
            true => Ok(Sampling { temperature, seed }),
            false => Err(InvalidTemperature(temperature)),
        }
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
    Random { temperature: f64, random: SplitMix64 },
}

impl Sampler {
    /// At the beginning of an answer.
    pub fn new(Sampling { temperature, seed }: Sampling) -> Sampler {
        match temperature > 0.0 {
            true => Sampler::Random { temperature, random: SplitMix64::new(seed) },
            false => Sampler::Greedy,
        }
    }

    /// The next token by its logits, `[vocabulary]`.
    pub fn choose(&mut self, logits: &[f32]) -> u32 {
        let best = most_likely(logits);
        let Sampler::Random { temperature, random } = self else { return best };
        let max = f64::from(logits[best as usize]);
        let weight = |logit: &f32| ((f64::from(*logit) - max) / *temperature).exp();
        let mut rest = random.unit() * logits.iter().map(weight).sum::<f64>();
        for (id, logit) in (0u32..).zip(logits) {
            rest -= weight(logit);
            if rest < 0.0 {
                return id;
            }
        }
        best
    }
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
    fn refuses_temperatures_that_are_negative_or_not_finite() {
        assert!([-1.0, f64::NAN, f64::INFINITY].iter().all(|bad| Sampling::new(*bad, 0).is_err()));
    }
}
