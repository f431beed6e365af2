//! What the memory of a card holds while training, part by part, with the formula of each.

use super::{Basis, Dataset, Method, Wish};

/// A part of the memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What it holds.
    pub name: &'static str,
    /// Bytes.
    pub bytes: u64,
    /// The formula with its numbers.
    pub formula: String,
    /// How it came about.
    pub basis: Basis,
}

/// How many tokens go through the model at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Micro {
    /// Tokens of one micro-batch.
    pub tokens: u64,
    /// Tokens that would fit.
    pub fits: u64,
    /// Every layer is computed again in the backward pass (gradient checkpointing).
    pub recompute: bool,
}

/// What the memory holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// The parts, activations last.
    pub parts: Vec<Part>,
    /// The micro-batch; `None` where not even the longest sample fits.
    pub micro: Option<Micro>,
    /// Bytes that may be used.
    pub budget: u64,
    /// Bytes of activations a token keeps, without and with recomputation.
    pub token_bytes: (u64, u64),
    /// The longest sample that fits.
    pub longest_that_fits: u64,
    /// Samples that do not fit.
    pub too_long: u64,
}

/// The share of the memory that training may fill.
const USABLE: f64 = 0.95;
/// For the driver, the libraries' workspaces and the logits of one chunk.
const WORKSPACE: u64 = 2_000_000_000;
/// Bits of a 4-bit weight with its doubly quantised scales.
const NF4_BITS: f64 = 4.127;

const QLORA: &str =
    "QLoRA, arXiv:2305.14314, section 3: 4 bits and 0.127 bits of doubly quantised scales a weight";
const ZERO: &str =
    "ZeRO, arXiv:1910.02054, section 3.1: 2 + 2 + 12 bytes a weight in mixed precision with Adam";

impl Memory {
    /// What training on a set takes, with batches of so many samples.
    pub fn of(dataset: &Dataset, wish: &Wish, batch: f64) -> Memory {
        let mut parts = weights(wish);
        let name = "workspace";
        let basis = Basis::Guess("driver, workspaces, one chunk of logits");
        parts.push(Part { name, bytes: WORKSPACE, formula: "fixed".to_owned(), basis });
        let fixed: u64 = parts.iter().map(|part| part.bytes).sum();
        let budget = (wish.gpu.memory as f64 * USABLE) as u64;
        let left = budget.saturating_sub(fixed);
        let token_bytes = (wish.shape.kept(), wish.shape.kept_with_recompute());
        let longest = dataset.train.lengths.max().max(1);
        let fits = (left / token_bytes.0, left / token_bytes.1);
        let mean = dataset.train.lengths.mean();
        let wanted = ((batch * mean).ceil() as u64).max(longest);
        // Nothing is computed twice as long as the longest sample and 4,096 tokens fit without.
        let recompute = fits.0 < longest.max(wanted.min(4096));
        let fits_now = if recompute { fits.1 } else { fits.0 };
        let micro = (fits_now >= longest).then(|| {
            let tokens = wanted.min(fits_now);
            // A round number is easier to pass on; it must still hold the longest sample.
            let round = if tokens > 1024 { (tokens / 256 * 256).max(longest) } else { tokens };
            Micro { tokens: round, fits: fits_now, recompute }
        });
        let (tokens, bytes) = match micro {
            Some(Micro { tokens, recompute: true, .. }) => (tokens, token_bytes.1),
            Some(Micro { tokens, .. }) => (tokens, token_bytes.0),
            None => (longest, token_bytes.1),
        };
        parts.push(Part {
            name: "activations",
            bytes: tokens * bytes,
            formula: activation_formula(wish, tokens, bytes == token_bytes.1),
            basis: Basis::Computed,
        });
        let too_long = dataset.train.lengths.above(fits.1);
        Memory { parts, micro, budget, token_bytes, longest_that_fits: fits.1, too_long }
    }

    /// All bytes.
    pub fn total(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

fn activation_formula(wish: &Wish, tokens: u64, recompute: bool) -> String {
    let shape = wish.shape;
    let (hidden, query, key, inner) = (shape.hidden, shape.query, shape.key, shape.feed_forward);
    let layer = format!("(2·{hidden} + 2·{query} + 2·{key} + 2·{inner})");
    if recompute {
        format!("{tokens} tokens × 2 bytes × ({} layers × {hidden} + {layer})", shape.layers)
    } else {
        format!("{tokens} tokens × 2 bytes × {} layers × {layer}", shape.layers)
    }
}

fn weights(wish: &Wish) -> Vec<Part> {
    let shape = wish.shape;
    let all = shape.parameters();
    let part = |name, bytes, formula, basis| Part { name, bytes, formula, basis };
    let adapter = || {
        let count = shape.adapter(wish.rank);
        let formula =
            format!("{count} weights of rank {} × 16 bytes (weight, gradient, two moments)", wish.rank);
        part("adapter and optimiser", count * 16, formula, Basis::Computed)
    };
    match wish.method {
        Method::Lora => {
            vec![part("weights", all * 2, format!("{all} weights × 2 bytes"), Basis::Computed), adapter()]
        }
        Method::Qlora => {
            let linears = shape.linears();
            let small = (linears as f64 * NF4_BITS / 8.0) as u64;
            let rest = all - linears;
            let matrix = shape.hidden * shape.feed_forward * 2;
            vec![
                part(
                    "4-bit weights",
                    small,
                    format!("{linears} weights × {NF4_BITS} bits"),
                    Basis::Published(QLORA),
                ),
                part(
                    "other weights",
                    rest * 2,
                    format!("{rest} weights × 2 bytes (embeddings, vision encoder, projector)"),
                    Basis::Computed,
                ),
                part(
                    "unpacked matrices",
                    2 * matrix,
                    format!("2 × {}×{} × 2 bytes", shape.hidden, shape.feed_forward),
                    Basis::Computed,
                ),
                adapter(),
            ]
        }
        Method::Full => {
            let frozen = shape.encoder();
            let trained = all - frozen;
            vec![
                part(
                    "weights, gradients, optimiser",
                    trained * 16,
                    format!("{trained} weights × 16 bytes"),
                    Basis::Published(ZERO),
                ),
                part(
                    "vision encoder",
                    frozen * 2,
                    format!("{frozen} frozen weights × 2 bytes"),
                    Basis::Computed,
                ),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dataset, wish};
    use super::*;

    fn gigabytes(memory: &Memory, name: &str) -> f64 {
        let bytes = memory.parts.iter().find(|part| part.name == name).unwrap().bytes;
        (bytes as f64 / 1e8).round() / 10.0
    }

    #[test]
    fn lora_on_80_gb_needs_no_recomputation() {
        let memory = Memory::of(&dataset(1000, 2000), &wish("h100-80gb", Method::Lora), 16.0);
        assert_eq!((gigabytes(&memory, "weights"), gigabytes(&memory, "adapter and optimiser")), (25.4, 0.9));
        let micro = memory.micro.unwrap();
        assert!(!micro.recompute && micro.fits > 12_000 && micro.tokens <= micro.fits, "{micro:?}");
        assert!(memory.total() <= memory.budget);
    }

    #[test]
    fn qlora_trains_4096_tokens_on_16_gb() {
        let mut wish = wish("l4-24gb", Method::Qlora);
        wish.gpu.memory = 16 << 30;
        let memory = Memory::of(&dataset(1000, 2000), &wish, 16.0);
        assert_eq!(gigabytes(&memory, "4-bit weights"), 5.6);
        let micro = memory.micro.unwrap();
        assert!(micro.recompute && micro.fits > 4096, "{micro:?}");
    }

    #[test]
    fn full_training_does_not_fit_one_card_and_long_samples_are_counted() {
        assert_eq!(Memory::of(&dataset(10, 100), &wish("h100-80gb", Method::Full), 8.0).micro, None);
        let long = Memory::of(&dataset(10, 120_000), &wish("a100-40gb", Method::Lora), 8.0);
        assert_eq!((long.micro, long.too_long), (None, 10));
        assert!(long.longest_that_fits < 120_000);
    }
}
