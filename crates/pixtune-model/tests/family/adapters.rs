//! Adapters in both dialects, and merges.

use std::collections::BTreeMap;
use std::path::Path;

use pixtune_files::Existing;
use pixtune_model::adapter::{Adapter, Conversion, Dialect, Merge};
use pixtune_model::weights::convert::Options;
use pixtune_model::weights::dtype::to_f32;
use pixtune_model::weights::safetensors::SafetensorsFile;
use pixtune_model::weights::{Checkpoint, Dtype, Format};

use super::{fixtures, golden, hashes, tensors};

const ADAPTERS: [&str; 2] = ["text", "all"];

fn values(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let file = SafetensorsFile::open(path).unwrap();
    let value = |tensor: &pixtune_model::weights::safetensors::TensorInfo| {
        let values = to_f32(tensor.dtype, file.bytes(tensor).unwrap()).unwrap();
        (tensor.name.clone(), values)
    };
    file.header().tensors.iter().map(value).collect()
}

fn write(fixture: &Path, source: &Path, to: Dialect, target: &Path) {
    let base = Checkpoint::open(&fixture.join("hf_bf16")).unwrap();
    let adapter = Adapter::open(source, None).unwrap();
    let conversion = Conversion::new(&adapter, &base, to, target, Some(Dtype::F32), Existing::Keep);
    conversion.unwrap().run().unwrap();
}

#[test]
fn both_dialects_are_the_same_adapter() {
    let place = tempfile::tempdir().unwrap();
    for (index, fixture) in fixtures().iter().enumerate() {
        for which in ADAPTERS {
            let target = |name: &str| place.path().join(format!("{index}-{which}-{name}"));
            let peft = fixture.join(format!("lora_{which}"));
            let native = fixture.join(format!("native_lora_{which}"));
            write(fixture, &native, Dialect::Peft, &target("peft"));
            assert_eq!(
                values(&target("peft").join("adapter_model.safetensors")),
                values(&peft.join("adapter_model.safetensors")),
                "{which} of {}",
                fixture.display()
            );
            write(fixture, &peft, Dialect::Mistral, &target("mistral"));
            let found = values(&target("mistral").join("lora.safetensors"));
            let wanted = values(&native.join("lora.safetensors"));
            // Mistral's programs multiply by 2; what the adapter has instead is in B.
            let scaling = Adapter::open(&peft, None).unwrap().lora.values().next().unwrap().scaling;
            assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
            for (name, wanted) in wanted {
                let factor = if name.ends_with("lora_B.weight") { scaling / 2.0 } else { 1.0 };
                let wanted: Vec<f32> =
                    wanted.iter().map(|value| (f64::from(*value) * factor) as f32).collect();
                assert_eq!(found[&name], wanted, "{name}");
            }
            // Back again: the factor stays in B, and alpha is twice the rank.
            write(fixture, &target("mistral"), Dialect::Peft, &target("back"));
            let back = Adapter::open(&target("back"), None).unwrap();
            assert!(back.lora.values().all(|lora| lora.scaling == 2.0));
        }
    }
}

#[test]
fn merges_give_the_bytes_of_peft() {
    let place = tempfile::tempdir().unwrap();
    let mut run = 0;
    for fixture in fixtures() {
        for which in ADAPTERS {
            for (dtype, key) in [
                (Some(Dtype::F32), "merged_f32_native_sha256"),
                (None, "merged_bf16_roundonce_native_sha256"),
            ] {
                let wanted = golden(&fixture, &[key, which]);
                for (base, adapter) in [("hf_bf16", "lora"), ("native_bf16", "native_lora")] {
                    run += 1;
                    let target = place.path().join(run.to_string());
                    let adapter = Adapter::open(&fixture.join(format!("{adapter}_{which}")), None).unwrap();
                    let options =
                        Options { dtype, ..Options::new(fixture.join(base), &target, Format::Mistral) };
                    Merge::new(&adapter, options).unwrap().run(&mut |_| {}).unwrap();
                    let found = hashes(&tensors(&target.join("consolidated.safetensors")));
                    assert_eq!(found, wanted, "{which} into {base} of {}", fixture.display());
                }
            }
        }
    }
}

#[test]
fn a_merge_into_a_tied_model_stays_tied() {
    let place = tempfile::tempdir().unwrap();
    let fixture = super::own("tiny_ministral3_tied");
    for (to, file) in [(Format::Hf, "model.safetensors"), (Format::Mistral, "consolidated.safetensors")] {
        let target = place.path().join(to.as_str());
        let adapter = Adapter::open(&fixture.join("lora_all"), None).unwrap();
        let options = Options::new(fixture.join("hf_bf16"), &target, to);
        Merge::new(&adapter, options).unwrap().run(&mut |_| {}).unwrap();
        let names = tensors(&target.join(file));
        assert!(names.keys().all(|name| !name.contains("lm_head") && !name.starts_with("output")));
        assert!(Checkpoint::open(&target).unwrap().config().tied);
    }
}
