//! `pixtune adapter`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::{DtypeArg, ToArg, WriteArgs};
use crate::ui::Format;

/// Bring a LoRA adapter to where it is served: its dialect, its scaling, its rows; or merge it
///
/// Adapters for Pixtral come in four dialects, which differ in the names of modules, in the order of the rows of
/// queries and keys, and in where the scaling stands. A server that is given another one than its own mostly says
/// nothing and answers with the untuned model.
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

/// Tell for every module of an adapter whether a server applies it, and if not, why
///
/// Every rule names the source file it was read in or the run it was measured in. Exit code 0 means that the server
/// computes what was trained, in full.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune adapter check tuned/adapter --base Pixtral-12B-2409 --server vllm-mistral
  pixtune adapter check tuned/adapter --base pixtral-hf --server vllm-hf --enable-tower-connector-lora
  pixtune adapter check tuned/adapter --base pixtral-hf --server transformers --format json | jq .verdict
")]
pub struct AdapterCheckArgs {
    /// The directory of the adapter, or its .safetensors file
    pub adapter: PathBuf,
    /// The directory of the model it was trained on, in either format
    #[arg(long, value_name = "DIR")]
    pub base: PathBuf,
    /// Where it is to be served
    #[arg(long, value_enum)]
    pub server: ServerArg,
    /// vLLM is started with this option
    #[arg(long)]
    pub enable_tower_connector_lora: bool,
    /// vLLM is started with this option
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub max_lora_rank: usize,
    /// The dialect of the adapter, where names do not tell it
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub from: Option<FromArg>,
    /// For people or for machines (one JSON object a module, then one of all)
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Write an adapter in another dialect
///
/// A is copied, the rows of B are moved where the dialect orders them otherwise, and the scaling is folded into B where
/// the dialect has none of its own: multiplied exactly, rounded once, and the largest relative error told. What a
/// dialect cannot express is refused with the reason.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune adapter convert tuned/adapter served --to vllm-consolidated --base Pixtral-12B-2409
  pixtune adapter convert tuned/adapter served --to mistral --base Pixtral-12B-2409
  pixtune adapter convert old-adapter new-adapter --to peft --base pixtral-hf
")]
pub struct AdapterConvertArgs {
    /// The directory of the adapter, or its .safetensors file
    #[arg(value_name = "SRC")]
    pub source: PathBuf,
    /// The directory to write
    #[arg(value_name = "DST")]
    pub target: PathBuf,
    /// The dialect to write
    #[arg(long, value_enum)]
    pub to: DialectArg,
    /// The directory of the model it was trained on, in either format
    #[arg(long, value_name = "DIR")]
    pub base: PathBuf,
    /// The dialect of the adapter, where names do not tell it
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub from: Option<FromArg>,
    /// The type of every tensor; without it they keep theirs, and for mistral take that of the base, as
    /// mistral-inference demands
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeArg>,
    /// Replace DST if pixtune wrote it
    #[arg(long)]
    pub force: bool,
    /// Only errors and the result
    #[arg(long, short)]
    pub quiet: bool,
    /// For people or for machines (one JSON object)
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Merge an adapter into its base, in either format
///
/// Every weight becomes W + scaling·B·A, computed in f32 and rounded once to the type it is stored in. The base is
/// read once and the result written once, converted to the other format on the way if asked for; memory stays under
/// 100 MB up to rank 256. DoRA, modules_to_save, embeddings and the output layer are merged too.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune adapter merge Pixtral-12B-2409 tuned/adapter merged
  pixtune adapter merge pixtral-hf tuned/adapter merged --to mistral
  pixtune adapter merge pixtral-hf tuned/adapter merged --dtype f32
")]
pub struct AdapterMergeArgs {
    /// The directory of the model the adapter was trained on, in either format
    pub base: PathBuf,
    /// The directory of the adapter, or its .safetensors file
    pub adapter: PathBuf,
    /// The directory to write
    #[arg(value_name = "DST")]
    pub target: PathBuf,
    /// The format to write; that of the base without it
    #[arg(long, value_enum)]
    pub to: Option<ToArg>,
    /// The dialect of the adapter, where names do not tell it
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub from: Option<FromArg>,
    #[command(flatten)]
    pub write: WriteArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServerArg {
    /// vLLM with config.json and model*.safetensors
    VllmHf,
    /// vLLM with params.json and consolidated*.safetensors
    VllmMistral,
    /// Mistral's own
    MistralInference,
    /// transformers 5 with peft
    Transformers,
    /// transformers 4.52 to 4.57 with peft
    #[value(name = "transformers-4.57")]
    Transformers457,
    /// transformers before 4.52 with peft
    TransformersLegacy,
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
