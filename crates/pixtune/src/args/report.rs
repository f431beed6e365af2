//! `pixtune report`.

use std::path::PathBuf;

use clap::Parser;

use super::{CountingArgs, MeasureArgs, VerifyArg};

/// Write an HTML report about a dataset or about training runs
///
/// The file works offline and stays under 5 MB for any dataset. It opens with a verdict and the next things to do. Findings
/// come with their images and link to conversations token by token, which can be filtered and searched. Histograms of
/// tokens and image sizes, extremes, duplicates side by side, texts, the balance of the split and rejected rows follow. For
/// output directories of `train`, it compares the curves, results and options of the runs.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune report prepared
  pixtune report prepared --out prepared.html --seed 7
  pixtune report photos/                              images only
  pixtune report run-1 run-2 --out runs.html          compare training runs
")]
pub struct ReportArgs {
    /// Directories that `prepare` wrote, JSON Lines files, images, directories of images; or directories that `train` wrote
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
    /// Number of conversations to show, besides the first of each finding; 0 shows none
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
