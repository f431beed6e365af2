//! What `stats`, `plan` and `report` are asked alike.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct CountingArgs {
    /// The model whose tokens and image grid count
    #[arg(long, default_value = "pixtral-12b")]
    pub model: String,
    /// Count with this Tekken vocabulary instead of the built-in one of Pixtral 12B
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,
    /// Threads to work on; all processors without it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// No progress bar
    #[arg(long)]
    pub quiet: bool,
}
