//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::ui::Format;

/// From pictures and text to a fine-tuned, servable Pixtral.
///
/// Exit codes: 0 done, nothing to report; 1 done, and the data has findings of severity error; 2 not done.
#[derive(Debug, Parser)]
#[command(name = "pixtune", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Prepare(PrepareArgs),
    Tokens(TokensArgs),
    Check(CheckArgs),
    Rules(RulesArgs),
}

/// Turn a table and its pictures into train.jsonl and validation.jsonl
///
/// Reads CSV, TSV, JSON Lines of flat rows or of `messages` (Mistral's and OpenAI's spelling) and Hugging Face image
/// folders (metadata.csv or metadata.jsonl). Pictures are decoded once, turned upright, put on white, shrunk to what
/// the model sees and embedded as base64. Every row that cannot be used is explained in rejected.jsonl.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune prepare dataset.csv --out prepared
  pixtune prepare photos/ --out prepared                        a folder with metadata.csv in it
  pixtune prepare 'part-*.jsonl' --out prepared --validation 500
  pixtune prepare vqa.tsv --out prepared --columns image=file,prompt=q,completion=a
  zcat rows.jsonl.gz | pixtune prepare - --out prepared
  pixtune prepare dataset.csv --out prepared --validation 1MB --split stratify=kind
  pixtune prepare dataset.csv --out prepared --resume           after a kill or a full disk
")]
pub struct PrepareArgs {
    /// Files, quoted patterns, image folders; - for standard input
    #[arg(required = true)]
    pub inputs: Vec<String>,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The model whose picture grid and context hold: pixtral-12b, pixtral-large, mistral-small-3.1, mistral-small-3.2,
    /// ministral-3-3b, ministral-3-8b, ministral-3-14b, or a name they have elsewhere
    #[arg(long, default_value = "pixtral-12b")]
    pub model: String,
    /// Whose format and limits hold: mistral or openai
    #[arg(long, default_value = "mistral")]
    pub target: String,
    /// Which column is what: image=COL,prompt=COL,completion=COL,system=COL,group=COL,id=COL; the rest is guessed from
    /// the usual names and told. `image` may be named several times
    #[arg(long, value_name = "NAME=COL,…")]
    pub columns: Option<String>,
    /// fit: pictures are made to fit model and target; keep: their bytes are embedded as they are
    #[arg(long, value_enum, default_value_t = ImagesArg::Fit)]
    pub images: ImagesArg,
    /// Where pictures stand when the prompt does not place them with `<image>`
    #[arg(long, value_enum, default_value_t = PositionArg::First)]
    pub image_position: PositionArg,
    /// How pictures are shrunk: as the model's own preprocessing does it, or with Lanczos
    #[arg(long, value_enum, default_value_t = ResamplingArg::Mistral)]
    pub resampling: ResamplingArg,
    /// How pictures that pass through unchanged are checked: decoded to the last pixel, or walked through by structure
    #[arg(long, value_enum, default_value_t = VerifyArg::Full)]
    pub verify: VerifyArg,
    /// Quality of JPEGs that are written anew
    #[arg(long, default_value_t = 85, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub jpeg_quality: u8,
    /// Count with this Tekken vocabulary instead of the built-in one of Pixtral 12B
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,
    /// Reject samples with more tokens than this (the model's context is always a limit)
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// What to hold out: a share (0.1, 10%), a number of rows (500) or what fits into a size (1MB)
    #[arg(long, default_value = "0.1", value_name = "SHARE|N|SIZE")]
    pub validation: String,
    /// What stays together or is spread evenly: random, group, stratify=COL. The same picture never stands on both
    /// sides. Without it: group where --columns names a group, else random
    #[arg(long, value_name = "KIND")]
    pub split: Option<String>,
    /// Whether repeated rows are rejected: exact or off
    #[arg(long, value_enum, default_value_t = DedupArg::Exact)]
    pub dedup: DedupArg,
    /// What makes a repetition: the same pictures and text, or the same pictures alone
    #[arg(long, value_enum, default_value_t = DedupByArg::Sample)]
    pub dedup_by: DedupByArg,
    /// Another seed holds out other rows
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads to work on; all processors without it. The output does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Give up, leaving nothing behind, when more rows than this are rejected
    #[arg(long, value_name = "N|P%")]
    pub max_reject: Option<String>,
    /// Bytes of one row that are read at most
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    pub max_row_bytes: String,
    /// Bytes of one picture file that are read at most
    #[arg(long, default_value = "100MB", value_name = "SIZE")]
    pub max_image_bytes: String,
    /// Pixels a side of a picture may have; the target's limit without it
    #[arg(long, value_name = "PIXELS")]
    pub max_image_side: Option<u32>,
    /// Bytes a picture may take once decoded
    #[arg(long, default_value = "500MB", value_name = "SIZE")]
    pub max_decoded_bytes: String,
    /// Go on with a run that was killed or that ran out of disk
    #[arg(long)]
    pub resume: bool,
    /// Replace what an earlier run made
    #[arg(long)]
    pub force: bool,
    /// Print the resolved options and do nothing
    #[arg(long)]
    pub show_plan: bool,
    /// Say nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Count exactly what the model will see of a file, before training
///
/// Every line of a JSON Lines file of conversations is encoded as mistral-common 1.13.1 encodes it for fine-tuning:
/// how many tokens there are, how many are pictures, how many are trained. A line that mistral-common refuses is told
/// with its reason. Nothing is ever cut. Pictures are measured by their header.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune tokens prepared/train.jsonl
  pixtune tokens prepared/train.jsonl --format json | jq .tokens
  pixtune tokens prepared/train.jsonl --ids          ids and runs of [trained, length]
  pixtune tokens --image 3000x2000
  pixtune tokens --image 3000x2000 --model mistral-small-3.2
")]
pub struct TokensArgs {
    /// JSON Lines files; - for standard input
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
    /// The grid and the tokens of one picture of this size
    #[arg(long, value_name = "WxH", conflicts_with_all = ["files", "sizes", "text"])]
    pub image: Option<String>,
    /// The grids of many pictures: a file of lines `W H`
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

/// Find every problem of a fine-tuning file, with its place and its remedy
///
/// Reads JSON Lines of `messages` and tells everything that a trainer, a server or the model will stumble over: JSON,
/// keys, roles, tools, pictures, control tokens, lengths, repeated samples, pictures that stand in the training file
/// and in the validation file. For the target `mistral` a sample has an error exactly when mistral-common 1.13.1
/// refuses it for fine-tuning, and in a few cases more; `pixtune rules` lists them all.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune check train.jsonl
  pixtune check train.jsonl validation.jsonl            also what the two files share
  pixtune check train.jsonl --verify full               every picture decoded to the last pixel
  pixtune check train.jsonl --target hf --ignore image-alpha,text
  pixtune check train.jsonl --statistics                how often each rule is broken
  pixtune check data/*.jsonl --format github            annotations in a pull request
")]
pub struct CheckArgs {
    /// JSON Lines files; - for standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The model whose context and picture grid hold
    #[arg(long, default_value = "pixtral-12b")]
    pub model: String,
    /// Whose format and limits hold: mistral, openai or hf (trainers built on Hugging Face transformers)
    #[arg(long, default_value = "mistral")]
    pub target: String,
    /// How pictures are looked at: their headers and ends, or decoded to the last pixel
    #[arg(long, value_enum, default_value_t = VerifyArg::Header)]
    pub verify: VerifyArg,
    /// Only these rules and groups
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub select: Vec<String>,
    /// Without these rules and groups
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Tell how often each rule is broken instead of every place
    #[arg(long)]
    pub statistics: bool,
    /// Bytes one picture may have; the target's limit without it (Mistral's pages say 10 MB and 20 MB)
    #[arg(long, value_name = "SIZE")]
    pub max_image_bytes: Option<String>,
    /// Pictures in one sample above which it is told; the target's limit without it (Mistral's pages say 8 and no limit)
    #[arg(long, value_name = "N")]
    pub max_images: Option<usize>,
    /// Threads to work on; all processors without it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// For people, for machines (one JSON object a finding) or for annotations on GitHub
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub format: CheckFormat,
}

/// List the rules, or explain one
#[derive(Debug, Parser)]
pub struct RulesArgs {
    /// The rule or group to explain
    pub rule: Option<String>,
    /// A list, or the page of the documentation
    #[arg(long, value_enum, default_value_t = RulesFormat::Human)]
    pub format: RulesFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    Human,
    Json,
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RulesFormat {
    Human,
    Markdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImagesArg {
    Fit,
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PositionArg {
    First,
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResamplingArg {
    Mistral,
    Lanczos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyArg {
    Full,
    Header,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DedupArg {
    Off,
    Exact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DedupByArg {
    Sample,
    Image,
}
