//! The GPU memory that training needs: each part with its formula.

use super::{ADAPTER_BYTES, Basis, Dataset, LayerStack, Wish};
use crate::target::Method;
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
    /// Where the formula comes from.
    pub basis: Basis,
}

/// How many tokens go through the model at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Micro {
    /// Tokens per micro-batch.
    pub tokens: u64,
    /// Tokens that would fit.
    pub fits: u64,
    /// Layers are recomputed in the backward pass (gradient checkpointing).
    pub recompute: bool,
}

/// The memory that training needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// The parts, activations last.
    pub parts: Vec<Part>,
    /// The micro-batch; `None` if not even the longest sample fits.
    pub micro: Option<Micro>,
    /// Usable bytes.
    pub budget: u64,
    /// Bytes of activations per token, without and with recomputation.
    pub token_bytes: (u64, u64),
    /// Tokens of the longest sample that fits.
    pub longest_that_fits: u64,
    /// Samples that do not fit.
    pub too_long: u64,
    /// Activations of trainers on PyTorch's autograd; `None` for full training, which was not measured.
    pub autograd: Option<Autograd>,
}

/// Activations that transformers with PEFT saves for the backward pass, without and with gradient checkpointing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Autograd {
    /// Bytes per token.
    pub token_bytes: (u64, u64),
    /// Tokens of a micro-batch that fit.
    pub fits: (u64, u64),
}

impl Autograd {
    /// Where the bytes come from.
    pub const SOURCE: &'static str = "tensors that autograd saved in transformers 5.23.0 with PEFT 0.21.2 on PyTorch 2.15.0, LoRA \
        under bfloat16 autocast, flash attention: counted by tests/peers/activations.py; logits come on top if a trainer computes \
        them for every token";

    fn of(wish: &Wish, left: u64) -> Option<Autograd> {
        if wish.method == Method::Full {
            return None;
        }
        let shape = wish.shape;
        let layer = shape.saved_by_autograd();
        let token_bytes = (shape.layers * layer, shape.layers * 2 * shape.hidden + layer);
        Some(Autograd { token_bytes, fits: (left / token_bytes.0, left / token_bytes.1) })
    }
}

/// Which activations are counted.
pub const ACTIVATIONS: &str = "the formula of `pixtune train --dry-run` in bfloat16, for a hand-written backward pass with fused kernels: each \
                               layer saves its input, queries, keys, values, attention output and log-sum-exp, second input, gate \
                               and up, and the adapters' intermediate results; norms and `silu(gate) * up` are recomputed; a recomputed \
                               layer saves its input, attention output and log-sum-exp";
/// Why not every byte of a GPU is usable.
pub const USABLE_WHY: &str = "95% of what the driver reports; the rest is lost to fragmentation";

/// The share of the memory that training may use.
const USABLE: f64 = 0.95;
/// For the driver, the libraries' workspaces and the logits of one chunk.
const WORKSPACE: u64 = 2_000_000_000;
/// Bits of a 4-bit weight with its doubly quantized scales.
const NF4_BITS: f64 = 4.127;
/// Bytes of a bfloat16 number.
const BFLOAT16: u64 = 2;

const QLORA: &str = "QLoRA, arXiv:2305.14314, section 3, double quantization: 4 bits per weight and 8/64 + 32/(64·256) = 0.127 bits of \
                     constants";
const ZERO: &str = "ZeRO, arXiv:1910.02054, section 3.1: 2 (weight) + 2 (gradient) + 12 (float32 copy and two moments) bytes per weight \
                    in mixed precision with Adam";
const UNPACKED: &str = "two of the largest matrices are unpacked at a time";

impl Memory {
    /// The memory for training on a dataset with batches of so many samples.
    pub fn of(dataset: &Dataset, wish: &Wish, batch: f64) -> Memory {
        let mut parts = weights(wish);
        parts.extend(whole_tensors(wish));
        let basis = Basis::Guess("driver, workspaces, one chunk of logits");
        parts.push(Part { name: "workspace", bytes: WORKSPACE, formula: "fixed".to_owned(), basis });
        let fixed: u64 = parts.iter().map(|part| part.bytes).sum();
        let budget = (wish.gpu.memory as f64 * USABLE) as u64;
        let left = budget.saturating_sub(fixed);
        let stack = decoder(wish);
        let vision = vision_bytes(dataset, wish);
        let peak = |recomputed| BFLOAT16 * stack.peak(recomputed) + vision;
        let token_bytes = (peak(0), peak(stack.recomputable()));
        let fits = (left / token_bytes.0, left / token_bytes.1);
        let longest = dataset.train.lengths.max().max(1);
        let mean = dataset.train.lengths.mean();
        let micro = Micro::of(fits, longest, (batch * mean).ceil() as u64);
        let (tokens, recompute) = micro.map_or((longest, true), |micro| (micro.tokens, micro.recompute));
        parts.push(Part {
            name: "activations",
            bytes: tokens * if recompute { token_bytes.1 } else { token_bytes.0 },
            formula: activation_formula(&stack, tokens, recompute) + &vision_formula(tokens, vision),
            basis: Basis::Computed,
        });
        Memory {
            parts,
            micro,
            budget,
            token_bytes,
            longest_that_fits: fits.1,
            too_long: dataset.train.lengths.above(fits.1),
            autograd: Autograd::of(wish, left),
        }
    }

    /// All bytes.
    pub fn total(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

impl Micro {
    /// The micro-batch for so many tokens per step, given the tokens that fit without and with recomputation.
    fn of(fits: (u64, u64), longest: u64, step_tokens: u64) -> Option<Micro> {
        let wanted = step_tokens.max(longest);
        // Nothing is recomputed as long as the longest sample and 4,096 tokens fit without.
        let recompute = fits.0 < longest.max(wanted.min(4096));
        let fits = if recompute { fits.1 } else { fits.0 };
        if fits < longest {
            return None;
        }
        let tokens = wanted.min(fits);
        // A round number is easier to pass on; it must still hold the longest sample.
        let tokens = if tokens > 1024 { (tokens / 256 * 256).max(longest) } else { tokens };
        Some(Micro { tokens, fits, recompute })
    }
}

/// The layers that are differentiated, with the adapters of the method.
fn decoder(wish: &Wish) -> LayerStack {
    wish.shape.decoder(if wish.method == Method::Full { 0 } else { wish.rank })
}

fn activation_formula(stack: &LayerStack, tokens: u64, recompute: bool) -> String {
    let LayerStack { widths, layers } = *stack;
    let (hidden, query, key, inner) = (widths.hidden, widths.query, widths.key, widths.feed_forward);
    let ranks = if widths.adapter_ranks > 0 { format!(" + {}", widths.adapter_ranks) } else { String::new() };
    let layer = format!("(2·{hidden} + 2·{query} + 2·{key} + 2·{inner} + {}{ranks})", widths.heads);
    let working = format!("{hidden} + 2·{inner}");
    let saved = if recompute {
        let recomputed = format!("({hidden} + {query} + {})", widths.heads);
        format!("{} layers × {recomputed} + {layer}", stack.recomputable())
    } else {
        format!("{layers} layers × {layer}")
    };
    format!("{} tokens × {BFLOAT16} bytes × ({saved} + {working})", grouped(tokens))
}

/// `12,682,739,712 weights of rank 16`
fn weights_of(count: u64, which: &str) -> String {
    format!("{} weights{which}", grouped(count))
}

fn weights(wish: &Wish) -> Vec<Part> {
    match wish.method {
        Method::Lora => {
            let all = wish.shape.parameters();
            let formula = format!("{} × {BFLOAT16} bytes", weights_of(all, ""));
            vec![
                Part { name: "weights", bytes: all * BFLOAT16, formula, basis: Basis::Computed },
                adapter(wish),
            ]
        }
        Method::Qlora => quantized_weights(wish),
        Method::Full => full_weights(wish),
    }
}

fn adapter(wish: &Wish) -> Part {
    let count = wish.shape.adapter(wish.rank);
    let weights = weights_of(count, &format!(" of rank {}", wish.rank));
    Part {
        name: "adapter and optimizer",
        bytes: count * ADAPTER_BYTES,
        formula: format!("{weights} × {ADAPTER_BYTES} bytes (float32: weight, gradient, two moments)"),
        basis: Basis::Computed,
    }
}

/// Projector and vision encoder as whole trained tensors. The frozen originals stay in memory beside them.
fn whole_tensors(wish: &Wish) -> Option<Part> {
    let of = |is_trained: bool, count: u64| if is_trained { count } else { 0 };
    let count =
        of(wish.whole.projector, wish.shape.projector()) + of(wish.whole.vision, wish.shape.encoder());
    let weights = weights_of(count, "");
    (count > 0 && wish.method != Method::Full).then(|| Part {
        name: "whole trained tensors",
        bytes: count * ADAPTER_BYTES,
        formula: format!("{weights} × {ADAPTER_BYTES} bytes (float32: weight, gradient, two moments)"),
        basis: Basis::Computed,
    })
}

/// Bytes of activations per token of the dataset that a trained vision encoder saves: of its patches, a share of the tokens.
fn vision_bytes(dataset: &Dataset, wish: &Wish) -> u64 {
    if !wish.whole.vision || wish.method == Method::Full {
        return 0;
    }
    let share = dataset.train.image_tokens as f64 / dataset.train.tokens.max(1) as f64;
    let patches = share * (wish.shape.patch.1 * wish.shape.patch.1) as f64;
    (patches * (BFLOAT16 * wish.shape.vision_layers().peak(0)) as f64).ceil() as u64
}

fn vision_formula(tokens: u64, vision: u64) -> String {
    match vision {
        0 => String::new(),
        bytes => {
            format!(
                " + {} tokens × {} bytes (vision encoder, mean of the dataset)",
                grouped(tokens),
                grouped(bytes)
            )
        }
    }
}

fn quantized_weights(wish: &Wish) -> Vec<Part> {
    let shape = wish.shape;
    let linears = shape.linears();
    let rest = shape.parameters() - linears;
    let matrix = shape.hidden * shape.feed_forward * BFLOAT16;
    vec![
        Part {
            name: "4-bit weights",
            bytes: (linears as f64 * NF4_BITS / 8.0) as u64,
            formula: format!("{} × {NF4_BITS} bits", weights_of(linears, "")),
            basis: Basis::Published(QLORA),
        },
        Part {
            name: "other weights",
            bytes: rest * BFLOAT16,
            formula: format!(
                "{} × {BFLOAT16} bytes (embeddings, vision encoder, projector)",
                weights_of(rest, "")
            ),
            basis: Basis::Computed,
        },
        Part {
            name: "unpacked matrices",
            bytes: 2 * matrix,
            formula: format!("2 × {}×{} × {BFLOAT16} bytes", shape.hidden, shape.feed_forward),
            basis: Basis::Guess(UNPACKED),
        },
        adapter(wish),
    ]
}

fn full_weights(wish: &Wish) -> Vec<Part> {
    let frozen = wish.shape.encoder();
    let trained = wish.shape.parameters() - frozen;
    vec![
        Part {
            name: "weights, gradients, optimizer",
            bytes: trained * 16,
            formula: format!("{} × 16 bytes", weights_of(trained, "")),
            basis: Basis::Published(ZERO),
        },
        Part {
            name: "vision encoder",
            bytes: frozen * BFLOAT16,
            formula: format!("{} × {BFLOAT16} bytes", weights_of(frozen, " that are frozen")),
            basis: Basis::Computed,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::super::WholeParts;
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
    fn whole_tensors_are_counted_with_the_activations_of_the_vision_encoder() {
        let plain = Memory::of(&dataset(1000, 2000), &wish("h100-80gb", Method::Lora), 16.0);
        let of = |projector, vision| {
            let whole = WholeParts { projector, vision };
            Memory::of(&dataset(1000, 2000), &Wish { whole, ..wish("h100-80gb", Method::Lora) }, 16.0)
        };
        let part = |memory: &Memory| {
            memory.parts.iter().find(|part| part.name == "whole trained tensors").map(|part| part.bytes)
        };
        let shape = wish("h100-80gb", Method::Lora).shape;
        assert_eq!(part(&plain), None);
        assert_eq!(part(&of(true, false)), Some(16 * shape.projector()));
        assert_eq!(part(&of(true, true)), Some(16 * (shape.projector() + shape.encoder())));
        assert_eq!(of(true, false).token_bytes, plain.token_bytes);
        // Half of the tokens are images.
        let more = of(false, true).token_bytes.0 - plain.token_bytes.0;
        assert_eq!(more, shape.vision_layers().peak(0));
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
