//! `pixtune stats`.

use std::path::PathBuf;

use clap::Parser;

use super::{CountingArgs, MeasureArgs, VerifyArg};
use crate::ui::Format;

/// Summarize a dataset: sizes, tokens, texts, duplicates, and outliers
///
/// Reads directories that `prepare` wrote, JSON Lines files of conversations, and directories of images in one pass.
/// Detects what nearly all responses have in common (JSON with certain keys, one word, a number with its unit, …) and
/// lists the exceptions. Also lists refusals, placeholders, truncated or very long responses, responses in another
/// language than their prompt, imbalanced responses, duplicates and near-duplicates, conflicting labels, and images that
/// are in both splits. Languages are detected by common words; unclear texts are undecided.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune stats prepared
  pixtune stats train.jsonl validation.jsonl
  pixtune stats photos/                              images only
  pixtune stats prepared --format json | jq .tokens
  pixtune stats prepared --verify header             without decoding images, many times faster
")]
pub struct StatsArgs {
    /// Directories that `prepare` wrote, JSON Lines files, images, or directories of images
    #[arg(required = true, value_name = "DIR|FILE")]
    pub inputs: Vec<PathBuf>,
    /// How deeply to verify images: decode them, or parse their headers (which skips measurements)
    #[arg(long, value_enum, alias = "pictures", default_value_t = VerifyArg::Full)]
    pub verify: VerifyArg,
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Number of examples per observation; JSON output always has up to 50
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub examples: usize,
    /// Output format: for people, or one JSON object
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    #[command(flatten)]
    pub counting: CountingArgs,
}
