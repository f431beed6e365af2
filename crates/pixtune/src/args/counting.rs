//! Options shared by `stats`, `plan` and `report`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct CountingArgs {
    /// Model to count tokens for
    #[arg(long, default_value = "pixtral-12b")]
    pub model: String,
    /// Tekken vocabulary to count with [default: the built-in one of Pixtral 12B]
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,
    /// Number of threads [default: all CPUs]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Hide the progress bar
    #[arg(long)]
    pub quiet: bool,
}
