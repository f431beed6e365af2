//! Conversions of the models after Pixtral: weights, configurations, adapters and merges of the fixtures whose layout is that of
//! `fixtures/tiny_mistral3`, and of the directory that `PIXTUNE_FIXTURE` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod adapters;
mod configurations;
mod servers;
mod weights;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};
use pixtune_model::weights::Format;
use pixtune_model::weights::convert::{Options, Plan, Report};
use pixtune_model::weights::safetensors::SafetensorsFile;
use sha2::{Digest as _, Sha256};

const OWN: [&str; 3] = ["tiny_mistral3", "tiny_ministral3", "tiny_ministral3_tied"];

/// The project's own fixtures of this layout, and the one that the environment names if it has the layout.
fn fixtures() -> Vec<PathBuf> {
    let own = OWN.map(own);
    let named = std::env::var_os("PIXTUNE_FIXTURE").map(PathBuf::from);
    own.into_iter().chain(named.filter(|path| path.join("native_lora_text").is_dir())).collect()
}

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// Converts a directory, verified.
fn convert(source: &Path, target: &Path, to: Format) -> Report {
    Plan::new(Options::new(source, target, to)).unwrap().run(None, &mut |_| {}).unwrap()
}

/// Bytes of every tensor of a file.
fn tensors(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = SafetensorsFile::open(path).unwrap();
    let tensors = &file.header().tensors;
    tensors.iter().map(|tensor| (tensor.name.clone(), file.bytes(tensor).unwrap().to_vec())).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hashes(tensors: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
    tensors.iter().map(|(name, bytes)| (name.clone(), sha256(bytes))).collect()
}

fn json_file(path: &Path) -> Value<'static> {
    json::parse(&fs::read_to_string(path).unwrap()).unwrap().value.into_owned()
}

/// Hashes of a fixture by their keys in its `meta.json`.
fn golden(fixture: &Path, keys: &[&str]) -> BTreeMap<String, String> {
    let meta = json_file(&fixture.join("meta.json"));
    let found = keys.iter().fold(&meta, |value, key| value.get(key).unwrap());
    let members = found.as_object().unwrap().iter();
    members.map(|(name, hash)| (name.to_string(), hash.as_str().unwrap().to_owned())).collect()
}
