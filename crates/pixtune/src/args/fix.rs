//! `pixtune fix`.

use std::path::PathBuf;

use clap::Parser;

use super::ChoiceArgs;
use crate::ui::Format;

/// Repair what can be repaired without guessing, into a new file, with a line of log for every change
///
/// Other spellings become the format's own (LLaVA and ShareGPT `conversations`, Alpaca records, OpenAI's functions,
/// `image_url` as the target writes it), what formats carry along goes (null and unknown keys), tool ids are made anew in
/// call and result alike, system messages and neighbors of one role are joined as the reference joins them, data URIs get
/// their true type and strict base64, image files beside the data are embedded. A line that needs nothing is copied byte
/// for byte; the input is never touched. What is still wrong is told, and `pixtune check` tells it again.
///
/// With --unsafe, what guesses or leaves out is done as well: images that no server takes are drawn anew, control tokens
/// are written apart, and samples that stay bad are left out.
///
/// Exit codes: 0 nothing is wrong with what was written; 1 errors are left in it; 2 nothing was written.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune fix train.jsonl --out fixed.jsonl
  pixtune fix train.jsonl --out fixed.jsonl --unsafe        and leave out what stays bad
  pixtune fix llava.json --out train.jsonl --image-folder coco/
  pixtune fix llava.jsonl --out train.jsonl --target openai
  pixtune fix train.jsonl --out fixed.jsonl --select tools,unknown-key
  pixtune fix train.jsonl --out fixed.jsonl --format json > changes.jsonl
")]
pub struct FixArgs {
    /// A JSON Lines file, or a .json file that is one array; - for standard input
    pub file: PathBuf,
    /// The file to write; - for standard output, with the log on standard error
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Also guess, draw images anew, and leave out samples that stay bad
    #[arg(long = "unsafe")]
    pub guess: bool,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Where relative paths of images start [default: the directory of the file]
    #[arg(long, value_name = "DIR")]
    pub image_folder: Option<PathBuf>,
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// How changes and what is still wrong are told: for people, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}
