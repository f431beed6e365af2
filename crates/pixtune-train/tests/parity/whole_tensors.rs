//! Whole trained tensors beside LoRA, against peft's `modules_to_save`: `fixtures/whole_tensors` was made by its `make.py`.

use std::fs;
use std::path::PathBuf;

use pixtune_core::json;
use pixtune_model::adapter::Adapter;
use pixtune_model::kernels::{AdamW, CpuKernels};
use pixtune_model::network::{LoraConfig, Network, NetworkOptions, Pass, Targets, WholeRegions};
use pixtune_model::weights::Checkpoint;

use super::fixture::{
    Fixture, all, all_rows, difference, network_with, numbers, relative, repository, tensors,
};

const NAMES: [&str; 2] = ["one", "two"];

fn directory() -> PathBuf {
    repository().join("fixtures/whole_tensors")
}

fn adapter() -> Adapter {
    Adapter::open(&directory().join("adapter"), None).unwrap()
}

/// The project's own fixture.
fn fixture() -> Fixture {
    all().into_iter().find(Fixture::is_own).unwrap()
}

/// With the adapter of the fixture.
fn loaded(base: &Checkpoint, options: NetworkOptions) -> Network<'_, CpuKernels> {
    let mut network = network_with(base, &LoraConfig::of(&adapter()).unwrap(), 2, options);
    network.load_adapter(&adapter()).unwrap();
    network
}

/// One pass over both inputs, packed; the mean loss.
fn step(fixture: &Fixture, network: &mut Network<CpuKernels>) -> f64 {
    let batch = fixture.batch(&NAMES);
    network.zero_gradients();
    let scale = 1.0 / batch.trained_tokens() as f32;
    let sum = network.forward_backward(&batch, Pass { scale, dropout_seed: 0 }).unwrap();
    sum.loss / sum.trained_tokens as f64
}

#[test]
fn settings_are_those_of_the_adapter() {
    let lora = LoraConfig::of(&adapter()).unwrap();
    assert_eq!(lora.targets, Targets::text());
    assert_eq!(lora.whole, WholeRegions::parse("projector+vision").unwrap());
}

#[test]
fn training_starts_at_the_weights_of_the_model() {
    let fixture = fixture();
    let base = fixture.base();
    let lora =
        LoraConfig { whole: WholeRegions::parse("projector+vision").unwrap(), ..LoraConfig::default() };
    let whole = network_with(&base, &lora, 2, NetworkOptions::default());
    let plain = network_with(&base, &LoraConfig::default(), 2, NetworkOptions::default());
    for name in NAMES {
        let batch = fixture.batch(&[name]);
        let [whole, plain] =
            [&whole, &plain].map(|network| network.logits(&batch, &all_rows(&batch)).unwrap());
        assert!(difference(&whole, &plain) < 1e-4, "{name}");
    }
}

#[test]
fn logits_are_those_of_peft() {
    let fixture = fixture();
    let base = fixture.base();
    let network = loaded(&base, NetworkOptions::default());
    let golden = tensors(&directory().join("golden.safetensors"));
    for name in NAMES {
        let batch = fixture.batch(&[name]);
        let logits = network.logits(&batch, &all_rows(&batch)).unwrap();
        let found = difference(&logits, &golden[&format!("{name}.logits")]);
        assert!(found < 2e-4, "{name}: {found}");
    }
}

#[test]
fn gradients_of_every_tensor_are_those_of_peft() {
    let fixture = fixture();
    let base = fixture.base();
    let expected = tensors(&directory().join("gradients.safetensors"));
    // Recomputed layers have the same gradients.
    for activation_budget in [None, Some(0)] {
        let mut network = loaded(&base, NetworkOptions { activation_budget, ..NetworkOptions::default() });
        step(&fixture, &mut network);
        let gradients = network.gradients();
        assert_eq!(network.adapter_tensors().len(), expected.len());
        for tensor in network.adapter_tensors() {
            let error = relative(&gradients[tensor.range.clone()], &expected[&tensor.name]);
            assert!(error < 1e-3, "{}: {error}", tensor.name);
        }
    }
}

#[test]
fn five_steps_of_adamw_have_the_losses_of_peft() {
    let fixture = fixture();
    let base = fixture.base();
    let mut network = loaded(&base, NetworkOptions::default());
    let text = fs::read_to_string(directory().join("train.json")).unwrap();
    let golden = json::parse(&text).unwrap().value;
    let adamw = AdamW { learning_rate: 1e-3, weight_decay: 0.1, ..AdamW::default() };
    for golden in golden.get("steps").unwrap().as_array().unwrap() {
        let loss = step(&fixture, &mut network);
        let expected = numbers(golden.get("loss").unwrap())[0];
        assert!((loss - expected).abs() < 1e-4, "{loss} {expected}");
        let norm = numbers(golden.get("grad_norm").unwrap())[0];
        let found = network.clip_gradients(None);
        assert!((found - norm).abs() < 1e-3 * norm, "{found} {norm}");
        network.adamw(&adamw);
    }
    let batch = fixture.batch(&NAMES);
    let after = network.forward_loss(&batch).unwrap();
    let expected = numbers(golden.get("loss_after").unwrap())[0];
    assert!((after.loss / after.trained_tokens as f64 - expected).abs() < 1e-4);
}

#[test]
fn what_is_saved_is_what_peft_saves() {
    let fixture = fixture();
    let base = fixture.base();
    let network = loaded(&base, NetworkOptions::default());
    let saved = tempfile::tempdir().unwrap();
    network.save_adapter(saved.path(), "tiny_pixtral").unwrap();
    let file = "adapter_model.safetensors";
    assert_eq!(tensors(&saved.path().join(file)), tensors(&directory().join("adapter").join(file)));
    let [ours, theirs] = [saved.path(), &directory().join("adapter")].map(|directory| {
        let text = fs::read_to_string(directory.join("adapter_config.json")).unwrap();
        let config = json::parse(&text).unwrap().value;
        let modules = config.get("modules_to_save").unwrap().as_array().unwrap().to_vec();
        let mut modules: Vec<String> =
            modules.iter().map(|module| module.as_str().unwrap().to_owned()).collect();
        modules.sort();
        modules
    });
    assert_eq!(ours, theirs);
}

#[test]
fn a_part_of_a_region_is_refused_by_name() {
    let fixture = fixture();
    let base = fixture.base();
    let lora = LoraConfig {
        whole: WholeRegions::parse("projector").unwrap(),
        ..LoraConfig::of(&adapter()).unwrap()
    };
    let mut network = network_with(&base, &lora, 2, NetworkOptions::default());
    let error = network.load_adapter(&adapter()).unwrap_err().to_string();
    assert!(error.contains("vision_tower") && error.contains("is not trained in this run"), "{error}");
    let mut without = network_with(
        &base,
        &LoraConfig { whole: WholeRegions::default(), ..lora },
        2,
        NetworkOptions::default(),
    );
    without.load_adapter(&fixture.adapter("lora_all")).unwrap_err();
}
