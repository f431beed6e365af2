//! `pixtune convert`.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

use crate::ui::Format;

/// Convert a checkpoint between Mistral and Hugging Face formats, or to GGUF
///
/// Pixtral exists in two formats. They differ in tensor names, in the row order of query and key projections, in the
/// configuration and in the tokenizer files; a server that loads the wrong one often serves the untuned model without
/// a warning. SRC is a directory with config.json and model*.safetensors, or with params.json and
/// consolidated*.safetensors. Tensors are converted bit for bit; memory use stays under 100 MB for any size.
/// conversion_report.json in DST lists what was renamed, permuted, synthesized and corrected.
///
/// `--to gguf` writes two files for llama.cpp: the text decoder with its vocabulary, and the vision encoder with the projector
/// (mmproj). Both are needed for images.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune convert tuned-hf tuned-mistral --to mistral --base Pixtral-12B-2409 --verify
  pixtune convert Pixtral-12B-2409 pixtral-hf --to hf
  pixtune convert merged-f32 merged-bf16 --to hf --dtype bf16      cast to another data type
  pixtune convert sharded single --to hf --shard-size none         join the shards into one file
  pixtune convert merged pixtral-gguf --to gguf --dtype q8_0       for llama.cpp
  pixtune convert --inspect tuned-hf                               describe a checkpoint and its problems
")]
pub struct ConvertArgs {
    /// Source directory
    #[arg(value_name = "SRC", required_unless_present = "inspect")]
    pub source: Option<PathBuf>,
    /// Output directory
    #[arg(value_name = "DST", required_unless_present = "inspect")]
    pub target: Option<PathBuf>,
    /// Format of the output
    #[arg(long, value_enum, required_unless_present = "inspect")]
    pub to: Option<ConvertToArg>,
    /// Describe a checkpoint, or GGUF files, without converting them
    #[arg(long, value_name = "DIR|FILE", conflicts_with_all = ["source", "target", "to", "base", "verify", "untie", "force"])]
    pub inspect: Option<PathBuf>,
    /// Directory of the untuned model, for tokenizer files and configuration keys that SRC lacks
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    #[command(flatten)]
    pub write: WriteArgs,
}

// How a checkpoint is written, by `convert` and `adapter merge`. No doc comment: it would become the help of both.
#[derive(Debug, Args)]
pub struct WriteArgs {
    /// Data type of the tensors; f32 to bf16 rounds to nearest, ties to even. q8_0 is for gguf only
    #[arg(long, value_enum, default_value_t = DtypeArg::Keep)]
    pub dtype: DtypeArg,
    /// Maximum size of a weights file, or `none` [default: 5GB for hf; none for mistral, whose code reads one file]
    #[arg(long, value_name = "SIZE")]
    pub shard_size: Option<String>,
    /// Read the output back and compare every byte with the source before the output gets its name
    #[arg(long)]
    pub verify: bool,
    /// Write an output tensor even if it is tied to the embedding, as mistral-inference requires
    #[arg(long)]
    pub untie: bool,
    /// Replace an existing DST that pixtune wrote
    #[arg(long)]
    pub force: bool,
    /// Output format; json prints one object
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConvertToArg {
    /// Hugging Face: config.json, model*.safetensors
    Hf,
    /// Mistral: params.json, consolidated*.safetensors
    Mistral,
    /// llama.cpp and programs around it: NAME-TYPE.gguf, mmproj-NAME-TYPE.gguf
    Gguf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ToArg {
    /// Hugging Face: config.json, model*.safetensors
    Hf,
    /// Mistral: params.json, consolidated*.safetensors
    Mistral,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DtypeArg {
    Keep,
    Bf16,
    F16,
    F32,
    /// Blocks of 32 values with 8 bits each and a scale
    #[value(name = "q8_0")]
    Q8_0,
}
