//! `pixtune convert`.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

use crate::ui::Format;

/// Bring a checkpoint from Mistral's format to Hugging Face's or back, exactly and in little memory
///
/// Pixtral exists in two formats. They differ in the names of tensors, in the order of the rows of queries and keys, in
/// the configuration and in the tokenizer files; a server that is given the wrong one often says nothing and serves the
/// untuned model. SRC is a directory with config.json and model*.safetensors, or with params.json and
/// consolidated*.safetensors. Every tensor is moved bit for bit; memory stays under 100 MB whatever the size.
/// conversion_report.json in DST says what was renamed, moved, synthesized and corrected.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune convert tuned-hf tuned-mistral --to mistral --base Pixtral-12B-2409 --verify
  pixtune convert Pixtral-12B-2409 pixtral-hf --to hf
  pixtune convert merged-f32 merged-bf16 --to hf --dtype bf16      the same format, another type
  pixtune convert sharded single --to hf --shard-size none         the same weights in one file
  pixtune convert --inspect tuned-hf                               what a directory is, and what is wrong with it
")]
pub struct ConvertArgs {
    /// The directory to read
    #[arg(value_name = "SRC", required_unless_present = "inspect")]
    pub source: Option<PathBuf>,
    /// The directory to write
    #[arg(value_name = "DST", required_unless_present = "inspect")]
    pub target: Option<PathBuf>,
    /// The format to write
    #[arg(long, value_enum, required_unless_present = "inspect")]
    pub to: Option<ToArg>,
    /// Tell what a directory is, on one screen, and write nothing
    #[arg(long, value_name = "DIR", conflicts_with_all = ["source", "target", "to", "base", "verify", "untie", "force"])]
    pub inspect: Option<PathBuf>,
    /// A directory of the untuned model: its tokenizer files are copied, other keys of its configuration kept
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    #[command(flatten)]
    pub write: WriteArgs,
}

// How a checkpoint is written, by `convert` and `adapter merge`. No doc comment: it would become the help of both.
#[derive(Debug, Args)]
pub struct WriteArgs {
    /// The type of every tensor; f32 to bf16 rounds to the nearest, ties to even
    #[arg(long, value_enum, default_value_t = DtypeArg::Keep)]
    pub dtype: DtypeArg,
    /// Most bytes of weights in one file, or `none`; 5GB without it for hf, none for mistral, whose own code reads one file
    #[arg(long, value_name = "SIZE")]
    pub shard_size: Option<String>,
    /// Read everything back from the disk and compare every byte before the result gets its name: led back to the source,
    /// or, where weights were changed, with the source led forward
    #[arg(long)]
    pub verify: bool,
    /// Write a tensor for a head that is tied to the embedding: mistral-inference needs one
    #[arg(long)]
    pub untie: bool,
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
}
