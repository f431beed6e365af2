//! `pixtune report`.

use std::path::PathBuf;

use clap::Parser;

use super::{CountingArgs, MeasureArgs, VerifyArg};

/// Write an HTML report about a dataset: statistics, findings, images, tokenized conversations
///
/// The file works offline and stays under 5 MB for any dataset. It contains an overview, findings with their locations,
/// histograms of tokens and image sizes with the model's limits, images with their patches, extremes, duplicates side by
/// side, texts, the balance of the split, rejected rows, and a random selection of conversations token by token.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune report prepared
  pixtune report prepared --out prepared.html --seed 7
  pixtune report photos/                              images only
")]
pub struct ReportArgs {
    /// Directories that `prepare` wrote, JSON Lines files, images, or directories of images
    #[arg(required = true, value_name = "DIR|FILE")]
    pub inputs: Vec<PathBuf>,
    /// Output file
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    /// Seed of the random selection of samples and images
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Number of conversations to show
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(0..=200))]
    pub samples: u16,
    /// How deeply to verify images: decode them, or parse their headers (which skips measurements)
    #[arg(long, value_enum, default_value_t = VerifyArg::Full)]
    pub verify: VerifyArg,
    #[command(flatten)]
    pub measure: MeasureArgs,
    #[command(flatten)]
    pub counting: CountingArgs,
}
