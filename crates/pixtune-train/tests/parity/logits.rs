//! Forward: logits and losses of the reference, with and without adapters, from both formats.

use pixtune_model::kernels::CpuKernels;
use pixtune_model::network::{Batch, LoraConfig, Network};
use pixtune_model::weights::Checkpoint;

use super::fixture::{Fixture, all, all_rows, difference, network, network_double};

/// What float32 leaves of the same sums in another order. A random model can magnify rounding until the reference itself is
/// off by nearly as much (1.9e-4 of logits up to 18, against the same model in float64). So the formulas are held to it
/// with sums in double precision, and the sums in single precision, which training uses, against those.
const LOGITS: f32 = 2e-4;
const LOSS: f32 = 1e-4;

/// Logits and losses of every input, with sums in both precisions, against the golden ones of `tag`.
fn check(fixture: &Fixture, base: &Checkpoint, lora: &LoraConfig, adapter: Option<&str>, tag: &str) {
    let (mut single, mut double) = (network(base, lora), network_double(base, lora));
    if let Some(adapter) = adapter {
        single.load_adapter(&fixture.adapter(adapter)).unwrap();
        double.load_adapter(&fixture.adapter(adapter)).unwrap();
    }
    for name in fixture.inputs.keys() {
        let golden = |what| fixture.golden[&format!("{tag}.{name}.{what}")].as_slice();
        let (single_logits, single_losses) = (logits(&single, fixture, name), losses(&single, fixture, name));
        let (double_logits, double_losses) = (logits(&double, fixture, name), losses(&double, fixture, name));
        for (what, found, expected, limit) in [
            ("formula: logits", &double_logits[..], golden("logits"), LOGITS),
            ("formula: losses", &double_losses, golden("token_loss"), LOSS),
            ("rounding: logits", &single_logits, &double_logits, LOGITS),
            ("rounding: losses", &single_losses, &double_losses, LOSS),
        ] {
            let found = difference(found, expected);
            assert!(found < limit, "{}: {tag}.{name}: {what} differ by {found}", fixture.directory.display());
        }
        if fixture.is_own() {
            assert!(difference(&single_logits, golden("logits")) < LOGITS);
            assert!(difference(&single_losses, golden("token_loss")) < LOSS);
        }
    }
}

fn logits(network: &Network<CpuKernels>, fixture: &Fixture, name: &str) -> Vec<f32> {
    let batch = fixture.batch(&[name]);
    network.logits(&batch, &all_rows(&batch)).unwrap()
}

/// Every token but the first is a label: the reference's losses are not masked.
fn losses(network: &Network<CpuKernels>, fixture: &Fixture, name: &str) -> Vec<f32> {
    let mut sequence = fixture.inputs[name].sequence.clone();
    sequence.trained.fill(true);
    let losses = network.token_losses(&Batch::pack(&[sequence], 10).unwrap()).unwrap();
    losses.iter().map(|label| label.loss).collect()
}

#[test]
fn base_models_of_both_formats() {
    for fixture in all() {
        assert!(fixture.bases().len() >= 2);
        for base in fixture.bases() {
            let base = Checkpoint::open(&base).unwrap();
            check(&fixture, &base, &fixture.lora("lora_all"), None, "base_f32");
        }
    }
}

#[test]
fn adapters() {
    for fixture in all() {
        let base = fixture.base();
        for name in [fixture.trained(), "lora_all"] {
            check(&fixture, &base, &fixture.lora(name), Some(name), &format!("{name}_f32"));
        }
    }
}

#[test]
fn merged_weights() {
    for fixture in all() {
        let merged = fixture.directory.join("hf_merged_text_proj_f32");
        if merged.is_dir() {
            let merged = Checkpoint::open(&merged).unwrap();
            check(&fixture, &merged, &fixture.lora("lora_all"), None, "lora_text_proj_f32");
        }
    }
}
