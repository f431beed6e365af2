//! What a step is said to take against what its buffers took.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its fixture has failed")]

use std::path::Path;

use pixtune_model::kernels::CpuKernels;
use pixtune_model::network::{Batch, LoraConfig, Network, NetworkOptions, Pass, Sequence};
use pixtune_model::weights::Checkpoint;

/// `sequences` of 200 tokens each, of which the last `trained` are.
fn batch(sequences: usize, trained: usize) -> Batch {
    let sequence = Sequence {
        ids: (0..200).map(|token| 20 + token * 7 % 100).collect(),
        trained: (0..200).map(|token| token >= 200 - trained).collect(),
        images: Vec::new(),
    };
    Batch::pack(&vec![sequence; sequences], 10).unwrap()
}

/// The estimate over what was in use at once; the weights lie in the file.
fn share(batch: &Batch, activation_budget: Option<u64>) -> f64 {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny_pixtral/hf_bf16");
    let weights = Checkpoint::open(&directory).unwrap();
    let kernels = CpuKernels::new(2).unwrap();
    let options = NetworkOptions { activation_budget, ..NetworkOptions::default() };
    let mut network = Network::load(kernels, &weights, &LoraConfig::default(), options).unwrap();
    network.forward_backward(batch, Pass { scale: 1.0, dropout_seed: 0 }).unwrap();
    let memory = network.memory(batch.tokens(), batch.patches(), batch.trained_tokens());
    let recomputed = if activation_budget.is_some() { memory.layers - 1 } else { 0 };
    assert_eq!(memory.recomputed_layers, recomputed);
    (memory.total() - memory.weights) as f64 / network.kernels().peak_bytes() as f64
}

#[test]
fn an_estimate_is_within_a_quarter_of_what_a_step_takes() {
    for (sequences, trained) in [(5, 20), (20, 50), (20, 199)] {
        let batch = batch(sequences, trained);
        for budget in [None, Some(1)] {
            let share = share(&batch, budget);
            assert!((0.8..1.25).contains(&share), "{sequences} {trained} {budget:?}: {share}");
        }
    }
}
