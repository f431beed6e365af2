//! Options shared by `stats`, `plan` and `report`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct CountingArgs {
    /// Model to count tokens for: a name as in `pixtune tokens`, or a model directory
    #[arg(long, default_value = "pixtral-12b", value_name = "NAME|DIR")]
    pub model: String,
    /// Tekken vocabulary to count with, or `pixtral-12b` for the built-in one [default: tekken.json in the model directory,
    /// or the built-in one for a name]
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,
    /// Number of threads [default: all CPUs]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}
