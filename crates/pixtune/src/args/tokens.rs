//! `pixtune tokens`.

use std::path::PathBuf;

use clap::Parser;

use crate::ui::Format;

/// Count the tokens of each sample exactly as the model's tokenizer does
///
/// Encodes every line of a JSON Lines file as mistral-common 1.13.1 does for fine-tuning, and prints the number of tokens,
/// image tokens and trained tokens. Lines that mistral-common rejects are reported with the reason. No sample is
/// truncated. Image sizes are read from the headers.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune tokens prepared                            both files of `prepare`
  pixtune tokens prepared/train.jsonl
  pixtune tokens prepared/train.jsonl --format json | jq .tokens
  pixtune tokens prepared/train.jsonl --ids          token ids and runs of [trained, length]
  pixtune tokens --image 3000x2000
  pixtune tokens --image 3000x2000 --model mistral-small-3.2
")]
pub struct TokensArgs {
    /// JSON Lines files, .json files with one array, or directories that `prepare` wrote; - for standard input
    #[arg(required_unless_present_any = ["image", "sizes", "text"])]
    pub files: Vec<PathBuf>,
    /// Model to count tokens for: pixtral-12b, pixtral-large, mistral-small-3.1, mistral-small-3.2,
    /// magistral-small-2509, ministral-3-3b, ministral-3-8b, ministral-3-14b, mistral-small-4, mistral-medium-3.5, an alias
    /// such as mistralai/Pixtral-12B-2409, or a model directory
    #[arg(long, default_value = "pixtral-12b", value_name = "NAME|DIR")]
    pub model: String,
    /// Chat template: mistral-common or mistral-finetune
    #[arg(long, default_value = "mistral-common")]
    pub layout: String,
    /// Tekken vocabulary to count with, or `pixtral-12b` for the built-in one [default: tekken.json in the model directory,
    /// or the built-in one for a name]
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,
    /// Also print token ids and runs of trained tokens, as JSON
    #[arg(long)]
    pub ids: bool,
    /// Print the grid and the tokens of an image of this size
    #[arg(long, value_name = "WxH", conflicts_with_all = ["files", "sizes", "text"])]
    pub image: Option<String>,
    /// Print the grids of many image sizes, from a file with one `W H` per line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "text"])]
    pub sizes: Option<PathBuf>,
    /// Print the token ids of texts, from a file with one JSON string per line
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub text: Option<PathBuf>,
    /// Number of threads [default: all CPUs]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Output format: for people, or one JSON object per line of the files
    #[arg(long, value_enum, default_value_t = Format::Human, hide_possible_values = true, value_name = "human|json")]
    pub format: Format,
}
