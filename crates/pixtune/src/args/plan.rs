//! `pixtune plan`.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use pixtune_export::trainer;

use super::{CountingArgs, TrainingArgs};
use crate::ui::Format;

/// Estimate training on a dataset: steps, learning rate, memory, time, and compatible trainers
///
/// Counts the tokens of every sample, then computes the steps for 2 to 4 epochs, batch size, learning rate and warmup, the
/// largest micro-batch that fits in memory with the formula of each part, a time range, and for each trainer whether it
/// accepts the data as it is. Every number is marked as computed, published (with its source) or a guess (with its
/// reason).
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune plan prepared
  pixtune plan prepared --gpu a100-40gb
  pixtune plan prepared --gpu rtx4090-24gb --method qlora
  pixtune plan prepared --vram 16GiB --method qlora --format json
  pixtune plan prepared --train-full projector
  pixtune plan prepared --emit llama-factory > sft.yaml
")]
pub struct PlanArgs {
    /// Prepared directories or JSON Lines files
    #[arg(required = true, value_name = "DIR|FILE")]
    pub inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub training: TrainingArgs,
    /// Parts of the model to train as whole tensors beside LoRA: projector, vision, or both
    #[arg(long, value_name = "LIST", conflicts_with = "emit")]
    pub train_full: Option<String>,
    /// Print only the configuration of a trainer, as `pixtune export` writes it
    #[arg(long, value_name = "NAME", conflicts_with = "format", value_parser = trainers())]
    pub emit: Option<String>,
    /// Model that the configuration names [default: the directory of --model, or mistral-community/pixtral-12b]
    #[arg(long, value_name = "NAME|DIR", requires = "emit")]
    pub base_model: Option<String>,
    /// Output format: for people, or one JSON object
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    #[command(flatten)]
    pub counting: CountingArgs,
}

/// The trainers that `pixtune export` writes a configuration for.
fn trainers() -> PossibleValuesParser {
    PossibleValuesParser::new(
        trainer::ALL.iter().filter(|trainer| trainer.renders_text).map(|trainer| trainer.id),
    )
}
