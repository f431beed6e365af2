//! Writes what the network makes of each sample of a file, for another program to compare: ids, pixels and logits.
//!
//! `logits MODEL ADAPTER DATA.jsonl OUT.safetensors`

#![allow(clippy::unwrap_used, reason = "a program for checks: a panic is its way to fail")]

use std::fs::File;
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Diagnostic;
use pixtune_infer::{ModelDirectory, TokenizerSource};
use pixtune_model::adapter::Adapter;
use pixtune_model::kernels::CpuKernels;
use pixtune_model::network::{Batch, LoraConfig, Network, NetworkOptions};
use pixtune_model::weights::Dtype;
use pixtune_model::weights::safetensors::{Layout, TensorSpec, Writer};
use pixtune_train::data::{Dataset, Indexing};

struct Loud;

impl Indexing for Loud {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        eprintln!("{diagnostic}");
    }

    fn read(&mut self, _bytes: u64, _of: u64) {}
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, adapter, data, out] = &args[..] else {
        eprintln!("usage: logits MODEL ADAPTER DATA.jsonl OUT.safetensors");
        std::process::exit(2);
    };
    let model = ModelDirectory::open(Path::new(model), &TokenizerSource::Directory).unwrap();
    let adapter = Adapter::open(Path::new(adapter), None).unwrap();
    let lora = LoraConfig::of(&adapter).unwrap();
    let kernels = CpuKernels::new(1).unwrap();
    let mut network = Network::load(kernels, model.checkpoint(), &lora, NetworkOptions::default()).unwrap();
    network.load_adapter(&adapter).unwrap();
    let data = Dataset::index(&[PathBuf::from(data)], model.encoder(), usize::MAX, 1, &mut Loud).unwrap();
    let mut tensors: Vec<(TensorSpec, Vec<u8>)> = Vec::new();
    let mut push = |name: String, shape: Vec<usize>, values: &[f32]| {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensors.push((TensorSpec { name, dtype: Dtype::F32, shape }, bytes));
    };
    for index in 0..data.entries().len() as u32 {
        let sequence = data.load(index).unwrap().unwrap().sequence;
        let patch = network.shape().patch;
        for (image, input) in sequence.images.iter().enumerate() {
            let shape = vec![3, input.rows * patch, input.columns * patch];
            push(format!("{index}.pixels.{image}"), shape, &input.pixels);
        }
        // Ids below 2^24 are whole in single precision.
        let ids: Vec<f32> = sequence.ids.iter().map(|id| *id as f32).collect();
        push(format!("{index}.ids"), vec![ids.len()], &ids);
        let batch = Batch::pack(&[sequence], network.shape().image_token).unwrap();
        let rows: Vec<u32> = (0..batch.tokens() as u32).collect();
        let logits = network.logits(&batch, &rows).unwrap();
        push(format!("{index}.logits"), vec![rows.len(), network.shape().vocabulary], &logits);
    }
    let specs: Vec<TensorSpec> = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    let layout = Layout::new(&specs).unwrap();
    let mut writer = Writer::new(File::create(out).unwrap(), &layout).unwrap();
    tensors.iter().for_each(|(_, bytes)| writer.write(bytes).unwrap());
    writer.finish().unwrap();
}
