//! `pixtune train-with`, which `serve` starts for a job.

use std::path::PathBuf;

use clap::Parser;

use super::TrainingArgs;

/// Train with another trainer
///
/// A job of `pixtune serve --trainer` is this command. It exports the data to the layout of the trainer, runs the trainer in the
/// export, and makes its log, checkpoints and adapter those of a run of `train`. A run that was interrupted continues.
#[derive(Debug, Parser)]
pub struct TrainWithArgs {
    /// Name of the trainer, or a command with placeholders
    pub trainer: String,
    /// Model directory
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Training samples
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Validation samples
    #[arg(long, value_name = "FILE")]
    pub validation: Option<PathBuf>,
    /// Output directory
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Directory of the export
    #[arg(long, value_name = "DIR")]
    pub export: PathBuf,
    /// Layout for a command
    #[arg(long, value_name = "NAME", default_value = "hf-dataset")]
    pub layout: String,
    /// Train on the CPU
    #[arg(long)]
    pub on_cpu: bool,
    /// Number of steps
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Number of epochs
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// Samples per step
    #[arg(long, value_name = "N")]
    pub samples_per_step: Option<u64>,
    /// Peak learning rate
    #[arg(long, value_name = "X")]
    pub learning_rate: Option<f64>,
    /// Weight decay
    #[arg(long, value_name = "X")]
    pub weight_decay: Option<f64>,
    /// Warmup as a fraction of the steps
    #[arg(long, value_name = "FRACTION")]
    pub warmup: Option<f64>,
    /// Seed of the run
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[command(flatten)]
    pub training: TrainingArgs,
    /// Write the metrics for TensorBoard as well
    #[arg(long)]
    pub tensorboard: bool,
    /// File that the output of this command goes to
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Number of threads [default: one per CPU]
    #[arg(long, value_name = "N")]
    pub threads: Option<u16>,
}
