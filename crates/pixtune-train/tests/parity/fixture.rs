//! Reads a directory of the layout of `fixtures/tiny_pixtral`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};
use pixtune_model::adapter::Adapter;
use pixtune_model::kernels::{CpuKernels, Precision};
use pixtune_model::network::{Batch, Image, LoraConfig, Network, NetworkOptions, Sequence, Targets};
use pixtune_model::weights::Checkpoint;
use pixtune_model::weights::dtype;
use pixtune_model::weights::safetensors::SafetensorsFile;

/// Every fixture there is: the project's own, and the one the environment names.
pub fn all() -> Vec<Fixture> {
    let named = std::env::var_os("PIXTUNE_FIXTURE").map(PathBuf::from);
    let own = ["tiny_pixtral", "tiny_mistral3", "tiny_ministral3", "tiny_ministral3_tied"];
    let own = own.map(|name| repository().join("fixtures").join(name));
    own.into_iter().chain(named).map(Fixture::open).collect()
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub struct Fixture {
    pub directory: PathBuf,
    pub golden: Tensors,
    pub inputs: BTreeMap<String, Input>,
}

pub type Tensors = BTreeMap<String, Vec<f32>>;

pub struct Input {
    pub sequence: Sequence,
}

impl Fixture {
    fn open(directory: PathBuf) -> Fixture {
        let pixels = tensors(&directory.join("pixels.safetensors"));
        let config = Fixture::base_of(&directory);
        let shape =
            pixtune_model::network::ModelShape::new(Checkpoint::open(&config).unwrap().config()).unwrap();
        let text = fs::read_to_string(directory.join("inputs.json")).unwrap();
        let parsed = json::parse(&text).unwrap().value;
        let input = |name: &str, value: &Value| {
            let mask = numbers(value.get("assistant_mask").unwrap());
            let sizes = value.get("image_hw").unwrap().as_array().unwrap();
            let image = |(index, size): (usize, &Value)| {
                let size = numbers(size);
                let pixels = pixels[&format!("{name}.image{index}")].clone().into();
                Image {
                    pixels,
                    rows: size[0] as usize / shape.patch,
                    columns: size[1] as usize / shape.patch,
                    merge: shape.merge,
                }
            };
            let sequence = Sequence {
                ids: numbers(value.get("ids").unwrap()).iter().map(|id| *id as u32).collect(),
                trained: mask.iter().map(|trained| *trained == 1.0).collect(),
                images: sizes.iter().enumerate().map(image).collect(),
            };
            Input { sequence }
        };
        let inputs = parsed.as_object().unwrap().iter();
        let inputs = inputs.map(|(name, value)| (name.to_string(), input(name, value))).collect();
        Fixture { golden: tensors(&directory.join("golden.safetensors")), inputs, directory }
    }

    fn base_of(directory: &Path) -> PathBuf {
        let names = ["hf_f32", "hf_bf16"].map(|name| directory.join(name));
        names.into_iter().find(|path| path.is_dir()).unwrap()
    }

    /// Whether it is the project's own.
    pub fn is_own(&self) -> bool {
        self.directory.starts_with(repository().join("fixtures"))
    }

    /// The base model in transformers' format.
    pub fn base(&self) -> Checkpoint {
        Checkpoint::open(&Fixture::base_of(&self.directory)).unwrap()
    }

    /// Every directory with base weights, in both formats.
    pub fn bases(&self) -> Vec<PathBuf> {
        let names = ["hf_f32", "hf_bf16", "native_f32", "native_bf16"].map(|name| self.directory.join(name));
        names.into_iter().filter(|path| path.is_dir()).collect()
    }

    pub fn batch(&self, names: &[&str]) -> Batch {
        let sequences: Vec<Sequence> = names.iter().map(|name| self.inputs[*name].sequence.clone()).collect();
        Batch::pack(&sequences, 10).unwrap()
    }

    /// An adapter in a subdirectory.
    pub fn adapter(&self, name: &str) -> Adapter {
        Adapter::open(&self.directory.join(name), None).unwrap()
    }

    /// The name of the adapter that was trained: with or without the projector.
    pub fn trained(&self) -> &'static str {
        let names = ["lora_text_proj", "lora_text"];
        names.into_iter().find(|name| self.directory.join(name).is_dir()).unwrap()
    }

    /// The gradients of the first step of an adapter.
    pub fn gradients(&self, name: &str) -> Option<Tensors> {
        let named = format!("train_step0_grads_{}.safetensors", name.trim_start_matches("lora_"));
        let names = [named.as_str(), "train_step0_grads.safetensors"];
        let only = if name == self.trained() { &names[..] } else { &names[..1] };
        only.iter()
            .map(|name| self.directory.join(name))
            .find(|path| path.is_file())
            .map(|path| tensors(&path))
    }

    /// The settings of an adapter in a subdirectory.
    pub fn lora(&self, name: &str) -> LoraConfig {
        let lora = LoraConfig::of(&self.adapter(name)).unwrap();
        let merges = self.directory.join(name).join("adapter_config.json");
        let merges = fs::read_to_string(merges).unwrap().contains("merging_layer");
        let targets = match name {
            "lora_all" if merges => "all+merging_layer",
            "lora_all" => "all",
            "lora_text" => "text",
            _ => "text+projector",
        };
        assert_eq!(lora.targets, Targets::parse(targets).unwrap());
        lora
    }
}

pub fn network<'w>(base: &'w Checkpoint, lora: &LoraConfig) -> Network<'w, CpuKernels> {
    network_with(base, lora, 2, NetworkOptions::default())
}

/// With sums in double precision: what is left are the formulas.
pub fn network_double<'w>(base: &'w Checkpoint, lora: &LoraConfig) -> Network<'w, CpuKernels> {
    let kernels = CpuKernels::with_precision(2, Precision::Double).unwrap();
    Network::load(kernels, base, lora, NetworkOptions::default()).unwrap()
}

pub fn network_with<'w>(
    base: &'w Checkpoint,
    lora: &LoraConfig,
    threads: usize,
    options: NetworkOptions,
) -> Network<'w, CpuKernels> {
    Network::load(CpuKernels::new(threads).unwrap(), base, lora, options).unwrap()
}

/// All tensors of a file.
pub fn tensors(path: &Path) -> Tensors {
    let file = SafetensorsFile::open(path).unwrap();
    let values = |tensor| dtype::to_f32(dtype::Dtype::F32, file.bytes(tensor).unwrap()).unwrap();
    let narrow = |tensor| dtype::to_f32(dtype::Dtype::BF16, file.bytes(tensor).unwrap()).unwrap();
    let all = file.header().tensors.iter();
    all.map(|tensor| {
        let values = if tensor.dtype == dtype::Dtype::BF16 { narrow(tensor) } else { values(tensor) };
        (tensor.name.clone(), values)
    })
    .collect()
}

/// A number, or the numbers of an array.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Number(text) => vec![text.parse().unwrap()],
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        other => panic!("{other:?} is no number"),
    }
}

pub fn all_rows(batch: &Batch) -> Vec<u32> {
    (0..batch.tokens() as u32).collect()
}

/// The largest difference; NaN counts as one.
pub fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| if d <= most { most } else { d })
}

/// The largest difference, as a share of the largest number expected.
pub fn relative(found: &[f32], expected: &[f32]) -> f32 {
    let size = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    difference(found, expected) / size.max(f32::MIN_POSITIVE)
}
