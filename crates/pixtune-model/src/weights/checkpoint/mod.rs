//! A directory with a model in it, opened and checked.

mod complete;
mod expected;
mod shards;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use super::config::{ModelConfig, Note};
use super::dtype::{self, Dtype};
use super::error::{Problems, WeightsError};
use super::names::{Module, Part, Spelling, TensorName};
use super::rows::RowOrder;
use super::safetensors::{SafetensorsError, SafetensorsFile, TensorInfo};

use complete::is_quantized;
pub use shards::parse_index;

/// One of the two formats Pixtral exists in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Hugging Face: `config.json` and `model*.safetensors`.
    Hf,
    /// Mistral: `params.json` and `consolidated*.safetensors`.
    Mistral,
}

impl Format {
    /// The other one.
    pub fn other(self) -> Format {
        match self {
            Format::Hf => Format::Mistral,
            Format::Mistral => Format::Hf,
        }
    }

    /// The file that describes the model.
    pub fn config_file(self) -> &'static str {
        match self {
            Format::Hf => "config.json",
            Format::Mistral => "params.json",
        }
    }

    /// What names of weight files begin with.
    pub fn stem(self) -> &'static str {
        match self {
            Format::Hf => "model",
            Format::Mistral => "consolidated",
        }
    }

    /// How rows of q and k are ordered in this format.
    pub fn row_order(self) -> RowOrder {
        match self {
            Format::Hf => RowOrder::HalfSplit,
            Format::Mistral => RowOrder::Interleaved,
        }
    }

    /// How tensors are named in files we write in this format.
    pub fn spelling(self) -> Spelling {
        match self {
            Format::Hf => Spelling::Disk,
            Format::Mistral => Spelling::Native,
        }
    }

    /// The name people call it by: `hf` or `mistral`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Hf => "hf",
            Format::Mistral => "mistral",
        }
    }
}

/// A model on disk: its configuration, and exactly the tensors the configuration asks for.
#[derive(Debug)]
pub struct Checkpoint {
    directory: PathBuf,
    format: Format,
    config: ModelConfig,
    files: Vec<SafetensorsFile>,
    tensors: BTreeMap<TensorName, Place>,
}

/// Where a tensor is: which file, and which of its tensors.
#[derive(Debug, Clone, Copy)]
struct Place {
    file: usize,
    index: usize,
    spelling: Spelling,
}

impl Checkpoint {
    /// Opens a directory in whichever format it is in; one that holds both is refused.
    pub fn open(directory: &Path) -> Result<Checkpoint, WeightsError> {
        let format = shards::detect(directory)?;
        Checkpoint::open_as(directory, format)
    }

    /// Opens a directory in this format, whatever else lies there.
    pub fn open_as(directory: &Path, format: Format) -> Result<Checkpoint, WeightsError> {
        let config = ModelConfig::read(directory, format)?;
        let files = shards::open(directory, format)?;
        let mut checkpoint =
            Checkpoint { directory: directory.to_owned(), format, config, files, tensors: BTreeMap::new() };
        let mut problems = Problems::default();
        checkpoint.config.notes.extend(shards::notes(directory, format, checkpoint.files.len()));
        checkpoint.check_full_state()?;
        checkpoint.collect(&mut problems);
        checkpoint.check_quantization()?;
        checkpoint.check_complete()?;
        checkpoint.settle(&mut problems);
        checkpoint.compare(&mut problems);
        match problems.0.is_empty() {
            true => Ok(checkpoint),
            false => Err(WeightsError::Mismatch { path: directory.to_owned(), problems }),
        }
    }

    /// Formats that a directory holds weights of.
    pub fn formats(directory: &Path) -> Result<Vec<Format>, WeightsError> {
        shards::formats(directory)
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Which format it is in.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The model's sizes, as the configuration and the tensors agree on them.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// How the rows of q and k are ordered.
    pub fn row_order(&self) -> RowOrder {
        self.format.row_order()
    }

    /// The files with the weights, in the order of their names.
    pub fn files(&self) -> &[SafetensorsFile] {
        &self.files
    }

    /// A tensor; `None` where the model has none of this name: a tied head, a projector without biases.
    pub fn tensor(&self, name: TensorName) -> Option<Tensor<'_>> {
        self.tensors.get(&name).map(|place| self.at(name, *place))
    }

    /// Every tensor, in the order of [`TensorName`].
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.tensors.iter().map(|(name, place)| self.at(*name, *place))
    }

    /// Width of a head in the rows of a q or k weight; `None` for everything else.
    pub fn rotary_head_dim(&self, module: Module) -> Option<usize> {
        let head_dim = match module {
            Module::Text(..) => self.config.text.head_dim,
            _ => self.config.vision.head_dim,
        };
        module.has_rotary_rows().then_some(head_dim)
    }

    fn at(&self, name: TensorName, place: Place) -> Tensor<'_> {
        let file = &self.files[place.file];
        Tensor {
            checkpoint: self,
            name,
            spelling: place.spelling,
            file,
            info: &file.header().tensors[place.index],
        }
    }

    /// Recognises the tensors of all files.
    fn collect(&mut self, problems: &mut Problems) {
        for (file, shard) in self.files.iter().enumerate() {
            for (index, tensor) in shard.header().tensors.iter().enumerate() {
                let parsed = TensorName::parse(&tensor.name).filter(|(_, spelling)| {
                    (*spelling == Spelling::Native) == (self.format == Format::Mistral)
                });
                let Some((name, spelling)) = parsed else {
                    problems.0.push(unknown(&tensor.name));
                    continue;
                };
                if !tensor.dtype.is_weight() {
                    problems
                        .0
                        .push(format!("`{}` is {}; weights are BF16, F16 or F32", tensor.name, tensor.dtype));
                }
                match self.tensors.entry(name) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(Place { file, index, spelling });
                    }
                    Entry::Occupied(first) => {
                        let first = first.get();
                        let other = &self.files[first.file];
                        problems.0.push(format!(
                            "`{}` in `{}` is the same tensor as `{}` in `{}`",
                            tensor.name,
                            file_name(shard),
                            other.header().tensors[first.index].name,
                            file_name(other),
                        ));
                    }
                }
            }
        }
    }

    /// Brings the configuration in line with the tensors where those decide: a tied head, biases, the width of a head.
    fn settle(&mut self, problems: &mut Problems) {
        let has = |module: Module| self.tensors.contains_key(&module.weight());
        let has_bias = |module: Module| self.tensors.contains_key(&module.bias());
        let said = self.config.said;
        let head = has(Module::Head);
        let mut damage = |text: &str| self.config.notes.push(Note { damage: true, text: text.to_owned() });
        match (said.tied, head) {
            (Some(true), true) => damage(
                "the configuration ties the output to the embedding, and there is a tensor for the output: the two must be equal",
            ),
            (None, false) => {
                damage(
                    "the output has no tensor, and the configuration does not tie it to the embedding: it is treated as tied",
                );
            }
            _ => {}
        }
        self.config.tied = !head && said.tied != Some(false);
        let biases = [Module::ProjectorIn, Module::ProjectorOut].map(has_bias);
        if biases == [true, true] && said.bias == Some(false) {
            damage("the configuration gives the projector no biases, and there are tensors for them");
        }
        match biases {
            [true, true] => self.config.projector.bias = true,
            [false, false] if said.bias != Some(true) => self.config.projector.bias = false,
            _ => self.config.projector.bias = true,
        }
        let ModelConfig { text, vision, .. } = &mut self.config;
        let q_rows = |module: Module| {
            let place = self.tensors.get(&module.weight())?;
            self.files[place.file].header().tensors[place.index].shape.first().copied()
        };
        let from_tensor = |module, heads| {
            let rows = q_rows(module)?;
            let head_dim: usize = rows / heads;
            (rows.is_multiple_of(heads) && head_dim.is_multiple_of(2) && head_dim > 0).then_some(head_dim)
        };
        if said.head_dim.is_none() {
            text.head_dim = from_tensor(Module::Text(0, Part::Q), text.heads).unwrap_or(text.head_dim);
        }
        if said.vision_head_dim.is_none() {
            vision.head_dim =
                from_tensor(Module::Vision(0, Part::Q), vision.heads).unwrap_or(vision.head_dim);
        }
        if vision.head_dim * vision.heads != vision.hidden_size {
            problems.0.push(format!(
                "the vision encoder has {} heads of {}, and a width of {}: no implementation takes these",
                vision.heads, vision.head_dim, vision.hidden_size
            ));
        }
    }

    /// Exactly the tensors of the configuration, each in its shape.
    fn compare(&self, problems: &mut Problems) {
        let expected = expected::tensors(&self.config);
        let spelling = self.format.spelling();
        for (name, shape) in &expected {
            match self.tensor(*name) {
                None => problems.0.push(format!("`{}` is missing", name.path(spelling))),
                Some(tensor) if tensor.shape() != shape => problems.0.push(format!(
                    "`{}` has the shape {:?}, and {:?} follows from the configuration",
                    tensor.info.name,
                    tensor.shape(),
                    shape
                )),
                Some(_) => {}
            }
        }
        let optional = |name: &TensorName| *name == Module::Head.weight();
        for (name, place) in &self.tensors {
            if !expected.contains_key(name) && !optional(name) {
                problems.0.push(unknown(&self.at(*name, *place).info.name));
            }
        }
    }
}

fn unknown(name: &str) -> String {
    let why = if is_quantized(name) { ": these weights are quantized; use the original ones" } else { "" };
    format!("`{name}` is not part of the model{why}")
}

fn file_name(file: &SafetensorsFile) -> String {
    file.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A tensor of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'c> {
    checkpoint: &'c Checkpoint,
    /// Which it is.
    pub name: TensorName,
    /// How its file spells the name.
    pub spelling: Spelling,
    /// The file it is in.
    pub file: &'c SafetensorsFile,
    /// Its entry in the file's header.
    pub info: &'c TensorInfo,
}

impl<'c> Tensor<'c> {
    /// Type of its elements: one of bf16, f16 and f32.
    pub fn dtype(&self) -> Dtype {
        self.info.dtype
    }

    /// Its sides: rows (outputs) first, columns (inputs) second for a linear layer.
    pub fn shape(&self) -> &'c [usize] {
        &self.info.shape
    }

    /// Its bytes as stored, memory-mapped, in the checkpoint's own row order.
    pub fn bytes(&self) -> Result<&'c [u8], SafetensorsError> {
        self.file.bytes(self.info)
    }

    /// Its elements, with the rows of q and k in the order asked for.
    pub fn to_f32(&self, order: RowOrder) -> Result<Vec<f32>, SafetensorsError> {
        let bytes = self.bytes()?;
        let from = self.checkpoint.row_order();
        let permuted = match self.checkpoint.rotary_head_dim(self.name.module) {
            Some(head_dim) if from != order => {
                let mut permuted = vec![0; bytes.len()];
                from.permute(order, head_dim, bytes.len() / self.shape()[0], bytes, &mut permuted);
                Some(permuted)
            }
            _ => None,
        };
        let values = dtype::to_f32(self.dtype(), permuted.as_deref().unwrap_or(bytes));
        Ok(values.expect("a checkpoint only holds bf16, f16 and f32"))
    }
}
