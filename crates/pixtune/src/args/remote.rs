//! `pixtune files`, `jobs`, `models` and `chat`: the clients of a server.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::ui::Format;

/// The server that a command talks to.
#[derive(Debug, Args)]
pub struct EndpointArgs {
    /// Base URL of the server: `pixtune serve`, or Mistral's API
    #[arg(
        long,
        global = true,
        env = "PIXTUNE_BASE_URL",
        default_value = "http://127.0.0.1:8000/mistral",
        value_name = "URL"
    )]
    pub base_url: String,
    /// Name of the environment variable that holds the API key
    #[arg(long, global = true, default_value = "PIXTUNE_API_KEY", value_name = "NAME")]
    pub key_env: String,
    /// Output format
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Upload, list, download and delete files on a server
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune files upload prepared/train.jsonl
  pixtune files list
  pixtune files upload big.jsonl --shard-size 500MB     several files, for servers with a limit
")]
pub struct FilesArgs {
    #[command(subcommand)]
    pub command: FilesCommand,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
}

#[derive(Debug, Subcommand)]
pub enum FilesCommand {
    /// Upload files and print their ids
    Upload {
        /// Files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Purpose of the files
        #[arg(long, default_value = "fine-tune")]
        purpose: String,
        /// Upload larger files in several, cut between samples
        #[arg(long, value_name = "SIZE")]
        shard_size: Option<String>,
        /// Send larger files in parts, where the server takes them; the same command goes on after an interruption
        #[arg(long, value_name = "SIZE", default_value = "64MB")]
        part_size: String,
    },
    /// List files
    List,
    /// Show a file with the findings about it
    Show {
        /// Id of the file
        id: String,
    },
    /// Download the content of a file
    Download {
        /// Id of the file
        id: String,
        /// Output file
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
    },
    /// Delete a file
    Delete {
        /// Id of the file
        id: String,
    },
}

/// Create, watch and control fine-tuning jobs on a server
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune jobs create --model pixtral-12b --training-file prepared/train.jsonl --watch
  pixtune jobs watch 2f6a1c1e-7c1b-4a55-9b0f-3a3d6c0f9f10
")]
pub struct JobsArgs {
    #[command(subcommand)]
    pub command: JobsCommand,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
}

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// Create a job; training files that are paths are uploaded first
    Create(JobsCreateArgs),
    /// List jobs, the newest first
    List,
    /// Show a job with its events
    Show {
        /// Id of the job
        id: String,
    },
    /// Print the events of a job as they happen, until it has ended (exit code 1 unless it succeeds)
    Watch {
        /// Id of the job
        id: String,
    },
    /// Start a validated job
    Start {
        /// Id of the job
        id: String,
    },
    /// Cancel a job
    Cancel {
        /// Id of the job
        id: String,
    },
    /// Pause a job at its newest checkpoint
    Pause {
        /// Id of the job
        id: String,
    },
    /// Resume a paused job
    Resume {
        /// Id of the job
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct JobsCreateArgs {
    /// Base model
    #[arg(long)]
    pub model: String,
    /// Training file: a path or the id of an uploaded file; several are read together
    #[arg(long, required = true, value_name = "FILE|ID")]
    pub training_file: Vec<String>,
    /// Validation file
    #[arg(long, value_name = "FILE|ID")]
    pub validation_file: Vec<String>,
    /// Part of the name of the tuned model
    #[arg(long)]
    pub suffix: Option<String>,
    /// Number of steps
    #[arg(long, conflicts_with = "epochs", value_name = "N")]
    pub steps: Option<u64>,
    /// Number of epochs
    #[arg(long, value_name = "N")]
    pub epochs: Option<f64>,
    /// Peak learning rate
    #[arg(long, value_name = "X")]
    pub learning_rate: Option<f64>,
    /// Largest share of invalid samples to skip
    #[arg(long, value_name = "SHARE")]
    pub skip_invalid: Option<f64>,
    /// Print what the job would be, without creating it
    #[arg(long)]
    pub dry_run: bool,
    /// Print its events until it has ended
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
}

/// List, show and delete models on a server
#[derive(Debug, Parser)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: ModelsCommand,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List base models and tuned models
    List,
    /// Show a model
    Show {
        /// Id of the model
        id: String,
    },
    /// Archive a tuned model
    Archive {
        /// Id of the model
        id: String,
    },
    /// Unarchive a tuned model
    Unarchive {
        /// Id of the model
        id: String,
    },
    /// Delete a tuned model
    Delete {
        /// Id of the model
        id: String,
    },
}

/// Ask a model on a server
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune chat ft:pixtral-12b:invoices:20261130:9d2c0cf5 --image invoice.jpg --prompt 'What is the total?'
")]
pub struct ChatArgs {
    /// Id of the model
    pub model: String,
    /// Question
    #[arg(long)]
    pub prompt: String,
    /// Image, before the question
    #[arg(long = "image", value_name = "FILE")]
    pub images: Vec<PathBuf>,
    /// Maximum tokens of the answer
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub max_tokens: u64,
    /// Sampling temperature; 0 is the most likely answer
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    pub temperature: f64,
    #[command(flatten)]
    pub endpoint: EndpointArgs,
}
