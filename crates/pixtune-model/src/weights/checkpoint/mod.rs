//! A directory with a model in it, opened and checked.

mod complete;
mod dequantize;
mod expected;
mod shards;
mod tensor;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use super::config::{ModelConfig, Note};
use super::error::{Problems, WeightsError};
use super::format::Format;
use super::names::{Module, Part, Spelling, TensorName};
use super::quantized::{Parts, Place, Quantized, Statistic};
use super::rows::RowOrder;
use super::safetensors::SafetensorsFile;

use complete::is_quantized;
pub use shards::parse_index;
pub use tensor::{Reader, Tensor};

/// A model on disk: its configuration, and exactly the tensors that follow from the configuration.
#[derive(Debug)]
pub struct Checkpoint {
    directory: PathBuf,
    format: Format,
    config: ModelConfig,
    files: Vec<SafetensorsFile>,
    tensors: BTreeMap<TensorName, Located>,
}

/// A tensor of the model in the files.
#[derive(Debug, Clone)]
struct Located {
    place: Place,
    spelling: Spelling,
    /// How it is stored, if not as its elements.
    quantized: Option<Quantized>,
}

impl Located {
    fn shape<'l>(&'l self, files: &'l [SafetensorsFile]) -> &'l [usize] {
        match &self.quantized {
            Some(quantized) => &quantized.shape,
            None => &self.place.of(files).info.shape,
        }
    }
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
        let statistics = checkpoint.collect(&mut problems);
        checkpoint.check_complete()?;
        checkpoint.dequantize(statistics)?;
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
        self.tensors.get(&name).map(|located| self.at(name, located))
    }

    /// Every tensor, in the order of [`TensorName`].
    pub fn tensors(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.tensors.iter().map(|(name, located)| self.at(*name, located))
    }

    /// Width of a head in the rows of a q or k weight; `None` for everything else.
    pub fn rotary_head_dim(&self, module: Module) -> Option<usize> {
        let head_dim = match module {
            Module::Text(..) => self.config.text.head_dim,
            _ => self.config.vision.head_dim,
        };
        module.has_rotary_rows().then_some(head_dim)
    }

    fn at<'c>(&'c self, name: TensorName, located: &'c Located) -> Tensor<'c> {
        let quantized = located.quantized.as_ref();
        Tensor::new(self, name, located.spelling, located.place.of(&self.files), quantized)
    }

    /// Recognizes the tensors of all files. Returns the statistics of quantized weights.
    fn collect(&mut self, problems: &mut Problems) -> BTreeMap<TensorName, Parts> {
        let mut statistics: BTreeMap<TensorName, Parts> = BTreeMap::new();
        for (file, shard) in self.files.iter().enumerate() {
            for (index, tensor) in shard.header().tensors.iter().enumerate() {
                let place = Place { file, index };
                if let Some((name, spelling)) = self.parse(&tensor.name) {
                    match self.tensors.entry(name) {
                        Entry::Vacant(vacant) => {
                            vacant.insert(Located { place, spelling, quantized: None });
                        }
                        Entry::Occupied(first) => {
                            problems.0.push(same_tensor(&self.files, first.get().place, place));
                        }
                    }
                    continue;
                }
                let statistic = Statistic::parse(&tensor.name);
                let statistic = statistic.and_then(|(weight, part)| Some((self.parse(&weight)?.0, part)));
                let Some((name, part)) = statistic else {
                    problems.0.push(unknown(&tensor.name));
                    continue;
                };
                if let Some(first) = statistics.entry(name).or_default().insert(part, place) {
                    problems.0.push(same_tensor(&self.files, first, place));
                }
            }
        }
        statistics
    }

    /// The tensor of a name in this format.
    fn parse(&self, name: &str) -> Option<(TensorName, Spelling)> {
        let is_own = |spelling| (spelling == Spelling::Native) == (self.format == Format::Mistral);
        TensorName::parse(name).filter(|(_, spelling)| is_own(*spelling))
    }

    /// Completes the configuration by what the tensors decide: a tied head, biases, the width of a head.
    fn settle(&mut self, problems: &mut Problems) {
        let has = |module: Module| self.tensors.contains_key(&module.weight());
        let has_bias = |module: Module| self.tensors.contains_key(&module.bias());
        let stated = self.config.stated;
        let head = has(Module::Head);
        let mut damage = |text: &str| self.config.notes.push(Note { damage: true, text: text.to_owned() });
        // What `Mistral3Config` has where neither key is there (transformers 5.23.0).
        let ties_by_default = self.format == Format::Hf && self.config.family.merges_patches();
        match (stated.tied, head) {
            (Some(true), true) if ties_by_default => damage(
                "the configuration ties the output to the embedding, and there is a tensor for the output, which is used: vLLM \
                 before 0.26 drops it",
            ),
            (None, false) if ties_by_default => {}
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
        self.config.tied = !head && stated.tied != Some(false);
        let biases = [Module::ProjectorIn, Module::ProjectorOut].map(has_bias);
        if biases == [true, true] && stated.bias == Some(false) {
            damage("the configuration gives the projector no biases, and there are tensors for them");
        }
        match biases {
            [true, true] => self.config.projector.bias = true,
            [false, false] if stated.bias != Some(true) => self.config.projector.bias = false,
            _ => self.config.projector.bias = true,
        }
        let ModelConfig { text, vision, .. } = &mut self.config;
        let q_rows = |module: Module| {
            let located = self.tensors.get(&module.weight())?;
            located.shape(&self.files).first().copied()
        };
        let from_tensor = |module, heads| {
            let rows = q_rows(module)?;
            let head_dim: usize = rows / heads;
            (rows.is_multiple_of(heads) && head_dim.is_multiple_of(2) && head_dim > 0).then_some(head_dim)
        };
        if stated.head_dim.is_none() {
            text.head_dim = from_tensor(Module::Text(0, Part::Q), text.heads).unwrap_or(text.head_dim);
        }
        if stated.vision_head_dim.is_none() {
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
        for (name, located) in &self.tensors {
            if !expected.contains_key(name) && !optional(name) {
                problems.0.push(unknown(&self.at(*name, located).info.name));
            }
        }
    }
}

fn unknown(name: &str) -> String {
    let why = match is_quantized(name) {
        true => ": these weights are quantized in a way that is not supported; use the original ones",
        false => "",
    };
    format!("`{name}` is not part of the model{why}")
}

fn same_tensor(files: &[SafetensorsFile], first: Place, second: Place) -> String {
    let shown = |place: Place| {
        let stored = place.of(files);
        format!("`{}` in `{}`", stored.info.name, file_name(stored.file))
    };
    format!("{} is the same tensor as {}", shown(second), shown(first))
}

fn file_name(file: &SafetensorsFile) -> String {
    file.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
}
