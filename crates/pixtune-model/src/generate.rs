//! Text that continues a prompt, a token at a time.

use crate::kernels::Kernels;
use crate::network::{Batch, Network, NetworkError, Sequence, SplitMix};

/// How a token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The most likely one; of equals the first.
    Greedy,
    /// Drawn from the softmax of the logits divided by a temperature above zero.
    Temperature {
        /// The temperature.
        temperature: f64,
        /// The same seed draws the same text.
        seed: u64,
    },
}

/// When to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The token that ends an answer.
    pub end: u32,
    /// At most so many tokens.
    pub max_tokens: usize,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The model said so.
    End,
    /// It has as many tokens as were allowed.
    Length,
}

/// Continues one sequence; `token` gets every token but the last `</s>` as it is chosen, and may fail.
pub fn generate<K: Kernels, E: From<NetworkError>>(
    network: &Network<'_, K>,
    prompt: &Batch,
    (sampling, stop): (Sampling, &Stop),
    mut token: impl FnMut(u32) -> Result<(), E>,
) -> Result<Ended, E> {
    let mut cache = network.cache(prompt.tokens() + stop.max_tokens);
    let mut sampler = Sampler::new(sampling);
    if stop.max_tokens == 0 {
        return Ok(Ended::Length);
    }
    let mut logits = network.extend(&mut cache, prompt)?;
    for count in 1.. {
        // A token of an image cannot stand alone: it has no meaning without one.
        logits[network.shape().image_token as usize] = f32::NEG_INFINITY;
        let next = sampler.choose(&logits);
        if next == stop.end {
            return Ok(Ended::End);
        }
        token(next)?;
        if count == stop.max_tokens {
            break;
        }
        let one = Sequence { ids: vec![next], trained: vec![false], images: Vec::new() };
        let one = Batch::pack(&[one], network.shape().image_token).map_err(NetworkError::from)?;
        logits = network.extend(&mut cache, &one)?;
    }
    Ok(Ended::Length)
}

#[derive(Debug)]
enum Sampler {
    Greedy,
    Temperature(f64, SplitMix),
}

impl Sampler {
    fn new(sampling: Sampling) -> Sampler {
        match sampling {
            Sampling::Temperature { temperature, seed } if temperature > 0.0 => {
                Sampler::Temperature(temperature, SplitMix::new(seed))
            }
            _ => Sampler::Greedy,
        }
    }

    fn choose(&mut self, logits: &[f32]) -> u32 {
        let best = most_likely(logits);
        let Sampler::Temperature(temperature, random) = self else { return best };
        let most = f64::from(logits[best as usize]);
        let weight = |logit: &f32| ((f64::from(*logit) - most) / *temperature).exp();
        let mut left = random.unit() * logits.iter().map(weight).sum::<f64>();
        for (id, logit) in (0u32..).zip(logits) {
            left -= weight(logit);
            if left < 0.0 {
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

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(Sampler::new(Sampling::Greedy).choose(&[1.0, 3.0, 3.0, 2.0]), 1);
        assert_eq!(Sampler::new(Sampling::Temperature { temperature: 0.0, seed: 1 }).choose(&[0.0, 1.0]), 1);
    }

    #[test]
    fn a_temperature_draws_by_probability() {
        let logits = [0.0, 2f32.ln(), f32::NEG_INFINITY];
        let mut sampler = Sampler::new(Sampling::Temperature { temperature: 1.0, seed: 5 });
        let mut counts = [0; 3];
        for _ in 0..30_000 {
            counts[sampler.choose(&logits) as usize] += 1;
        }
        assert!((9_500..10_500).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
        let mut cold = Sampler::new(Sampling::Temperature { temperature: 1e-3, seed: 5 });
        assert!((0..100).all(|_| cold.choose(&logits) == 1));
    }
}
