//! The whole network and its training on the emulated GPU, against transformers and PEFT, and against itself.
//!
//! Activations are bf16 there: losses and gradients are those of the references within its rounding.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its fixture has failed")]

#[path = "../../../pixtune-train/tests/parity/fixture.rs"]
#[allow(dead_code, reason = "it has helpers for the CPU as well")]
mod fixture;

mod invariants;
mod memory;
mod references;
mod trainer;

use fixture::Fixture;
use pixtune_cuda::CudaKernels;
use pixtune_emulator::Emulator;
use pixtune_model::network::{LoraConfig, Network, NetworkOptions, Pass};
use pixtune_model::weights::Checkpoint;

type Gpu = CudaKernels<Emulator>;

/// The network of a fixture with its adapter on the emulated GPU, whose threads run in an order that depends on the seed.
fn network<'w>(
    fixture: &Fixture,
    base: &'w Checkpoint,
    (adapter, lora): (&str, &LoraConfig),
    seed: u64,
    options: NetworkOptions,
) -> Network<'w, Gpu> {
    let kernels = CudaKernels::new(Emulator::new(seed));
    let mut network = Network::load(kernels, base, lora, options).unwrap();
    network.load_adapter(&fixture.adapter(adapter)).unwrap();
    network
}

/// One pass over both inputs, packed; the mean loss.
fn step(fixture: &Fixture, network: &mut Network<Gpu>) -> f64 {
    let batch = fixture.batch(&["one", "two"]);
    network.zero_gradients();
    let scale = 1.0 / batch.trained_tokens() as f32;
    let sum = network.forward_backward(&batch, Pass { scale, dropout_seed: 0 }).unwrap();
    sum.loss / sum.trained_tokens as f64
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The cosine of the angle between two vectors.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
