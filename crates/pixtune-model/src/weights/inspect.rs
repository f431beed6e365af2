//! What a directory is, whether or not everything in it is right.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::Path;

use pixtune_core::json::Value;

use super::config::{Family, ModelConfig, Note};
use super::convert::{object, text, whole};
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
    /// What the configuration says wrong or leaves to guess.
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
        // Opening says best why there is nothing.
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
            view.parameters += tensor.info.bytes() / tensor.dtype().size() as u64;
            *view.dtypes.entry(tensor.dtype().as_str()).or_default() += 1;
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

    /// Everything as a JSON value.
    pub fn to_value(&self) -> Value<'static> {
        let texts = |all: &[String]| Value::Array(all.iter().map(|entry| text(entry)).collect());
        let note = |note: &Note| object([("damage", Value::Bool(note.damage)), ("text", text(&note.text))]);
        object([
            ("format", text(self.format.as_str())),
            ("family", self.config.as_ref().map_or(Value::Null, |config| text(family(config.family)))),
            ("weights", self.weights.as_ref().map_or(Value::Null, WeightsView::to_value)),
            ("text", self.config.as_ref().map_or(Value::Null, text_value)),
            ("vision", self.config.as_ref().map_or(Value::Null, vision_value)),
            ("projector", self.config.as_ref().map_or(Value::Null, projector_value)),
            ("tied", self.config.as_ref().map_or(Value::Null, |config| Value::Bool(config.tied))),
            ("tokenizers", texts(&self.tokenizers)),
            ("notes", Value::Array(self.notes.iter().map(note).collect())),
            ("problems", texts(&self.problems)),
        ])
    }
}

impl WeightsView {
    fn to_value(&self) -> Value<'static> {
        let dtypes = self.dtypes.iter().map(|(name, count)| ((*name).into(), whole(*count)));
        object([
            ("files", Value::Array(self.files.iter().map(|name| text(name)).collect())),
            ("tensors", whole(self.tensors)),
            ("parameters", whole(self.parameters)),
            ("bytes", whole(self.bytes)),
            ("dtypes", Value::Object(dtypes.collect())),
            ("spelling", Value::Array(self.spellings.iter().map(|name| text(name)).collect())),
        ])
    }
}

/// The name of an architecture for people.
pub fn family(family: Family) -> &'static str {
    match family {
        Family::Pixtral => "Pixtral",
        Family::Mistral3 => "Mistral Small 3.1",
    }
}

fn float(number: f64) -> Value<'static> {
    Value::Number(format!("{number:?}").into())
}

fn text_value(config: &ModelConfig) -> Value<'static> {
    let size = |size: usize| whole(size as u64);
    let config = &config.text;
    object([
        ("hidden_size", size(config.hidden_size)),
        ("intermediate_size", size(config.intermediate_size)),
        ("layers", size(config.layers)),
        ("heads", size(config.heads)),
        ("kv_heads", size(config.kv_heads)),
        ("head_dim", size(config.head_dim)),
        ("vocab_size", size(config.vocab_size)),
        ("norm_eps", float(config.norm_eps)),
        ("rope_theta", float(config.rope_theta)),
        ("max_positions", config.max_positions.map_or(Value::Null, size)),
    ])
}

fn vision_value(config: &ModelConfig) -> Value<'static> {
    let size = |size: usize| whole(size as u64);
    let config = &config.vision;
    object([
        ("hidden_size", size(config.hidden_size)),
        ("intermediate_size", size(config.intermediate_size)),
        ("layers", size(config.layers)),
        ("heads", size(config.heads)),
        ("head_dim", size(config.head_dim)),
        ("channels", size(config.channels)),
        ("image_size", size(config.image_size)),
        ("patch_size", size(config.patch_size)),
        ("rope_theta", float(config.rope_theta)),
    ])
}

fn projector_value(config: &ModelConfig) -> Value<'static> {
    let config = &config.projector;
    object([
        ("bias", Value::Bool(config.bias)),
        ("spatial_merge", whole(config.spatial_merge as u64)),
        ("norm", Value::Bool(config.norm)),
    ])
}
