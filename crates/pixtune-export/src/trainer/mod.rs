//! The trainers and services that an export can be for: what each takes as it is, what is converted, what is rejected.

pub(crate) mod check;
mod list;

use pixtune_core::target::{ImageFormat, Target};
use pixtune_core::tokens::SystemPrompt;

pub use list::ALL;

/// What an export is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trainer {
    /// The name on the command line.
    pub id: &'static str,
    /// The name for people.
    pub name: &'static str,
    /// Versions that were run, as the checks install them; empty if none was.
    pub tested: &'static str,
    /// Its Python distribution.
    pub package: Option<Package>,
    /// What `plan` knows of it.
    pub target: &'static Target,
    /// How samples and images are written.
    pub layout: Layout,
    /// Where system prompts can stand, and what happens to one that is kept.
    pub system: System,
    /// What happens to each feature of a sample.
    pub support: Support,
    /// Names in texts that the trainer replaces although they are no tokens.
    pub placeholders: &'static [&'static str],
    /// The trainer gives one text to a tokenizer of Hugging Face: a special token that is written literally becomes one, and a
    /// system prompt is encoded together with the text behind it.
    pub renders_text: bool,
    /// The export brings the chat template, which has the layout of any version; without it, the trainer's own has that of v3.
    pub own_template: bool,
    /// The id at which the trainer expects `[IMG]`, if it does not ask the tokenizer.
    pub image_token: Option<u32>,
    /// Limits of a service; none for a trainer.
    pub limits: Limits,
    /// What the README of an export says.
    pub guide: Guide,
}

/// Commands for the README of an export, each run in its directory. Empty where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guide {
    /// Installs the versions that were tested.
    pub install: &'static str,
    /// Trains.
    pub run: &'static str,
    /// Continues from a checkpoint.
    pub resume: &'static str,
    /// Evaluates what was trained.
    pub evaluate: &'static str,
    /// Reads the data in Python.
    pub read: &'static str,
    /// Where the adapter is afterwards.
    pub adapter: &'static str,
    /// What else to know, with its source.
    pub notes: &'static [&'static str],
}

impl Guide {
    /// Nothing to say.
    pub const NONE: Guide =
        Guide { install: "", run: "", resume: "", evaluate: "", read: "", adapter: "", notes: &[] };
}

/// A Python distribution and the versions with which exports were tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// The beginning of the tested versions: `1.16` for 1.16.0 and 1.16.1.
    pub tested: &'static str,
}

/// How samples and images are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Parquet with the columns `messages`, of rendered parts, and `images`.
    Parts,
    /// Parquet with the columns `prompt`, `completion` and `images`, of rendered parts.
    PromptCompletion,
    /// Parquet with the column `messages`, of rendered parts, and images as files.
    PartsWithPaths,
    /// Parquet with the columns `messages`, as they were read, `images` and `tools`.
    Chats,
    /// Parquet with `<image>` in the text, and images as files.
    Placeholders,
    /// The same, with a key `loss` at each message.
    PlaceholdersAndLoss,
    /// JSON Lines of chats; images are data URIs.
    Chat,
    /// Tar files.
    WebDataset,
    /// Shards of mosaicml-streaming.
    Mds,
}

impl Layout {
    /// Whether there is a configuration beside the data.
    pub fn is_configured(self) -> bool {
        !matches!(self, Layout::Chats | Layout::Chat | Layout::WebDataset | Layout::Mds)
    }
}

/// Where system prompts can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// The trainer encodes a system message somewhere else than the reference: where.
    Elsewhere(&'static str),
    /// It encodes a system message as the reference does, or it is no trainer.
    AsTheReference,
    /// It drops system messages.
    Drops(&'static str),
}

impl System {
    /// Where the prompt stands unless something else is asked for.
    pub fn default_place(self) -> SystemPrompt {
        match self {
            System::AsTheReference => SystemPrompt::Keep,
            System::Elsewhere(_) | System::Drops(_) => SystemPrompt::Fold,
        }
    }
}

/// What happens to a feature of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// It is trained as the reference encodes it.
    Kept,
    /// The same, after a conversion: which one.
    Converted(&'static str),
    /// It is rejected, for this reason.
    Rejected(&'static str),
}

/// What happens to each feature of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// Tools, tool calls and their results.
    pub tools: Feature,
    /// Responses with `weight` 0 beside responses that are trained.
    pub weights: Feature,
    /// A response before the last one that is trained.
    pub earlier_responses: Feature,
    /// Samples without images.
    pub text_only: Feature,
    /// Several images in a sample.
    pub several_images: Feature,
}

/// Limits of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Formats that it takes; empty for all.
    pub formats: &'static [ImageFormat],
    /// Images per sample.
    pub max_images: usize,
    /// Bytes per image.
    pub max_image_bytes: u64,
    /// Bytes per file.
    pub max_file_bytes: u64,
    /// Samples per file, at least.
    pub min_samples: u64,
    /// Samples per file, at most.
    pub max_samples: u64,
}

impl Limits {
    /// No limit is known.
    pub const NONE: Limits = Limits {
        formats: &[],
        max_images: usize::MAX,
        max_image_bytes: u64::MAX,
        max_file_bytes: u64::MAX,
        min_samples: 1,
        max_samples: u64::MAX,
    };
}

impl Trainer {
    /// The trainer with this name on the command line.
    pub fn find(id: &str) -> Option<&'static Trainer> {
        ALL.iter().copied().find(|trainer| trainer.id == id)
    }
}
