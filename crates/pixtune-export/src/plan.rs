//! What to export, and where to.

use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value, list, object, value};
use pixtune_core::tokens::{ChatEncoder, SystemPrompt};
use pixtune_io::image::Limits;
use pixtune_io::manifest::plan_to_json;

use crate::config::Settings;
use crate::source::Source;
use crate::store::{
    Columns, Encode, ImageFiles, LARGEST_SHARD, Lines, Mds, MdsSamples, Numbered, ParquetFiles, ParquetRows,
    Shards, Store, TAR_END, TarMembers,
};
use crate::trainer::{Layout, Trainer};
use pixtune_core::split::GivenSplit;
use pixtune_io::manifest::OutputFile;

/// What to export, and where to.
pub struct ExportPlan<'e> {
    /// The dataset.
    pub source: Source,
    /// What it is exported for.
    pub trainer: &'static Trainer,
    /// Where system prompts stand.
    pub system: SystemPrompt,
    /// Write images at the size that the model sees.
    pub resize_to_patches: bool,
    /// What counts tokens.
    pub encoder: ChatEncoder<'e>,
    /// What the configuration needs to know.
    pub settings: Settings,
    /// How large images may be.
    pub limits: Limits,
    /// The size of a file, unless one sample is larger.
    pub shard_bytes: u64,
    /// The directory to make.
    pub out: PathBuf,
    /// Continue an export that was stopped.
    pub resume: bool,
    /// Replace an export, and discard an unfinished one.
    pub force: bool,
    /// Threads to work on.
    pub threads: usize,
}

/// The size of a file unless another is asked for: what the readers of the layout are used to.
pub fn default_shard_bytes(trainer: &Trainer) -> u64 {
    match trainer.layout {
        Layout::Parts
        | Layout::PromptCompletion
        | Layout::Chats
        | Layout::PartsWithPaths
        | Layout::Placeholders
        | Layout::PlaceholdersAndLoss => 500_000_000,
        Layout::WebDataset => 1_000_000_000,
        Layout::Mds => 64 << 20,
        Layout::Chat => trainer.limits.max_file_bytes,
    }
}

/// The largest size of a file, where the layout has one.
pub fn max_shard_bytes(trainer: &Trainer) -> Option<u64> {
    (trainer.layout == Layout::Mds).then_some(LARGEST_SHARD)
}

impl ExportPlan<'_> {
    /// The options as an object, as they stand in the manifest. No absolute path of the input, which can lie elsewhere when
    /// the same export is made again.
    pub(crate) fn to_value(&self) -> Value<'static> {
        let tokenizer = self.settings.tokenizer_blake3.as_deref();
        value(object(|plan| {
            plan.field("export", self.trainer.id).field("model", self.encoder.spec.id);
            plan.field("base_model", &self.settings.base_model).optional("tokenizer", tokenizer);
            plan.field("system", system_name(self.system)).field("resize_to_patches", self.resize_to_patches);
            plan.field("shard_bytes", self.shard_bytes);
            if let Some(wish) = &self.settings.wish {
                plan.field("method", wish.method.as_str()).field("lora_rank", wish.rank);
                plan.field("gpu", wish.gpu.id);
            }
            if let Some(run) = self.settings.run {
                plan.optional("steps", run.steps).optional("epochs", run.epochs);
                plan.optional("samples_per_step", run.samples_per_step);
                plan.optional("learning_rate", run.learning_rate).optional("weight_decay", run.weight_decay);
                plan.optional("warmup", run.warmup).field("seed", run.seed).field("on_cpu", run.on_cpu);
            }
        }))
    }

    /// What an unfinished export must have in common with this one.
    pub(crate) fn identity(&self) -> String {
        let plan = self.to_value();
        json::document(object(|run| {
            run.field("pixtune", env!("CARGO_PKG_VERSION")).field("plan", plan_to_json(&plan));
            run.field(
                "inputs",
                list(self.source.files.iter().map(|file| {
                    json::spaced(object(|input| {
                        input.field("path", &file.name).field("bytes", file.bytes);
                    }))
                })),
            );
        }))
    }

    /// What makes the pieces of samples.
    pub(crate) fn encode(&self, root: &Path, unfinished: &Path) -> Box<dyn Encode> {
        match self.trainer.layout {
            Layout::Parts | Layout::PromptCompletion | Layout::Chats => {
                Box::new(ParquetRows { images: None })
            }
            Layout::PartsWithPaths | Layout::Placeholders | Layout::PlaceholdersAndLoss => {
                Box::new(ParquetRows { images: Some(ImageFiles::new(root, unfinished)) })
            }
            Layout::Chat => Box::new(Lines::new(pixtune_io::write::writer(self.trainer.target))),
            Layout::WebDataset => Box::new(TarMembers),
            Layout::Mds => Box::new(MdsSamples),
        }
    }

    /// The files of a split, behind those that are finished.
    pub(crate) fn store(&self, root: &Path, split: GivenSplit, done: Vec<OutputFile>) -> Box<dyn Store> {
        let names = |directory: &str, extension, plain_if_alone| Numbered {
            stem: format!("{directory}{}", split.as_str()),
            extension,
            plain_if_alone,
        };
        let size = self.shard_bytes;
        let parquet = |names, columns, done| Box::new(ParquetFiles::new(root, names, columns, size, done));
        // What `datasets` finds by itself is in `data`.
        let (data, beside) = (names("data/", ".parquet", false), names("", ".parquet", true));
        match self.trainer.layout {
            Layout::Parts => parquet(data, Columns::Parts, done),
            Layout::PromptCompletion => parquet(data, Columns::PromptCompletion, done),
            Layout::Chats => parquet(data, Columns::Chats, done),
            Layout::PartsWithPaths => parquet(beside, Columns::PartsWithPaths, done),
            Layout::Placeholders => parquet(beside, Columns::Placeholders, done),
            Layout::PlaceholdersAndLoss => parquet(beside, Columns::PlaceholdersAndLoss, done),
            Layout::Chat => Box::new(Shards::new(root, names("", ".jsonl", true), size, &[], done)),
            Layout::WebDataset => Box::new(Shards::new(root, names("", ".tar", false), size, TAR_END, done)),
            Layout::Mds => Box::new(Mds::new(root, split.as_str(), size, done)),
        }
    }
}

pub(crate) fn system_name(system: SystemPrompt) -> &'static str {
    match system {
        SystemPrompt::Fold => "fold",
        SystemPrompt::Keep => "keep",
    }
}
