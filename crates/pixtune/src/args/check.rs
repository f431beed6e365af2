//! `pixtune check`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{LintArgs, MeasureArgs, VerifyArg};

/// Report every problem of a fine-tuning file, with its location and a hint
///
/// Reads JSON Lines of `messages` and reports what a trainer, a server or the model cannot process: JSON syntax, keys,
/// roles, tools, images, control tokens, lengths, duplicate samples, and images that are in both the training file and
/// the validation file. For the target `mistral`, a sample has an error if mistral-common 1.13.1 rejects it for
/// fine-tuning, and in a few more cases. `pixtune rules` lists all rules.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune check train.jsonl
  pixtune check prepared                                both files of `prepare`, and what they share
  pixtune check train.jsonl --verify full               decode every image
  pixtune check train.jsonl --target hf --ignore image-alpha,text
  pixtune check train.jsonl --severity unknown-key=warning,text=error
  pixtune check train.jsonl --statistics                count findings per rule
  pixtune check data/*.jsonl --format github            annotations in a pull request

pixtune.toml, beside the data or in a parent directory, sets options for a project:
  [check]
  target = \"mistral\"
  ignore = [\"image-alpha\"]
  severity = { unknown-key = \"warning\" }
  limits = { max-image-bytes = \"20MB\", max-images = 16 }
")]
pub struct CheckArgs {
    /// JSON Lines files, .json files with one array, or directories that `prepare` wrote; - for standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// How deeply to verify images: parse headers and ends, or decode them
    #[arg(long, value_enum, default_value_t = VerifyArg::Header)]
    pub verify: VerifyArg,
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Count findings per rule instead of listing them
    #[arg(long)]
    pub statistics: bool,
    #[command(flatten)]
    pub lint: LintArgs,
    /// Output format: for people, one JSON object per finding, or GitHub annotations
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub format: CheckFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    Human,
    Json,
    Github,
}
