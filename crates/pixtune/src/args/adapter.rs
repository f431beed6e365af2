//! `pixtune adapter`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use pixtune_model::adapter::check::ServerInVersion;

use super::{DtypeArg, ToArg, WriteArgs};
use crate::ui::Format;

/// Check, convert and merge LoRA adapters
///
/// Adapters for Pixtral come in four dialects, which differ in the names of modules, in the row order of query and
/// key projections, and in where the scaling is stored. Most servers ignore an adapter in another dialect without a
/// warning and answer with the untuned model.
#[derive(Debug, Parser)]
pub struct AdapterArgs {
    #[command(subcommand)]
    pub command: AdapterCommand,
}

#[derive(Debug, Subcommand)]
pub enum AdapterCommand {
    Check(AdapterCheckArgs),
    Convert(AdapterConvertArgs),
    Merge(AdapterMergeArgs),
}

/// Check which modules of an adapter a server applies
///
/// Prints a verdict per module (applied, ignored, wrong or rejected) with the reason and with the source file or the
/// measurement that shows it. Exit code 0 means that the server applies every module.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune adapter check tuned/adapter --base Pixtral-12B-2409 --server vllm-mistral
  pixtune adapter check tuned/adapter --base pixtral-hf --server vllm-hf --enable-tower-connector-lora
  pixtune adapter check tuned/adapter --base pixtral-hf --server transformers --format json | jq .verdict
")]
pub struct AdapterCheckArgs {
    /// Adapter directory or .safetensors file
    pub adapter: PathBuf,
    /// Directory of the base model, in either format
    #[arg(long, value_name = "DIR")]
    pub base: PathBuf,
    /// Server that loads the adapter: vllm-hf (config.json and model*.safetensors), vllm-mistral (params.json and
    /// consolidated*.safetensors), mistral-inference, transformers (5), transformers-4.57 (4.52 to 4.57), transformers-legacy
    /// (before 4.52), llama.cpp (the adapter in a GGUF file). Its version decides in `vllm-hf@0.32`; without one, the newest known is assumed
    #[arg(long, value_name = "SERVER[@VERSION]")]
    pub server: ServerInVersion,
    /// Assume that vLLM runs with this option
    #[arg(long)]
    pub enable_tower_connector_lora: bool,
    /// Assume that vLLM runs with this option, one of 1, 8, 16, 32, 64, 128, 256, 320 and 512
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub max_lora_rank: usize,
    /// Dialect of the adapter [default: detected by its tensor names]
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub from: Option<FromArg>,
    /// Output format; json prints an object per module, then one for all
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Convert an adapter to another dialect
///
/// Copies A, permutes the rows of B where the dialects order them differently, and folds the scaling into B where the
/// dialect does not store it: multiplied exactly, rounded once, with the largest relative error in the report. An
/// adapter that the dialect cannot express is refused with the reason. SRC may also be what trainers leave behind: a
/// pickled adapter_model.bin, which is read without executing it, a file or the shards of a whole wrapped model
/// (pytorch_model, model) with adapter_config.json beside it, or an adapter of MLX.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune adapter convert tuned/adapter served --to vllm-consolidated --base Pixtral-12B-2409
  pixtune adapter convert tuned/adapter served --to mistral --base Pixtral-12B-2409
  pixtune adapter convert tuned/adapter served --to gguf --base pixtral-hf
  pixtune adapter convert old-adapter new-adapter --to peft --base pixtral-hf
  pixtune adapter convert run/checkpoint-500 adapter --to peft --base pixtral-hf    from a distributed run
")]
pub struct AdapterConvertArgs {
    /// Adapter directory or .safetensors file
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    /// Output directory
    #[arg(value_name = "DST")]
    pub target: PathBuf,
    /// Dialect of the output
    #[arg(long, value_enum)]
    pub to: DialectArg,
    /// Directory of the base model, in either format
    #[arg(long, value_name = "DIR")]
    pub base: PathBuf,
    /// Dialect of the adapter [default: detected by its tensor names]
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub from: Option<FromArg>,
    /// Convert although weights beside the adapter, which were trained with it, are not applied
    #[arg(long)]
    pub ignore_other_weights: bool,
    /// Data type of the tensors [default: unchanged; for mistral that of the base, which mistral-inference requires]
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeArg>,
    /// Replace an existing DST that pixtune wrote
    #[arg(long)]
    pub force: bool,
    /// Output format; json prints one object
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Merge an adapter into its base model
///
/// Every weight becomes W + scaling·B·A, computed in f32 and rounded once to the data type of the output. The base is
/// read once and the result written once, in either format; memory use stays under 100 MB up to rank 256. DoRA,
/// modules_to_save, embeddings, single tokens and the output layer are merged too. A base in NF4, FP4 or FP8 is
/// dequantized; with --base the adapter is merged into the original weights instead, which is more exact.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune adapter merge Pixtral-12B-2409 tuned/adapter merged
  pixtune adapter merge pixtral-hf tuned/adapter merged --to mistral
  pixtune adapter merge pixtral-hf tuned/adapter merged --dtype f32
  pixtune adapter merge pixtral-nf4 tuned/adapter merged --base pixtral-hf      after QLoRA
")]
pub struct AdapterMergeArgs {
    /// Directory of the base model, in either format
    pub base: PathBuf,
    /// Adapter directory or .safetensors file
    pub adapter: PathBuf,
    /// Output directory
    #[arg(value_name = "DST")]
    pub target: PathBuf,
    /// Format of the output [default: that of the base]
    #[arg(long, value_enum)]
    pub to: Option<ToArg>,
    /// Dialect of the adapter [default: detected by its tensor names]
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub from: Option<FromArg>,
    /// Original model of a quantized base: merge into its weights, and measure how far the quantized ones are from them
    #[arg(long = "base", value_name = "DIR")]
    pub original: Option<PathBuf>,
    /// Merge although weights beside the adapter, which were trained with it, are not applied
    #[arg(long)]
    pub ignore_other_weights: bool,
    #[command(flatten)]
    pub write: WriteArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DialectArg {
    /// peft with transformers 4.52 and later
    Peft,
    /// peft with transformers before 4.52
    PeftLegacy,
    /// lora.safetensors for mistral-inference
    Mistral,
    /// peft's files for vLLM with consolidated weights
    VllmConsolidated,
    /// adapters.safetensors for mlx-lm, text decoder only
    Mlx,
    /// adapter.gguf for llama.cpp, text decoder only
    Gguf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FromArg {
    Peft,
    PeftLegacy,
    /// peft, trained on the text decoder alone
    PeftTextOnly,
    Mistral,
    VllmConsolidated,
}
