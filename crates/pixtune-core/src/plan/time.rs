//! How long training takes, as a range.

use super::{Dataset, GPUS, Gpu, Memory, Micro, Wish};
use crate::target::Method;

/// The time of an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    /// Floating-point operations of one epoch.
    pub operations: f64,
    /// Mean operations per token.
    pub operations_a_token: f64,
    /// Seconds per epoch, from and to; `None` if the GPU's speed is unknown.
    pub seconds_an_epoch: Option<(f64, f64)>,
    /// Tokens per second, from and to.
    pub tokens_a_second: Option<(f64, f64)>,
}

impl Time {
    pub(super) fn of(dataset: &Dataset, wish: &Wish, memory: &Memory) -> Time {
        let recompute = memory.micro.is_none_or(|Micro { recompute, .. }| recompute);
        let operations = operations(dataset, wish, recompute);
        let tokens = dataset.train.tokens as f64;
        // As far as stated, the published rates are of trainers that recompute every layer.
        let work = self::operations(dataset, wish, true);
        let seconds = |share: f64| wish.gpu.teraflops.map(|peak| work / (peak * 1e12 * share));
        let (slow, fast) = wish.gpu.reached.with(wish.method);
        let range = seconds(fast).zip(seconds(slow));
        let rate = range.filter(|range| range.0 > 0.0).map(|(fast, slow)| (tokens / slow, tokens / fast));
        Time {
            operations,
            operations_a_token: operations / tokens.max(1.0),
            seconds_an_epoch: range,
            tokens_a_second: rate,
        }
    }
}

/// Operations per epoch: per weight and token, two forward, two for the input gradient, two for the weight gradient with full
/// training, and two more if layers are recomputed; attention by the lengths of the samples; the output layer only on
/// trained tokens; the vision encoder only forward.
fn operations(dataset: &Dataset, wish: &Wish, recompute: bool) -> f64 {
    let (shape, train) = (wish.shape, &dataset.train);
    let passes = 2.0 + f64::from(u8::from(wish.method == Method::Full)) + f64::from(u8::from(recompute));
    let linears = 2.0 * shape.linears() as f64 * passes * train.tokens as f64;
    // Causal: a token attends to half of its sample on average. The backward pass costs 2.5 times the forward pass.
    let squares: f64 =
        train.lengths.bars().map(|(length, count)| (length as f64).powi(2) * count as f64).sum();
    let attention =
        2.0 * shape.query as f64 * shape.layers as f64 * squares * (3.5 + f64::from(u8::from(recompute)));
    let head = 2.0 * (shape.vocabulary * shape.hidden) as f64 * 3.0 * train.trained_tokens as f64;
    let patches = train.image_tokens as f64 * (shape.patch.1 * shape.patch.1) as f64;
    let vision = 2.0 * shape.encoder() as f64 * patches;
    linears + attention + head + vision
}

/// The training on one GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// The GPU.
    pub gpu: Gpu,
    /// The method.
    pub method: Method,
    /// The micro-batch; `None` if the longest sample does not fit.
    pub micro: Option<Micro>,
    /// Seconds per epoch, from and to.
    pub seconds_an_epoch: Option<(f64, f64)>,
}

/// The training on every GPU, with and without 4-bit weights.
pub(super) fn machines(dataset: &Dataset, wish: &Wish, batch: f64) -> Vec<Machine> {
    let methods =
        if wish.method == Method::Full { vec![Method::Full] } else { vec![Method::Lora, Method::Qlora] };
    let mut out = Vec::new();
    for gpu in GPUS {
        for method in &methods {
            let wish = Wish { gpu: *gpu, method: *method, ..*wish };
            let memory = Memory::of(dataset, &wish, batch);
            let time = Time::of(dataset, &wish, &memory);
            out.push(Machine {
                gpu: *gpu,
                method: *method,
                micro: memory.micro,
                seconds_an_epoch: time.seconds_an_epoch.filter(|_| memory.micro.is_some()),
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dataset, wish};
    use super::*;

    #[test]
    fn operations_match_the_published_table() {
        // 49.0 billion per token at 2,048 tokens without recomputation, 71.6 with it, if every token is trained.
        let mut set = dataset(100, 2048);
        set.train.trained_tokens = set.train.tokens;
        set.train.image_tokens = 0;
        let wish = wish("h100-80gb", Method::Lora);
        for (recompute, billions) in [(false, 50.0), (true, 72.5)] {
            let found = operations(&set, &wish, recompute) / set.train.tokens as f64 / 1e9;
            assert!((found / billions - 1.0).abs() < 0.03, "{found}");
        }
    }

    #[test]
    fn four_bit_weights_are_slower() {
        let set = dataset(100, 2048);
        let seconds = |method| {
            let wish = wish("h200", method);
            Time::of(&set, &wish, &Memory::of(&set, &wish, 8.0)).seconds_an_epoch.unwrap()
        };
        let (lora, qlora) = (seconds(Method::Lora), seconds(Method::Qlora));
        assert!(lora.0 < lora.1 && (qlora.0 / lora.0 - 56.0 / 52.0).abs() < 1e-9, "{lora:?} {qlora:?}");
    }

    #[test]
    fn rates_are_at_most_the_published_ones() {
        // Pixtral's decoder has 10.9 billion weights, Qwen3-14B 13.2: 6,800 tokens/s correspond to 8,230.
        let mut set = dataset(1000, 2048);
        set.train.trained_tokens = set.train.tokens;
        let wish = wish("h100-80gb", Method::Lora);
        let (slow, fast) = Time::of(&set, &wish, &Memory::of(&set, &wish, 8.0)).tokens_a_second.unwrap();
        assert!((2_000.0..3_000.0).contains(&slow) && (6_800.0..8_230.0).contains(&fast), "{slow} {fast}");
    }

    #[test]
    fn unknown_gpu_speed_gives_no_time() {
        let mut wish = wish("h100-80gb", Method::Lora);
        wish.gpu = Gpu::of_memory(80 << 30);
        let set = dataset(100, 2048);
        let time = Time::of(&set, &wish, &Memory::of(&set, &wish, 8.0));
        assert_eq!((time.seconds_an_epoch, time.tokens_a_second), (None, None));
        assert!(time.operations > 0.0);
    }
}
