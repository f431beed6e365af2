//! Forward: logits and losses of the reference, with and without adapters, from both formats.

use pixtune_model::network::Batch;
use pixtune_model::weights::Checkpoint;

use super::fixture::{Fixture, all, all_rows, difference, network};

/// What float32 leaves of the same sums in another order.
const LOGITS: f32 = 2e-4;
const LOSS: f32 = 1e-4;

/// Logits and losses of every input against the golden ones of `tag`.
fn check(
    fixture: &Fixture,
    network: &pixtune_model::network::Network<pixtune_model::kernels::CpuKernels>,
    tag: &str,
) {
    for name in fixture.inputs.keys() {
        let batch = fixture.batch(&[name]);
        let logits = network.logits(&batch, &all_rows(&batch)).unwrap();
        let found = difference(&logits, &fixture.golden[&format!("{tag}.{name}.logits")]);
        assert!(found < LOGITS, "{}: {tag}.{name}: logits differ by {found}", fixture.folder.display());
        // Every token but the first is a label: the reference's losses are not masked.
        let mut sequence = fixture.inputs[name].sequence.clone();
        sequence.trained.fill(true);
        let losses = network.token_losses(&Batch::pack(&[sequence], 10).unwrap()).unwrap();
        let losses: Vec<f32> = losses.iter().map(|label| label.loss).collect();
        let found = difference(&losses, &fixture.golden[&format!("{tag}.{name}.token_loss")]);
        assert!(found < LOSS, "{}: {tag}.{name}: losses differ by {found}", fixture.folder.display());
    }
}

#[test]
fn base_models_of_both_formats() {
    for fixture in all() {
        assert!(fixture.bases().len() >= 2);
        for base in fixture.bases() {
            let base = Checkpoint::open(&base).unwrap();
            check(&fixture, &network(&base, &fixture.lora("lora_all")), "base_f32");
        }
    }
}

#[test]
fn adapters() {
    for fixture in all() {
        let base = fixture.base();
        for name in ["lora_text_proj", "lora_all"] {
            let mut network = network(&base, &fixture.lora(name));
            network.load_adapter(&fixture.folder.join(name)).unwrap();
            check(&fixture, &network, &format!("{name}_f32"));
        }
    }
}

#[test]
fn merged_weights() {
    for fixture in all() {
        let merged = fixture.folder.join("hf_merged_text_proj_f32");
        if merged.is_dir() {
            let merged = Checkpoint::open(&merged).unwrap();
            check(&fixture, &network(&merged, &fixture.lora("lora_all")), "lora_text_proj_f32");
        }
    }
}
