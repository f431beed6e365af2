//! `pixtune train`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::ui::Format;

/// Train a LoRA adapter on what `prepare` wrote
///
/// Reads Pixtral's weights in Hugging Face's or Mistral's format and writes an adapter that transformers, PEFT and vLLM
/// load. The loss counts what the assistant says and nothing else; samples are packed without padding and never cut. The
/// same data, model, options and seed give the same adapter, also after --resume.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune train --model pixtral-12b --data prepared --out run --dry-run    the plan: steps, memory, time
  pixtune train --model pixtral-12b --data prepared --out run
  pixtune train --model pixtral-12b --data prepared --out run --resume     after a kill, Ctrl-C or a full disk
  pixtune train --model pixtral-12b --data prepared --out run --epochs 10 --patience 3
  pixtune train --model pixtral-12b --data train.jsonl --validation test.jsonl --out run

The directory afterwards:
  adapter/          the adapter: the best one where there is validation data, else the last
  metrics.jsonl     a line for each step and each evaluation, written as they happen
  report.html       the curves
  plan.json         every resolved option
  checkpoints/      what --resume goes on from; each is a whole adapter as well
")]
pub struct TrainArgs {
    /// The directory of the model: config.json or params.json, its weights, and tekken.json
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The directory that `prepare` wrote, or one JSON Lines file
    #[arg(long, value_name = "DIR|FILE")]
    pub data: PathBuf,
    /// Held-out samples, instead of the validation.jsonl in the directory
    #[arg(long, value_name = "FILE")]
    pub validation: Option<PathBuf>,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
    /// Another tokenizer than the tekken.json of the model's directory; `pixtral-12b` is the built-in one
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,

    /// Rank of the adapter
    #[arg(long, default_value_t = 16, value_name = "N", help_heading = "Adapter")]
    pub lora_rank: usize,
    /// What its product is multiplied with, divided by the rank
    #[arg(long, default_value_t = 32.0, value_name = "X", help_heading = "Adapter")]
    pub lora_alpha: f32,
    /// Share of its inputs that is dropped while training
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", help_heading = "Adapter")]
    pub lora_dropout: f32,
    /// Divide alpha by the root of the rank instead (rank-stabilised LoRA)
    #[arg(long, help_heading = "Adapter")]
    pub rslora: bool,
    /// What gets an adapter: text, projector, vision, all, or linears such as q_proj,v_proj or vision.q_proj; joined by +
    /// or commas
    #[arg(long, default_value = "text", value_name = "LIST", help_heading = "Adapter")]
    pub targets: String,

    /// The highest learning rate: reached after the warm-up, then half a cosine down to 0
    #[arg(long, default_value_t = 1e-4, value_name = "X", help_heading = "Training")]
    pub learning_rate: f64,
    /// Passes over the data
    #[arg(long, value_name = "N", conflicts_with = "steps", help_heading = "Training")]
    pub epochs: Option<u64>,
    /// Steps, instead of passes [default: 3 epochs]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub steps: Option<u64>,
    /// Tokens of a batch at most, images included: samples share a batch, none is cut
    #[arg(long, default_value_t = 8192, value_name = "N", help_heading = "Training")]
    pub batch_tokens: u32,
    /// Batches whose gradients make one step
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Training")]
    pub accumulate: u32,
    /// Share of the steps, or their number, in which the learning rate rises
    #[arg(long, default_value = "0.05", value_name = "SHARE|N", help_heading = "Training")]
    pub warmup: String,
    /// AdamW's decoupled weight decay
    #[arg(long, default_value_t = 0.1, value_name = "X", help_heading = "Training")]
    pub weight_decay: f64,
    /// Gradients longer than this are scaled down to it
    #[arg(long, default_value_t = 1.0, value_name = "X", help_heading = "Training")]
    pub max_grad_norm: f64,
    /// What becomes of samples that cannot be trained on: refuse to start, or skip them (exit code 1)
    #[arg(long, value_enum, default_value_t = UnusableArg::Refuse, help_heading = "Training")]
    pub invalid_samples: UnusableArg,
    /// Draws the order of samples, the adapter's first values and dropout
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Training")]
    pub seed: u64,

    /// Steps between evaluations on the validation data [default: a tenth of the run]
    #[arg(long, value_name = "N", help_heading = "Evaluation and checkpoints")]
    pub eval_every: Option<u64>,
    /// End the run after so many evaluations without a better one
    #[arg(long, value_name = "N", help_heading = "Evaluation and checkpoints")]
    pub patience: Option<u64>,
    /// Steps between checkpoints [default: as evaluations]
    #[arg(long, value_name = "N", help_heading = "Evaluation and checkpoints")]
    pub save_every: Option<u64>,
    /// Checkpoints to keep
    #[arg(long, default_value_t = 2, value_name = "N", help_heading = "Evaluation and checkpoints")]
    pub keep_checkpoints: usize,
    /// Go on from the newest checkpoint, as if the run had never stopped
    #[arg(long, conflicts_with = "force", help_heading = "Evaluation and checkpoints")]
    pub resume: bool,

    /// Tell the plan, and measure two steps; writes nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Replace what an earlier run made
    #[arg(long)]
    pub force: bool,
    /// Threads [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Memory for activations that are kept for the backward pass; what does not fit is computed again [default: no limit]
    #[arg(long, value_name = "SIZE")]
    pub activation_memory: Option<String>,
    /// Memory for decoded samples that come again in the next epoch
    #[arg(long, default_value = "256MB", value_name = "SIZE")]
    pub cache: String,
    /// How to tell: for people, or as JSON, one object a line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Tell errors only
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    Cpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnusableArg {
    Refuse,
    Skip,
}
