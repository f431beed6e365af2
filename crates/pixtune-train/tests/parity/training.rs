//! Backward and AdamW against PyTorch.

use std::collections::BTreeMap;
use std::fs;

use pixtune_core::json;
use pixtune_model::kernels::{AdamW, CpuKernels};
use pixtune_model::network::{Network, Pass};

use super::fixture::{Fixture, all, network, numbers, relative, tensors};

/// The optimizer of `gen_fixture.py`.
const ADAMW: AdamW =
    AdamW { learning_rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };

fn named(network: &Network<CpuKernels>, values: &[f32]) -> BTreeMap<String, Vec<f32>> {
    let tensors = network.adapter_tensors().iter();
    tensors.map(|tensor| (tensor.name.clone(), values[tensor.range.clone()].to_vec())).collect()
}

/// One pass over both inputs, packed; the mean loss.
fn step(fixture: &Fixture, network: &mut Network<CpuKernels>) -> f64 {
    let batch = fixture.batch(&["one", "two"]);
    network.zero_gradients();
    let scale = 1.0 / batch.trained_tokens() as f32;
    let sum = network.forward_backward(&batch, Pass { scale, dropout_seed: 0 }).unwrap();
    sum.loss / sum.trained_tokens as f64
}

#[test]
fn gradients_of_the_first_step() {
    for fixture in all() {
        let base = fixture.base();
        for adapter in [fixture.trained(), "lora_all"] {
            let Some(expected) = fixture.gradients(adapter) else { continue };
            let mut network = network(&base, &fixture.lora(adapter));
            network.load_adapter(&fixture.adapter(adapter)).unwrap();
            step(&fixture, &mut network);
            let found = named(&network, &network.gradients());
            assert!(found.keys().eq(expected.keys()));
            for (name, expected) in &expected {
                let error = relative(&found[name], expected);
                assert!(error < 1e-3, "{}: {name}: {error}", fixture.directory.display());
            }
        }
    }
}

#[test]
fn five_steps_of_adamw() {
    for fixture in all() {
        let base = fixture.base();
        let mut network = network(&base, &fixture.lora(fixture.trained()));
        network.load_adapter(&fixture.adapter(fixture.trained())).unwrap();
        let text = fs::read_to_string(fixture.directory.join("train.json")).unwrap();
        let golden = json::parse(&text).unwrap().value;
        for golden in golden.get("steps").unwrap().as_array().unwrap() {
            let loss = step(&fixture, &mut network);
            let expected = numbers(golden.get("loss").unwrap())[0];
            assert!((loss - expected).abs() < 1e-4, "{}: {loss} {expected}", fixture.directory.display());
            let norm = numbers(golden.get("global_grad_norm").unwrap())[0];
            let found = network.clip_gradients(None);
            assert!((found - norm).abs() < 1e-3 * norm, "{found} {norm}");
            network.adamw(&ADAMW);
        }
        let batch = fixture.batch(&["one", "two"]);
        let after = network.forward_loss(&batch).unwrap();
        let expected = numbers(golden.get("loss_after_5").unwrap())[0];
        assert!((after.loss / after.trained_tokens as f64 - expected).abs() < 1e-4);
        let found = named(&network, &network.parameters());
        let expected = tensors(&fixture.directory.join("train_final_adapter/adapter_model.safetensors"));
        assert!(found.keys().eq(expected.keys()));
        for (name, expected) in &expected {
            let error = relative(&found[name], expected);
            assert!(error < 1e-3, "{}: {name}: {error}", fixture.directory.display());
        }
    }
}
