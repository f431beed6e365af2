//! `pixtune check`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{ChoiceArgs, VerifyArg};

/// Find every problem of a fine-tuning file, with its place and its remedy
///
/// Reads JSON Lines of `messages` and tells everything that a trainer, a server or the model will stumble over: JSON,
/// keys, roles, tools, images, control tokens, lengths, repeated samples, images that stand in the training file
/// and in the validation file. For the target `mistral` a sample has an error exactly when mistral-common 1.13.1
/// refuses it for fine-tuning, and in a few cases more; `pixtune rules` lists them all.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune check train.jsonl
  pixtune check prepared                                the files `prepare` wrote, and what they share
  pixtune check train.jsonl --verify full               every image decoded to the last pixel
  pixtune check train.jsonl --target hf --ignore image-alpha,text
  pixtune check train.jsonl --severity unknown-key=warning,text=error
  pixtune check train.jsonl --statistics                how often each rule is broken
  pixtune check data/*.jsonl --format github            annotations in a pull request

pixtune.toml, beside the data or in a directory above, keeps choices for everyone:
  [check]
  target = \"mistral\"
  ignore = [\"image-alpha\"]
  severity = { unknown-key = \"warning\" }
  limits = { max-image-bytes = \"20MB\", max-images = 16 }
")]
pub struct CheckArgs {
    /// JSON Lines files, a .json file that is one array, or directories that `prepare` wrote; - for standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// How images are looked at: their headers and ends, or decoded to the last pixel
    #[arg(long, value_enum, default_value_t = VerifyArg::Header)]
    pub verify: VerifyArg,
    /// Tell how often each rule is broken instead of every place
    #[arg(long)]
    pub statistics: bool,
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// For people, for machines (one JSON object a finding) or for annotations on GitHub
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub format: CheckFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    Human,
    Json,
    Github,
}
