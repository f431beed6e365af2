//! A model's sizes and constants, read from `config.json` (Hugging Face) or `params.json` (Mistral).

mod hf;
mod keys;
mod native;
mod quantization;
mod spec;
mod write;
mod yarn;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};

use super::{Dtype, Format, Substitute};
pub(crate) use quantization::Quantization;
pub use write::{Synthesized, WrittenConfig, write};
pub use yarn::{Magnitude, QueryScaling, Yarn};

/// What both configuration files state about a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Which of the architectures of the family it is.
    pub family: Family,
    /// The text decoder.
    pub text: TextConfig,
    /// The vision encoder.
    pub vision: VisionConfig,
    /// The projector between them.
    pub projector: ProjectorConfig,
    /// Whether the projection to the vocabulary is the embedding; no tensor is stored for it then.
    pub tied: bool,
    /// The token that represents a patch.
    pub image_token: u32,
    /// What the file states wrongly or does not state.
    pub notes: Vec<Note>,
    /// The data type of the weights, where the file names one that weights are computed with.
    pub(crate) dtype: Option<Dtype>,
    /// Keys that declare the weights quantized, with the method they name; the tensors show whether they are.
    pub(crate) quantization: Vec<Quantization>,
    /// What the file states where tensors decide if they are present.
    pub(super) stated: Stated,
    /// The file as it was, for keys that are passed through.
    pub(crate) source: Value<'static>,
}

impl Family {
    /// Whether images are patches that are merged before the projector.
    pub fn merges_patches(self) -> bool {
        self != Family::Pixtral
    }
}

impl ModelConfig {
    /// An error if a format has no keys for what the model is. `directory` is where its configuration was read.
    pub(crate) fn check_expressible(
        &self,
        directory: &Path,
        from: Format,
        to: Format,
    ) -> Result<(), ConfigError> {
        match yarn::inexpressible(&self.text, to == Format::Mistral) {
            Some(what) if from != to => {
                let path = directory.join(from.config_file());
                Err(ConfigError::Inexpressible { path, to: to.config_file(), what })
            }
            _ => Ok(()),
        }
    }

    /// The notes as warnings. Damaged values are read as Pixtral's; a program that uses them computes something else.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.notes.iter().map(|note| {
            let damaged = if note.damage { "damaged configuration: " } else { "" };
            format!("{damaged}{}", note.text)
        })
    }
}

/// An architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Pixtral 12B and Large: `LlavaForConditionalGeneration`.
    Pixtral,
    /// Mistral Small 3.1 and 3.2 and Magistral Small: `Mistral3ForConditionalGeneration`, which merges patches.
    Mistral3,
    /// Ministral 3: the same with a decoder of the type `ministral3`, which has other positions.
    Ministral3,
}

/// Sizes of the text decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward.
    pub intermediate_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Width of a head; not always `hidden_size / heads`.
    pub head_dim: usize,
    /// Tokens of the vocabulary.
    pub vocab_size: usize,
    /// Added to the mean square inside each norm.
    pub norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched; Ministral 3.
    pub yarn: Option<Yarn>,
    /// How queries grow with their position; Ministral 3.
    pub query_scaling: Option<QueryScaling>,
    /// Longest text the file claims, where it claims one.
    pub max_positions: Option<usize>,
}

/// Sizes of the vision encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward.
    pub intermediate_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Heads, the same for queries, keys and values.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Colors of a pixel.
    pub channels: usize,
    /// Longest side of an image in pixels.
    pub image_size: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Added to the mean square inside each norm. No file states it: 1e-5 is written into transformers 5.23.0
    /// `modeling_pixtral.py`, mistral-inference `vision_encoder.py` and vLLM 0.33 `pixtral.py`.
    pub norm_eps: f64,
}

/// The projector between vision and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectorConfig {
    /// Whether its two linear layers have biases.
    pub bias: bool,
    /// Patches on a side that become one; 1 where none are merged and there is no patch merger.
    pub spatial_merge: usize,
    /// Whether there is a norm before it.
    pub norm: bool,
}

/// Something that a configuration file states wrongly or does not state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether programs that read the file compute something else than the model; otherwise it is a remark.
    pub damage: bool,
    /// What, in a sentence.
    pub text: String,
}

/// Statements that give way to the tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stated {
    pub tied: Option<bool>,
    pub bias: Option<bool>,
    pub head_dim: Option<usize>,
    pub vision_head_dim: Option<usize>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not JSON.
    #[error("`{}` is not JSON: {source}", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: json::SyntaxError,
    },
    /// It is another kind of file.
    #[error("`{}` is {found}, not JSON", path.display())]
    Other {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: Substitute,
    },
    /// A key that has no default is not there.
    #[error("`{}` has no `{key}`", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
    },
    /// A key has a value that cannot be.
    #[error("in `{}`, `{key}` is {found}; it must be {wants}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// The value found.
        found: String,
        /// What should.
        wants: String,
    },
    /// The other format has no keys for what the model is.
    #[error("`{}` cannot be written as {to}: {what}", path.display())]
    Inexpressible {
        /// Which file.
        path: PathBuf,
        /// The file of the other format.
        to: &'static str,
        /// What has no key.
        what: String,
    },
    /// The model is of a kind that pixtune does not handle.
    #[error("`{}` is of a model that pixtune does not support: {what}", path.display())]
    Unsupported {
        /// Which file.
        path: PathBuf,
        /// What about it.
        what: String,
    },
}

/// Larger configuration files are refused.
const MAX_FILE: u64 = 16 << 20;

impl ModelConfig {
    /// Reads `config.json` or `params.json` of a directory.
    pub fn read(directory: &Path, format: Format) -> Result<ModelConfig, ConfigError> {
        let path = directory.join(format.config_file());
        let source = read_json(&path)?;
        match format {
            Format::Hf => hf::read(&path, source),
            Format::Mistral => native::read(&path, source),
        }
    }
}

/// A small JSON file that holds an object.
pub(crate) fn read_json(path: &Path) -> Result<Value<'static>, ConfigError> {
    read_json_within(path, MAX_FILE)
}

/// A JSON file of at most `limit` bytes that holds an object.
pub(crate) fn read_json_within(path: &Path, limit: u64) -> Result<Value<'static>, ConfigError> {
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > limit {
        let reason = format!("it has more than {} MB", limit >> 20);
        return Err(io(io::Error::new(io::ErrorKind::InvalidData, reason)));
    }
    let parsed = json::parse(&text).map_err(|source| {
        match Substitute::of_bytes(text.as_bytes(), text.len() as u64) {
            Some(found @ (Substitute::LfsPointer { .. } | Substitute::WebPage)) => {
                ConfigError::Other { path: path.to_owned(), found }
            }
            _ => ConfigError::Json { path: path.to_owned(), source },
        }
    })?;
    let parsed = parsed.value;
    if parsed.as_object().is_none() {
        return Err(ConfigError::Value {
            path: path.to_owned(),
            key: "/".to_owned(),
            found: parsed.kind().to_owned(),
            wants: "an object".to_owned(),
        });
    }
    Ok(parsed.into_owned())
}

/// The data type that `dtype` or `torch_dtype` names, at the top or for the text decoder.
fn named_dtype(source: &Value<'_>) -> Option<Dtype> {
    let areas = [Some(source), source.get("text_config")].into_iter().flatten();
    let named = |area: &Value<'_>| {
        let name =
            ["dtype", "torch_dtype"].iter().find_map(|key| area.get(key)?.as_str().map(str::to_owned))?;
        Dtype::ALL.into_iter().find(|dtype| dtype.is_weight() && dtype.torch_name() == name)
    };
    areas.filter_map(named).next()
}

/// The relations between sizes that both formats demand.
fn check(config: &ModelConfig, keys: &keys::Keys<'_>) -> Result<(), ConfigError> {
    let ModelConfig { text, vision, .. } = config;
    if !text.heads.is_multiple_of(text.kv_heads) {
        let heads = text.heads;
        return Err(keys.wrong("kv heads", text.kv_heads, format!("a divisor of the {heads} heads")));
    }
    for (name, head_dim) in [("head_dim", text.head_dim), ("head_dim of the vision encoder", vision.head_dim)]
    {
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(keys.wrong(name, head_dim, "an even number"));
        }
    }
    if !vision.head_dim.is_multiple_of(4) {
        return Err(keys.wrong(
            "head_dim of the vision encoder",
            vision.head_dim,
            "a multiple of four, because half of it rotates by the row and half by the column",
        ));
    }
    Ok(())
}
