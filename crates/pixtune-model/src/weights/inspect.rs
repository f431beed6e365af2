//! What a directory is, whether or not everything in it is right.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::Path;

use pixtune_core::json::{Slot, ToJson, list, members, raw};

use super::config::{
    Family, ModelConfig, Note, ProjectorConfig, QueryScaling, TextConfig, VisionConfig, Yarn,
};
use super::names::Spelling;
use super::{Checkpoint, Format, WeightsError};

/// What is known about one format of a directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The format.
    pub format: Format,
    /// The configuration, where it could be read.
    pub config: Option<ModelConfig>,
    /// The weights, where they match it.
    pub weights: Option<WeightsView>,
    /// Tokenizer files that are there.
    pub tokenizers: Vec<String>,
    /// What the configuration states wrongly or does not state.
    pub notes: Vec<Note>,
    /// What keeps the directory from being used.
    pub problems: Vec<String>,
}

/// Weights in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsView {
    /// Names of the files.
    pub files: Vec<String>,
    /// How many tensors.
    pub tensors: u64,
    /// How many elements.
    pub parameters: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Tensors of each type.
    pub dtypes: BTreeMap<&'static str, u64>,
    /// How names are spelled.
    pub spellings: Vec<&'static str>,
}

/// Looks at every format a directory holds weights of; at least one.
pub fn inspect(directory: &Path) -> Result<Vec<Inspection>, WeightsError> {
    let mut formats = Checkpoint::formats(directory)?;
    if formats.is_empty() {
        let configured = |format: &Format| directory.join(format.config_file()).is_file();
        formats = [Format::Hf, Format::Mistral].into_iter().filter(configured).collect();
    }
    if formats.is_empty() {
        // The error of opening explains why there is nothing.
        Checkpoint::open(directory)?;
    }
    let both = formats.len() > 1;
    let mut all: Vec<Inspection> = formats.into_iter().map(|format| inspect_as(directory, format)).collect();
    if both {
        let text = "the directory holds both formats: vLLM loads consolidated*.safetensors, transformers model*.safetensors";
        all.iter_mut().for_each(|view| view.problems.push(text.to_owned()));
    }
    Ok(all)
}

fn inspect_as(directory: &Path, format: Format) -> Inspection {
    let mut problems = Vec::new();
    let (config, weights) = match Checkpoint::open_as(directory, format) {
        Ok(checkpoint) => (Some(checkpoint.config().clone()), Some(WeightsView::of(&checkpoint))),
        Err(error) => {
            problems.push(with_cause(&error));
            (ModelConfig::read(directory, format).ok(), None)
        }
    };
    let names = ["tekken.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
    let mut tokenizers: Vec<String> =
        names.iter().filter(|name| directory.join(name).is_file()).map(ToString::to_string).collect();
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut models: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("tokenizer.model"))
        .collect();
    models.sort();
    tokenizers.extend(models);
    let needed = match format {
        Format::Hf => ["tokenizer.json", "tokenizer.model"],
        Format::Mistral => ["tekken.json", "tokenizer.model"],
    };
    let mut notes = config.as_ref().map(|config| config.notes.clone()).unwrap_or_default();
    if !tokenizers.iter().any(|name| needed.iter().any(|needed| name.starts_with(needed))) {
        let text = format!("there is no {}, which servers of this format need", needed[0]);
        notes.push(Note { damage: false, text });
    }
    Inspection { format, config, weights, tokenizers, notes, problems }
}

fn with_cause(error: &WeightsError) -> String {
    let text = error.to_string();
    match error.source().map(ToString::to_string) {
        Some(cause) if !text.ends_with(&cause) => format!("{text}: {cause}"),
        _ => text,
    }
}

impl WeightsView {
    fn of(checkpoint: &Checkpoint) -> WeightsView {
        let mut view = WeightsView {
            files: Vec::new(),
            tensors: 0,
            parameters: 0,
            bytes: 0,
            dtypes: BTreeMap::new(),
            spellings: Vec::new(),
        };
        for file in checkpoint.files() {
            view.files.push(file.path().file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
        for tensor in checkpoint.tensors() {
            view.tensors += 1;
            view.bytes += tensor.info.bytes();
            view.parameters += tensor.length() / tensor.dtype().size() as u64;
            *view.dtypes.entry(tensor.info.dtype.as_str()).or_default() += 1;
            let spelling = match tensor.spelling {
                Spelling::Native => "mistral",
                Spelling::Disk => "language_model.model",
                Spelling::Live => "model.language_model",
            };
            if !view.spellings.contains(&spelling) {
                view.spellings.push(spelling);
            }
        }
        view
    }
}

impl Inspection {
    /// Whether something is wrong with the directory.
    pub fn is_damaged(&self) -> bool {
        !self.problems.is_empty() || self.notes.iter().any(|note| note.damage)
    }
}

impl ToJson for &Inspection {
    fn write_json(self, slot: Slot<'_>) {
        let config = self.config.as_ref();
        slot.object(|view| {
            view.field("format", self.format.as_str());
            view.field("family", config.map(|config| family(config.family)));
            view.field("weights", self.weights.as_ref());
            view.field("text", config.map(|config| &config.text));
            view.field("vision", config.map(|config| &config.vision));
            view.field("projector", config.map(|config| &config.projector));
            view.field("tied", config.map(|config| config.tied));
            view.field("tokenizers", list(&self.tokenizers));
            view.field("notes", list(&self.notes)).field("problems", list(&self.problems));
        });
    }
}

impl ToJson for &WeightsView {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|view| {
            view.field("files", list(&self.files)).field("tensors", self.tensors);
            view.field("parameters", self.parameters).field("bytes", self.bytes);
            view.field("dtypes", members(&self.dtypes)).field("spelling", list(&self.spellings));
        });
    }
}

impl ToJson for &Note {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|note| {
            note.field("damage", self.damage).field("text", &self.text);
        });
    }
}

impl ToJson for &TextConfig {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|text| {
            text.field("hidden_size", self.hidden_size).field("intermediate_size", self.intermediate_size);
            text.field("layers", self.layers).field("heads", self.heads).field("kv_heads", self.kv_heads);
            text.field("head_dim", self.head_dim).field("vocab_size", self.vocab_size);
            text.field("norm_eps", raw(&float(self.norm_eps)));
            text.field("rope_theta", raw(&float(self.rope_theta)));
            if let Some(yarn) = &self.yarn {
                text.field("yarn", yarn);
                text.field("query_scaling", self.query_scaling.as_ref());
            }
            text.field("max_positions", self.max_positions);
        });
    }
}

impl ToJson for &Yarn {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|yarn| {
            yarn.field("factor", raw(&float(self.factor)));
            yarn.field("original_positions", self.original_positions);
            yarn.field("beta_fast", raw(&float(self.beta_fast)));
            yarn.field("beta_slow", raw(&float(self.beta_slow)));
            yarn.field("attention_factor", raw(&float(self.attention_factor())));
        });
    }
}

impl ToJson for &QueryScaling {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|scaling| {
            scaling.field("beta", raw(&float(self.beta)));
            scaling.field("original_positions", self.original_positions);
        });
    }
}

impl ToJson for &VisionConfig {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|vision| {
            vision.field("hidden_size", self.hidden_size).field("intermediate_size", self.intermediate_size);
            vision.field("layers", self.layers).field("heads", self.heads).field("head_dim", self.head_dim);
            vision.field("channels", self.channels).field("image_size", self.image_size);
            vision.field("patch_size", self.patch_size).field("rope_theta", raw(&float(self.rope_theta)));
        });
    }
}

impl ToJson for &ProjectorConfig {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|projector| {
            projector.field("bias", self.bias).field("spatial_merge", self.spatial_merge);
            projector.field("norm", self.norm);
        });
    }
}

fn float(number: f64) -> String {
    format!("{number:?}")
}

/// The name of an architecture in messages.
pub fn family(family: Family) -> &'static str {
    match family {
        Family::Pixtral => "Pixtral",
        Family::Mistral3 => "Mistral Small 3",
        Family::Ministral3 => "Ministral 3",
    }
}
