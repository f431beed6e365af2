//! `pixtune serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pixtune_api::Vendor;

use crate::ui::Format;

/// Serve the fine-tuning APIs of Mistral and OpenAI
///
/// Scripts that upload files, create fine-tuning jobs and chat with the result work with a changed base URL. Jobs are trained one
/// after the other, survive the end of the server, and continue where they were.
#[derive(Debug, Parser)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  pixtune serve --models pixtral-12b
  pixtune serve --models pixtral-12b --alias gpt-4o-mini=pixtral-12b
  pixtune serve --models pixtral-12b-hf --trainer trl --gpus 2
  pixtune serve --models pixtral-12b-hf --upstream http://127.0.0.1:8001
  pixtune serve keys create ann                              print a new API key
  pixtune serve --models pixtral-12b --listen 0.0.0.0:8000   with keys, for other machines

Clients:
  OPENAI_BASE_URL=http://127.0.0.1:8000/openai/v1            OpenAI's clients
  Mistral(server_url=\"http://127.0.0.1:8000/mistral\")        Mistral's clients
"
)]
pub struct ServeArgs {
    #[command(subcommand)]
    pub command: Option<ServeCommand>,
    #[command(flatten)]
    pub options: ServeOptions,
    /// Directory for files, jobs, models and keys
    #[arg(long, global = true, default_value = "pixtune-data", value_name = "DIR")]
    pub data_dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct ServeOptions {
    /// Host and port to listen on; other hosts than those of this machine need API keys
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// Directories of base models, each as DIR or NAME=DIR
    #[arg(long, num_args = 1.., value_name = "DIR")]
    pub models: Vec<String>,
    /// Another name for a base model, as NAME=MODEL
    #[arg(long, value_name = "NAME=MODEL")]
    pub alias: Vec<String>,
    /// API of requests to /v1
    #[arg(long, value_enum, default_value_t = V1Arg::Auto)]
    pub v1: V1Arg,

    /// What trains jobs: pixtune, the name of a trainer (trl, trl-completion, unsloth, axolotl, llama-factory, ms-swift), or a
    /// command for a shell that contains {out}, such as 'python train.py --data {data} --out {out} --steps {steps}'
    #[arg(long, default_value = "pixtune", value_name = "NAME|COMMAND", help_heading = "Training")]
    pub trainer: String,
    /// Layout of the data for a command, as `pixtune export --to` names it
    #[arg(long, default_value = "hf-dataset", value_name = "NAME", help_heading = "Training")]
    pub trainer_layout: String,
    /// GPUs for --trainer, each for one job at a time: their number, or a list such as 0,2 (`1,` is GPU 1 alone)
    /// [default: all GPUs of this machine, or the CPU]
    #[arg(long, value_name = "N|LIST", help_heading = "Training")]
    pub gpus: Option<String>,

    /// Server that answers chats in place of the models on this machine: vLLM, or one with its API. PIXTUNE_UPSTREAM_KEY is the
    /// key that it asks for
    #[arg(long, value_name = "URL", help_heading = "Answers")]
    pub upstream: Option<String>,
    /// Base models that the upstream server answers, each as NAME or NAME=ITS-NAME-THERE [default: all]
    #[arg(long, value_name = "MODEL", requires = "upstream", help_heading = "Answers")]
    pub upstream_model: Vec<String>,
    /// Directory for the adapters of tuned models, which the upstream server has to reach [default: upstream in the data
    /// directory]
    #[arg(long, value_name = "DIR", requires = "upstream", help_heading = "Answers")]
    pub upstream_adapters: Option<PathBuf>,
    /// The same directory as the upstream server sees it, in a container for example
    #[arg(long, value_name = "DIR", requires = "upstream", help_heading = "Answers")]
    pub upstream_adapters_there: Option<PathBuf>,
    /// Format in which the upstream server loads its checkpoint [default: hf if the model has config.json]
    #[arg(long, value_enum, value_name = "FORMAT", requires = "upstream", help_heading = "Answers")]
    pub upstream_format: Option<UpstreamFormatArg>,
    /// The --max-lora-rank of the upstream server
    #[arg(long, default_value_t = 16, value_name = "N", requires = "upstream", help_heading = "Answers")]
    pub upstream_max_lora_rank: u16,
    /// The upstream server was started with --enable-tower-connector-lora
    #[arg(long, requires = "upstream", help_heading = "Answers")]
    pub upstream_tower_lora: bool,
    /// Seconds that an answer of the upstream server may take
    #[arg(long, default_value_t = 600, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "upstream", help_heading = "Answers")]
    pub upstream_timeout: u32,

    /// Maximum size of an uploaded file
    #[arg(long, default_value = "20GB", value_name = "SIZE", help_heading = "Limits")]
    pub max_upload: String,
    /// Maximum size of all files of a project
    #[arg(long, default_value = "1000GB", value_name = "SIZE", help_heading = "Limits")]
    pub quota: String,
    /// Maximum number of jobs of a project that have not ended
    #[arg(long, default_value_t = 1000, value_name = "N", help_heading = "Limits")]
    pub max_jobs: u64,
    /// Free disk space below which no job starts
    #[arg(long, default_value = "1GB", value_name = "SIZE", help_heading = "Limits")]
    pub min_free: String,
    /// Number of models that are loaded for chats at the same time
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Limits")]
    pub loaded_models: u16,
    /// Number of threads for checks and chats [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Limits")]
    pub threads: Option<u16>,
    /// Format of the log on standard error: a line for each request and each failure in the background
    #[arg(long, value_enum, default_value_t = LogFormatArg::Text, help_heading = "Output")]
    pub log_format: LogFormatArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormatArg {
    /// For people
    Text,
    /// One JSON object per line, with time, level, request id, method, path, status and seconds
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum V1Arg {
    /// That of the client that sends them
    Auto,
    Mistral,
    Openai,
}

impl V1Arg {
    /// The vendor, if it is chosen.
    pub fn vendor(self) -> Option<Vendor> {
        match self {
            V1Arg::Auto => None,
            V1Arg::Mistral => Some(Vendor::Mistral),
            V1Arg::Openai => Some(Vendor::OpenAi),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UpstreamFormatArg {
    Hf,
    Mistral,
}

#[derive(Debug, Subcommand)]
pub enum ServeCommand {
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Add, list and remove webhooks, which are notified when jobs and batches end
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// Copy the databases to a directory while the server runs
    Backup {
        /// Directory for the copies
        #[arg(value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Create a key and print it; it is not stored and cannot be printed again
    Create {
        /// What the key is for
        name: String,
        /// Keys of a project reach the same files, jobs and models
        #[arg(long, default_value = "default")]
        project: String,
        /// What the key may do
        #[arg(long, value_enum, default_value_t = ScopeArg::Write)]
        scope: ScopeArg,
        /// API of requests to /v1 with this key
        #[arg(long, value_enum, default_value_t = V1Arg::Auto)]
        v1: V1Arg,
    },
    /// List keys
    List {
        /// Output format
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Revoke a key by its id or name
    Revoke {
        /// Id or name of the key
        key: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum WebhooksCommand {
    /// Add a webhook and print its secret, with which it checks signatures
    Add {
        /// URL that gets a POST request for each event
        url: String,
        /// Project whose jobs and batches it is notified of
        #[arg(long, default_value = "default")]
        project: String,
        /// Events to send, separated by commas [default: all]
        #[arg(long, value_delimiter = ',', value_name = "TYPE",
            value_parser = clap::builder::PossibleValuesParser::new(pixtune_api::WEBHOOK_EVENTS))]
        events: Vec<String>,
        /// Allow a host on this machine or in a private network
        #[arg(long)]
        allow_private: bool,
    },
    /// List webhooks, and whether the last notice of each was accepted
    List {
        /// Output format
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Remove a webhook
    Remove {
        /// Id of the webhook
        id: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScopeArg {
    /// Read and chat
    Read,
    /// Create, change and delete as well
    Write,
    /// Everything, with the metrics of the server
    Admin,
}
