//! `pixtune stats`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::CountingArgs;
use crate::ui::Format;

/// Know a set: sizes, tokens, texts, repetitions, and what breaks with the rest
///
/// Reads prepared directories, JSON Lines files of conversations and directories of images in one pass. Beside counts it learns
/// what nearly all answers have in common (JSON with these keys, one word, a number with its unit, …) and names those
/// that are otherwise; it names refusals, placeholders, answers that seem cut off, far longer answers, answers in
/// another language than their prompt, one-sided answers, repeated and contradicting samples, texts
/// that nearly say the same, and images that stand on both sides of the split. Languages are told by common words and
/// left open where these do not decide.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune stats prepared
  pixtune stats train.jsonl validation.jsonl
  pixtune stats photos/                              images alone
  pixtune stats prepared --format json | jq .tokens
  pixtune stats prepared --pictures header           without decoding images, many times faster
")]
pub struct StatsArgs {
    /// Prepared directories, JSON Lines files, images or directories of images
    #[arg(required = true, value_name = "DIR|FILE")]
    pub inputs: Vec<PathBuf>,
    /// Whether images are decoded and measured, or only their headers are read
    #[arg(long = "pictures", value_enum, default_value_t = MeasureArg::Measure)]
    pub images: MeasureArg,
    /// How many examples of each observation are shown; JSON has up to 50
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub examples: usize,
    /// For people or for machines (one JSON object)
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    #[command(flatten)]
    pub counting: CountingArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MeasureArg {
    Measure,
    Header,
}
