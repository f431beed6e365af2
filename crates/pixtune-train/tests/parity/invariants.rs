//! What must not depend on how the work is cut.

use pixtune_model::network::{Batch, LoraConfig, NetworkOptions, Pass, Sequence, Targets};

use super::fixture::{Fixture, all, all_rows, difference, network, network_with, relative};

const PASS: Pass = Pass { scale: 0.1, dropout_seed: 7 };
const NAMES: [&str; 3] = ["text", "one", "two"];

/// An adapter on every linear, away from zero.
fn everywhere(fixture: &Fixture) -> LoraConfig {
    fixture.lora("lora_all")
}

/// Gradients of batches, one after the other.
fn gradients(
    fixture: &Fixture,
    batches: &[Batch],
    lora: &LoraConfig,
    threads: usize,
    options: NetworkOptions,
) -> Vec<f32> {
    let base = fixture.base();
    let mut network = network_with(&base, lora, threads, options);
    network.load_adapter(&fixture.adapter("lora_all")).unwrap();
    for batch in batches {
        network.forward_backward(batch, PASS).unwrap();
    }
    network.gradients()
}

#[test]
fn packing_changes_no_logits() {
    for fixture in all() {
        let base = fixture.base();
        let mut network = network(&base, &everywhere(&fixture));
        network.load_adapter(&fixture.adapter("lora_all")).unwrap();
        let packed = fixture.batch(&NAMES);
        let logits = network.logits(&packed, &all_rows(&packed)).unwrap();
        for (index, name) in NAMES.iter().enumerate() {
            let alone = fixture.batch(&[name]);
            let expected = network.logits(&alone, &all_rows(&alone)).unwrap();
            let vocabulary = expected.len() / alone.tokens();
            let rows = packed.rows(index);
            let found = &logits[rows.start * vocabulary..rows.end * vocabulary];
            assert!(difference(found, &expected) < 1e-4, "{name}");
        }
    }
}

#[test]
fn one_batch_of_four_is_four_batches_of_one() {
    for fixture in all() {
        let lora = everywhere(&fixture);
        let names = ["two", "one", "text", "two"];
        let alone: Vec<Batch> = names.iter().map(|name| fixture.batch(&[name])).collect();
        let packed = gradients(&fixture, &[fixture.batch(&names)], &lora, 2, NetworkOptions::default());
        let accumulated = gradients(&fixture, &alone, &lora, 2, NetworkOptions::default());
        assert!(relative(&packed, &accumulated) < 1e-4);
    }
}

#[test]
fn threads_change_no_bit() {
    for fixture in all() {
        let batch = [fixture.batch(&NAMES)];
        let one = gradients(&fixture, &batch, &everywhere(&fixture), 1, NetworkOptions::default());
        for threads in [1, 2, 3, 7] {
            assert_eq!(
                gradients(&fixture, &batch, &everywhere(&fixture), threads, NetworkOptions::default()),
                one
            );
        }
    }
}

#[test]
fn computing_layers_again_changes_no_bit() {
    for fixture in all() {
        let batch = [fixture.batch(&NAMES)];
        for dropout in [0.0, 0.3] {
            let lora = LoraConfig { dropout, ..everywhere(&fixture) };
            let kept = gradients(&fixture, &batch, &lora, 2, NetworkOptions::default());
            for budget in [0, 100_000, 300_000] {
                let options = NetworkOptions { activation_budget: Some(budget), ..NetworkOptions::default() };
                assert_eq!(gradients(&fixture, &batch, &lora, 2, options), kept, "{budget} {dropout}");
            }
        }
    }
}

#[test]
fn every_adapter_tensor_gets_a_gradient() {
    for fixture in all() {
        let base = fixture.base();
        let mut network = network(&base, &everywhere(&fixture));
        network.load_adapter(&fixture.adapter("lora_all")).unwrap();
        network.forward_backward(&fixture.batch(&["two"]), PASS).unwrap();
        let gradients = network.gradients();
        assert!(gradients.iter().all(|gradient| gradient.is_finite()));
        for tensor in network.adapter_tensors() {
            let share = gradients[tensor.range.clone()].iter().filter(|gradient| **gradient != 0.0).count();
            assert!(
                share * 10 > tensor.range.len() * 9,
                "{}: {share} of {}",
                tensor.name,
                tensor.range.len()
            );
        }
    }
}

/// A choice of targets gives the gradients those tensors have when everything is trained.
#[test]
fn targets_are_independent() {
    for fixture in all() {
        let base = fixture.base();
        let mut full = network(&base, &everywhere(&fixture));
        full.load_adapter(&fixture.adapter("lora_all")).unwrap();
        let parameters = full.parameters();
        full.forward_backward(&fixture.batch(&NAMES), PASS).unwrap();
        let expected = full.gradients();
        for targets in [
            "text.down_proj",
            "text.o_proj",
            "q_proj",
            "v_proj,vision.k_proj",
            "linear_2",
            "vision.up_proj",
            "text",
        ] {
            // The other adapters are zero here, so the full ones are put to zero as well.
            let targets = Targets::parse(targets).unwrap();
            let lora = LoraConfig { targets: targets.clone(), ..everywhere(&fixture) };
            let mut some = network(&base, &lora);
            let mut masked = vec![0.0; parameters.len()];
            let mut chosen = Vec::new();
            for tensor in some.adapter_tensors() {
                let place = full.adapter_tensors().iter().find(|place| place.name == tensor.name).unwrap();
                chosen.extend_from_slice(&parameters[place.range.clone()]);
                masked[place.range.clone()].copy_from_slice(&parameters[place.range.clone()]);
            }
            some.set_parameters(&chosen);
            some.forward_backward(&fixture.batch(&NAMES), PASS).unwrap();
            let mut reference = network(&base, &everywhere(&fixture));
            reference.set_parameters(&masked);
            reference.forward_backward(&fixture.batch(&NAMES), PASS).unwrap();
            let (found, reference_gradients) = (some.gradients(), reference.gradients());
            for tensor in some.adapter_tensors() {
                let place = full.adapter_tensors().iter().find(|place| place.name == tensor.name).unwrap();
                let error = relative(&found[tensor.range.clone()], &reference_gradients[place.range.clone()]);
                assert!(error < 1e-5, "{targets}: {}: {error}", tensor.name);
            }
        }
        assert_eq!(expected.len(), parameters.len());
    }
}

/// The gradient along a random direction is the slope of the loss along it.
#[test]
fn slopes_are_gradients() {
    for fixture in all() {
        let base = fixture.base();
        let mut network = network(&base, &everywhere(&fixture));
        network.load_adapter(&fixture.adapter("lora_all")).unwrap();
        let batch = fixture.batch(&NAMES);
        network.forward_backward(&batch, Pass { scale: 1.0, dropout_seed: 0 }).unwrap();
        let (parameters, gradients) = (network.parameters(), network.gradients());
        for tensor in network.adapter_tensors().to_vec() {
            let along = &gradients[tensor.range.clone()];
            let length = along.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let mut loss_at = |step: f64| {
                let mut moved = parameters.clone();
                for (parameter, gradient) in moved[tensor.range.clone()].iter_mut().zip(along) {
                    *parameter += (step * f64::from(*gradient) / length) as f32;
                }
                network.set_parameters(&moved);
                network.forward_loss(&batch).unwrap().loss
            };
            let step = 2e-2 / length.max(1.0);
            let slope = (loss_at(step) - loss_at(-step)) / (2.0 * step);
            assert!((slope - length).abs() < 1e-2 * length + 2e-3, "{}: {slope} {length}", tensor.name);
        }
    }
}

#[test]
fn a_batch_without_labels_has_no_loss_and_no_gradient() {
    let fixture = &all()[0];
    let base = fixture.base();
    let mut network = network(&base, &everywhere(fixture));
    let sequence = Sequence { ids: vec![1, 3, 4], trained: vec![false; 3], images: Vec::new() };
    let batch = Batch::pack(&[sequence], 10).unwrap();
    assert_eq!(network.forward_backward(&batch, PASS).unwrap(), network.forward_loss(&batch).unwrap());
    assert!(network.gradients().iter().all(|gradient| *gradient == 0.0));
}
