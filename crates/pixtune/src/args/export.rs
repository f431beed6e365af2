//! `pixtune export`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};
use pixtune_core::tokens::SystemPrompt;
use pixtune_export::trainer;

use super::{CountingArgs, TrainingArgs};
use crate::ui::Format;

/// Write a dataset in the layout of a trainer, with a configuration that leaves it as it is
///
/// The output holds the data, a configuration or script for the trainer, a README.md with the commands, a manifest, and
/// rejected.jsonl. The configuration comes from the exact token counts: nothing is truncated, images keep their size, and
/// the loss counts the tokens that `pixtune tokens` reports as trained. A sample that the trainer would train as something
/// else is rejected, with the reason.
///
/// A system prompt goes where mistral-common puts it: at the start of the last user message.
///
/// Exit codes: 0 everything was exported; 1 some samples were rejected; 2 nothing was written.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune export prepared --to trl --out trl
  pixtune export prepared --to llama-factory --model ~/pixtral-12b --method qlora --gpu l40s --out lf
  pixtune export train.jsonl validation.jsonl --to axolotl --out axolotl
  pixtune export prepared --to webdataset --shard-size 500MB --out shards
  pixtune export prepared --to trl --out trl --resume            after a kill or a full disk
")]
pub struct ExportArgs {
    /// Prepared directories or JSON Lines files; the split is in the name of a file
    #[arg(required = true, value_name = "DIR|FILE")]
    pub inputs: Vec<PathBuf>,
    /// Trainer, layout or service to export for
    #[arg(long, value_name = "NAME", value_parser = names())]
    pub to: String,
    /// Output directory
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// Position of system prompts: at the start of the last user message as mistral-common encodes them, or in a system
    /// message, which the trainer may put somewhere else [default: fold; keep in layouts that hold messages as they are]
    #[arg(long, value_enum)]
    pub system: Option<SystemArg>,
    /// Write images whose sides are not multiples of a patch as PNG at the size that the model sees, resized with the
    /// filter of mistral-common; otherwise transformers resizes them with another filter
    #[arg(long)]
    pub resize_to_patches: bool,
    /// Size of a data file [default: 500MB for Parquet, 1GB for WebDataset, 64MiB for MDS]
    #[arg(long, value_name = "SIZE")]
    pub shard_size: Option<String>,
    /// Model that the configuration names: a directory in the format of transformers, or a name on a hub [default: the
    /// directory of --model, or mistral-community/pixtral-12b]
    #[arg(long, value_name = "NAME|DIR")]
    pub base_model: Option<String>,
    #[command(flatten)]
    pub training: TrainingArgs,
    /// Continue an export that was interrupted
    #[arg(long)]
    pub resume: bool,
    /// Replace an export, or discard an unfinished one
    #[arg(long)]
    pub force: bool,
    /// Output format: for people, or one JSON object per line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    #[command(flatten)]
    pub counting: CountingArgs,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(trainer::ALL.iter().map(|trainer| trainer.id))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SystemArg {
    Fold,
    Keep,
}

impl From<SystemArg> for SystemPrompt {
    fn from(system: SystemArg) -> SystemPrompt {
        match system {
            SystemArg::Fold => SystemPrompt::Fold,
            SystemArg::Keep => SystemPrompt::Keep,
        }
    }
}
