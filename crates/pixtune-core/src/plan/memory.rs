//! What the memory of a card holds while training, part by part, with the formula of each.

use super::{Basis, Dataset, Method, Wish};
use crate::text::grouped;

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
    /// What trainers on PyTorch's autograd keep; `None` where every weight is trained, which was not counted.
    pub autograd: Option<Autograd>,
}

/// What transformers with PEFT keep for the backward pass, without and with gradient checkpointing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autograd {
    /// Bytes of activations a token keeps.
    pub token_bytes: (u64, u64),
    /// Tokens of a micro-batch that fit.
    pub fits: (u64, u64),
}

impl Autograd {
    /// Where the bytes come from.
    pub const SOURCE: &'static str = "tensors that autograd saved in transformers 5.23.0 with PEFT 0.21.2 on PyTorch 2.15.0, LoRA \
        under bfloat16 autocast, flash attention: counted by tests/peers/activations.py; logits come on top where a trainer makes \
        them for every token";

    fn of(wish: &Wish, left: u64) -> Option<Autograd> {
        if wish.method == Method::Full {
            return None;
        }
        let shape = wish.shape;
        let layer = shape.kept_by_autograd_in_a_layer();
        let token_bytes = (shape.layers * layer, shape.layers * 2 * shape.hidden + layer);
        Some(Autograd { token_bytes, fits: (left / token_bytes.0, left / token_bytes.1) })
    }
}

/// Why the activations are what they are.
pub const ACTIVATIONS: &str = "for a backward pass written by hand in bfloat16, as fused kernels have: input, queries, keys, values, attention \
                               output, second input, gate and up of each layer; norms and products are computed again";
/// Why a card is not filled to the last byte.
pub const USABLE_WHY: &str = "95% of what the driver reports; the rest is lost to fragmentation";

/// The share of the memory that training may fill.
const USABLE: f64 = 0.95;
/// For the driver, the libraries' workspaces and the logits of one chunk.
const WORKSPACE: u64 = 2_000_000_000;
/// Bits of a 4-bit weight with its doubly quantized scales.
const NF4_BITS: f64 = 4.127;

const QLORA: &str = "QLoRA, arXiv:2305.14314, section 3, double quantization: 4 bits a weight and 8/64 + 32/(64·256) = 0.127 bits of \
                     constants";
const ZERO: &str = "ZeRO, arXiv:1910.02054, section 3.1: 2 (weight) + 2 (gradient) + 12 (float32 copy and two moments) bytes a weight \
                    in mixed precision with Adam";
const UNPACKED: &str = "two of the largest matrices are unpacked at a time";

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
        let autograd = Autograd::of(wish, left);
        let too_long = dataset.train.lengths.above(fits.1);
        Memory { parts, micro, budget, token_bytes, longest_that_fits: fits.1, too_long, autograd }
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
        format!("{} tokens × 2 bytes × ({} layers × {hidden} + {layer})", grouped(tokens), shape.layers)
    } else {
        format!("{} tokens × 2 bytes × {} layers × {layer}", grouped(tokens), shape.layers)
    }
}

/// `12,682,739,712 weights of rank 16`
fn weights_of(count: u64, which: &str) -> String {
    format!("{} weights{which}", grouped(count))
}

fn weights(wish: &Wish) -> Vec<Part> {
    let shape = wish.shape;
    let all = shape.parameters();
    let part = |name, bytes, formula, basis| Part { name, bytes, formula, basis };
    let adapter = || {
        let count = shape.adapter(wish.rank);
        let formula = format!(
            "{} × 16 bytes (float32: weight, gradient, two moments)",
            weights_of(count, &format!(" of rank {}", wish.rank))
        );
        part("adapter and optimizer", count * 16, formula, Basis::Computed)
    };
    match wish.method {
        Method::Lora => {
            vec![
                part("weights", all * 2, format!("{} × 2 bytes", weights_of(all, "")), Basis::Computed),
                adapter(),
            ]
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
                    format!("{} × {NF4_BITS} bits", weights_of(linears, "")),
                    Basis::Published(QLORA),
                ),
                part(
                    "other weights",
                    rest * 2,
                    format!("{} × 2 bytes (embeddings, vision encoder, projector)", weights_of(rest, "")),
                    Basis::Computed,
                ),
                part(
                    "unpacked matrices",
                    2 * matrix,
                    format!("2 × {}×{} × 2 bytes", shape.hidden, shape.feed_forward),
                    Basis::Guess(UNPACKED),
                ),
                adapter(),
            ]
        }
        Method::Full => {
            let frozen = shape.encoder();
            let trained = all - frozen;
            vec![
                part(
                    "weights, gradients, optimizer",
                    trained * 16,
                    format!("{} × 16 bytes", weights_of(trained, "")),
                    Basis::Published(ZERO),
                ),
                part(
                    "vision encoder",
                    frozen * 2,
                    format!("{} × 2 bytes", weights_of(frozen, " that are frozen")),
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
        assert_eq!((gigabytes(&memory, "weights"), gigabytes(&memory, "adapter and optimizer")), (25.4, 0.9));
        let micro = memory.micro.unwrap();
        assert!(!micro.recompute && micro.fits > 12_000 && micro.tokens <= micro.fits, "{micro:?}");
        assert!(memory.total() <= memory.budget);
    }

    #[test]
    fn autograd_keeps_more_than_twice_as_much() {
        let Autograd { token_bytes, fits } =
            Memory::of(&dataset(1000, 2000), &wish("h100-80gb", Method::Lora), 16.0).autograd.unwrap();
        assert_eq!(token_bytes, (9_420_800, 645_120));
        assert!((5_000..6_000).contains(&fits.0) && fits.1 > 60_000, "{fits:?}");
    }

    #[test]
    fn cards_have_the_memory_that_their_driver_reports() {
        let memory = |gpu| Memory::of(&dataset(10, 100), &wish(gpu, Method::Qlora), 8.0).budget >> 20;
        assert_eq!((memory("l4"), memory("h200")), (21_882, 136_582));
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
