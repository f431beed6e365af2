//! `pixtune fix`.

use std::path::PathBuf;

use clap::Parser;

use super::{LintArgs, VerifyArg};
use crate::ui::Format;

/// Write a corrected copy of a fine-tuning file and log every change
///
/// Converts LLaVA and ShareGPT `conversations`, Alpaca samples, OpenAI functions and the target's form of `image_url`;
/// removes null and unknown keys; rewrites tool ids in calls and their results; joins system messages and consecutive
/// messages of one role as mistral-common does; corrects the type and base64 of data URIs; embeds image files. Lines
/// without problems are copied byte for byte. The input file is not changed. Remaining problems are reported, as in
/// `pixtune check`.
///
/// --unsafe also makes changes that guess or drop data: it re-encodes unsupported images, breaks up control tokens in
/// texts, and drops samples that it cannot fix.
///
/// Exit codes: 0 the output has no errors; 1 the output has errors; 2 nothing was written.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune fix train.jsonl --out fixed.jsonl
  pixtune fix train.jsonl --out fixed.jsonl --unsafe        drop what cannot be fixed
  pixtune fix llava.json --out train.jsonl --image-folder coco/
  pixtune fix llava.jsonl --out train.jsonl --target openai
  pixtune fix train.jsonl --out fixed.jsonl --select tools,unknown-key
  pixtune fix train.jsonl --out fixed.jsonl --format json > changes.jsonl
")]
pub struct FixArgs {
    /// A JSON Lines file, or a .json file with one array; - for standard input
    pub file: PathBuf,
    /// Output file; - for standard output, with the log on standard error
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// Also make changes that guess, re-encode images, or drop samples
    #[arg(long = "unsafe")]
    pub guess: bool,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    /// Base directory of relative image paths [default: the directory of the file]
    #[arg(long, value_name = "DIR")]
    pub image_folder: Option<PathBuf>,
    /// How deeply to verify the images of the output: parse headers and ends, or decode them
    #[arg(long, value_enum, default_value_t = VerifyArg::Header)]
    pub verify: VerifyArg,
    #[command(flatten)]
    pub lint: LintArgs,
    /// Output format: for people, or one JSON object per line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}
