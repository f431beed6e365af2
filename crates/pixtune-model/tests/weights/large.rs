//! The layout of Pixtral Large: 88 layers, twelve heads to a head of keys, no biases in the projector.

use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};
use pixtune_model::weights::convert::{Options, Plan};
use pixtune_model::weights::{Checkpoint, Format};
use sha2::{Digest as _, Sha256};

use super::support::read;

fn large(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny_pixtral_large").join(name)
}

fn json_file(path: &Path) -> Value<'static> {
    json::parse(&fs::read_to_string(path).unwrap()).unwrap().value.into_owned()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of all tensors of a file as the fixture's script makes it, and their number.
fn digest(path: &Path) -> (usize, String) {
    let mut lines: Vec<String> = read(path)
        .into_iter()
        .map(|stored| format!("{} {}\n", stored.spec.name, sha256(&stored.bytes)))
        .collect();
    lines.sort();
    (lines.len(), sha256(lines.concat().as_bytes()))
}

fn convert(source: &Path, target: &Path, to: Format) {
    Plan::new(Options::new(source, target, to)).unwrap().run(None, &mut |_| {}).unwrap();
}

#[test]
fn both_directions_give_the_reference_tensors_and_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let (native, hf, back) = (large(""), directory.path().join("hf"), directory.path().join("back"));
    let meta = json_file(&large("meta.json"));
    let wanted = |format: &str| {
        let tensors = meta.get("tensors").unwrap().to_string().parse().unwrap();
        (tensors, meta.get(format).and_then(Value::as_str).unwrap().to_owned())
    };
    // The directory holds config.json too, and only one format's weights.
    convert(&native, &hf, Format::Hf);
    assert_eq!(digest(&hf.join("model.safetensors")), wanted("hf_sha256"));
    // With transformers' own configuration, and not with the one written here.
    let ours = Checkpoint::open(&hf).unwrap().config().clone();
    fs::copy(large("config.json"), hf.join("config.json")).unwrap();
    let theirs = Checkpoint::open(&hf).unwrap().config().clone();
    assert_eq!(
        (&ours.text, &ours.vision, &ours.projector),
        (&theirs.text, &theirs.vision, &theirs.projector)
    );
    assert_eq!((ours.text.layers, ours.text.heads, ours.text.kv_heads), (88, 12, 1));
    assert!(!ours.projector.bias && !ours.tied);
    convert(&hf, &back, Format::Mistral);
    assert_eq!(digest(&back.join("consolidated.safetensors")), wanted("native_sha256"));
    assert_eq!(
        fs::read(back.join("consolidated.safetensors")).unwrap(),
        fs::read(large("consolidated.safetensors")).unwrap(),
        "there and back is the same file"
    );
    let (written, params) = (json_file(&back.join("params.json")), json_file(&large("params.json")));
    for (key, value) in params.as_object().unwrap().iter().filter(|(key, _)| key != "vision_encoder") {
        assert_eq!(written.get(key), Some(value), "{key}");
    }
    let vision = written.get("vision_encoder").unwrap();
    for (key, value) in params.get("vision_encoder").and_then(Value::as_object).unwrap() {
        assert_eq!(vision.get(key), Some(value), "vision_encoder.{key}");
    }
}
