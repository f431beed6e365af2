//! The rules and limits of `check` and `fix`.

use std::path::PathBuf;

use clap::Args;

use super::FetchArgs;

/// Rules and limits; `pixtune.toml` sets those that are not given.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Model whose context and image grid apply, or its directory [default: pixtral-12b]
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,
    /// Format and limits to apply: mistral, openai, or hf (trainers based on Hugging Face transformers) [default: mistral]
    #[arg(long)]
    pub target: Option<String>,
    /// Enable only these rules and groups
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub select: Vec<String>,
    /// Disable these rules and groups
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Set the severity of rules and groups: unknown-key=warning,text=error
    #[arg(long, value_name = "RULE=error|warning,…", value_delimiter = ',')]
    pub severity: Vec<String>,
    /// Maximum size of an image [default: the target's limit; Mistral documents both 10 MB and 20 MB]
    #[arg(long, value_name = "SIZE")]
    pub max_image_bytes: Option<String>,
    /// Maximum images per sample [default: the target's limit; Mistral documents both 8 and no limit]
    #[arg(long, value_name = "N")]
    pub max_images: Option<usize>,
    /// Maximum size of a line, at least 256 KiB; longer lines are skipped and reported
    #[arg(long, value_name = "SIZE", default_value = "512MB")]
    pub max_line_bytes: String,
    #[command(flatten)]
    pub fetch: FetchArgs,
    /// Configuration file [default: pixtune.toml beside the data or in a parent directory]
    #[arg(long, value_name = "FILE", conflicts_with = "no_config")]
    pub config: Option<PathBuf>,
    /// Ignore pixtune.toml
    #[arg(long)]
    pub no_config: bool,
    /// Number of threads [default: all CPUs]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}
