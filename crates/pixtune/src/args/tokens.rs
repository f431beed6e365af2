//! `pixtune tokens`.

use std::path::PathBuf;

use clap::Parser;

use crate::ui::Format;

/// Count exactly what the model will see of a file, before training
///
/// Every line of a JSON Lines file of conversations is encoded as mistral-common 1.13.1 encodes it for fine-tuning:
/// how many tokens there are, how many are images, how many are trained. A line that mistral-common refuses is told
/// with its reason. Nothing is ever cut. Images are measured by their header.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune tokens prepared                            the files `prepare` wrote
  pixtune tokens prepared/train.jsonl
  pixtune tokens prepared/train.jsonl --format json | jq .tokens
  pixtune tokens prepared/train.jsonl --ids          ids and runs of [trained, length]
  pixtune tokens --image 3000x2000
  pixtune tokens --image 3000x2000 --model mistral-small-3.2
")]
pub struct TokensArgs {
    /// JSON Lines files, a .json file that is one array, or directories that `prepare` wrote; - for standard input
    #[arg(required_unless_present_any = ["image", "sizes", "text"])]
    pub files: Vec<PathBuf>,
    /// The model that counts: pixtral-12b, pixtral-large, mistral-small-3.1, mistral-small-3.2, ministral-3-3b,
    /// ministral-3-8b, ministral-3-14b, or a name they have elsewhere, such as mistralai/Pixtral-12B-2409
    #[arg(long, default_value = "pixtral-12b")]
    pub model: String,
    /// How a conversation is laid out: mistral-common or mistral-finetune
    #[arg(long, default_value = "mistral-common")]
    pub layout: String,
    /// Count with this Tekken vocabulary instead of the built-in one of Pixtral 12B
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,
    /// Write the ids and the runs of trained tokens too (JSON)
    #[arg(long)]
    pub ids: bool,
    /// The grid and the tokens of one image of this size
    #[arg(long, value_name = "WxH", conflicts_with_all = ["files", "sizes", "text"])]
    pub image: Option<String>,
    /// The grids of many images: a file of lines `W H`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "text"])]
    pub sizes: Option<PathBuf>,
    /// The ids of plain texts: a file with one JSON string a line
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    pub text: Option<PathBuf>,
    /// Threads to work on; all processors without it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// For people: findings and progress on standard error, a table on standard output; for machines: one JSON object
    /// for each line of the files
    #[arg(long, value_enum, default_value_t = Format::Human, hide_possible_values = true, value_name = "human|json")]
    pub format: Format,
}
