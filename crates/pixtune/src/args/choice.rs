//! What `check` and `fix` look for, and how seriously.

use std::path::PathBuf;

use clap::Args;

/// Rules and limits; what is left out is read from `pixtune.toml`.
#[derive(Debug, Args)]
pub struct ChoiceArgs {
    /// The model whose context and image grid hold [default: pixtral-12b]
    #[arg(long)]
    pub model: Option<String>,
    /// Whose format and limits hold: mistral, openai or hf (trainers built on Hugging Face transformers) [default: mistral]
    #[arg(long)]
    pub target: Option<String>,
    /// Only these rules and groups
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub select: Vec<String>,
    /// Without these rules and groups
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Take rules and groups more or less seriously: unknown-key=warning,text=error
    #[arg(long, value_name = "RULE=error|warning,…", value_delimiter = ',')]
    pub severity: Vec<String>,
    /// Bytes one image may have; the target's limit without it (Mistral's pages say 10 MB and 20 MB)
    #[arg(long, value_name = "SIZE")]
    pub max_image_bytes: Option<String>,
    /// Images in one sample above which it is told; the target's limit without it (Mistral's pages say 8 and no limit)
    #[arg(long, value_name = "N")]
    pub max_images: Option<usize>,
    /// Bytes a line may have, 256 KiB at least; a longer one is passed over and told
    #[arg(long, value_name = "SIZE", default_value = "512MB")]
    pub max_line_bytes: String,
    /// Fetch images of http and https addresses: check looks at them like at any other, fix embeds them. At most 64 MiB and
    /// 30 seconds each, 5 redirects, nothing from private networks
    #[arg(long)]
    pub fetch: bool,
    /// Fetch from this machine and from private networks as well, and through the proxy of the environment
    #[arg(long, requires = "fetch")]
    pub fetch_private: bool,
    /// Read this file instead of the pixtune.toml beside the data or in the directories above
    #[arg(long, value_name = "FILE", conflicts_with = "no_config")]
    pub config: Option<PathBuf>,
    /// Read no pixtune.toml
    #[arg(long)]
    pub no_config: bool,
    /// Threads to work on; all processors without it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}
