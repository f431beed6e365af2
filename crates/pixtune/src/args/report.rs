//! `pixtune report`.

use std::path::PathBuf;

use clap::Parser;

use super::CountingArgs;

/// Show a set in one HTML file: numbers, findings, images, conversations as the model reads them
///
/// One file that needs no network and stays under 5 MB whatever the size of the set: overview, findings with their places,
/// token and size histograms with the limits drawn, images with the patches that the model reads, the extremes, duplicates
/// side by side, texts, the balance of the split, rejected rows, and a random choice of conversations token by token.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune report prepared
  pixtune report prepared --out prepared.html --seed 7
  pixtune report photos/                              images alone
")]
pub struct ReportArgs {
    /// Prepared directories, JSON Lines files, images or directories of images
    #[arg(required = true, value_name = "DIR|FILE")]
    pub inputs: Vec<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
    /// Seed of the random choice of samples and images
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Conversations to show
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(0..=200))]
    pub samples: u16,
    #[command(flatten)]
    pub counting: CountingArgs,
}
