//! `pixtune train`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use pixtune_core::plan::defaults;
use pixtune_cuda::Device;

use super::VariantArg;
use crate::ui::Format;

const LORA_RANK: usize = defaults::LORA_RANK as usize;

/// Train a LoRA adapter on a prepared dataset
///
/// Reads Pixtral's weights in Hugging Face or Mistral format and writes an adapter that transformers, PEFT and vLLM load.
/// Only the assistant's messages count in the loss. Samples are packed into batches without padding and never truncated.
/// The same data, model, options and seed give the same adapter, with or without --resume.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune train --model pixtral-12b --data prepared --out run --dry-run    print steps, memory and time
  pixtune train --model pixtral-12b --data prepared --out run
  pixtune train --model pixtral-12b --data prepared --out run --resume     after Ctrl-C or a full disk
  pixtune train --model pixtral-12b --data prepared --out run --epochs 10 --patience 3
  pixtune train --model pixtral-12b --data train.jsonl --validation test.jsonl --out run
  pixtune train --model pixtral-12b --data more --init-adapter run/adapter --out run2
  pixtune train --model pixtral-12b --data prepared --out run --train-full projector
  pixtune train --model pixtral-12b --data prepared --out run --device cuda --load-in-4bit
  pixtune train --model pixtral-12b --data prepared --out run --eval-metric relaxed --patience 3

Output directory:
  adapter/          the adapter: the best one if there is validation data, else the last one
  metrics.jsonl     one line per step and per evaluation, written as the run proceeds
  report.html       loss, accuracy, gradients, throughput and memory, rewritten at every evaluation
  samples.jsonl     the responses at each evaluation, with --samples or --eval-metric
  tensorboard/      the metrics for TensorBoard, with --tensorboard
  plan.json         every resolved option
  checkpoints/      the checkpoints for --resume; each contains a complete adapter
")]
pub struct TrainArgs {
    /// Model directory with config.json or params.json, weights and tekken.json
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Output directory of `prepare`, or a JSON Lines file
    #[arg(long, value_name = "DIR|FILE")]
    pub data: PathBuf,
    /// Validation samples [default: validation.jsonl in the data directory]
    #[arg(long, value_name = "FILE")]
    pub validation: Option<PathBuf>,
    /// Output directory
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// Device: auto (a GPU if there is one), cpu, cuda, or cuda:N for the GPU of index N
    #[arg(long, default_value_t = Device::Cpu, value_name = "DEVICE")]
    pub device: Device,
    /// Train on a base whose linear layers are in 4 bits (QLoRA: NF4 with double quantization); a base that bitsandbytes
    /// quantized keeps its own codes
    #[arg(long)]
    pub load_in_4bit: bool,
    /// Tokenizer file, or `pixtral-12b` for the built-in one [default: tekken.json in the model directory]
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,

    /// LoRA rank
    #[arg(long, default_value_t = LORA_RANK, value_name = "N", help_heading = "Adapter")]
    pub lora_rank: usize,
    /// LoRA alpha: the update is scaled by alpha / rank
    #[arg(long, default_value_t = 32.0, value_name = "X", help_heading = "Adapter")]
    pub lora_alpha: f32,
    /// LoRA dropout rate
    #[arg(long, default_value_t = 0.0, value_name = "RATE", help_heading = "Adapter")]
    pub lora_dropout: f32,
    /// Scale the update by alpha / sqrt(rank) instead (rank-stabilized LoRA)
    #[arg(long, help_heading = "Adapter")]
    pub rslora: bool,
    /// Start with the weights of this adapter, in any dialect; rank, scaling, targets and whole tensors are its own
    #[arg(long, value_name = "DIR", help_heading = "Adapter",
        conflicts_with_all = ["lora_rank", "lora_alpha", "rslora", "targets"])]
    pub init_adapter: Option<PathBuf>,
    /// Modules to adapt: text, projector, vision, all, or linear layers such as q_proj or vision.q_proj; separated by + or
    /// commas
    #[arg(long, default_value = "text", value_name = "LIST", help_heading = "Adapter")]
    pub targets: String,
    /// Parts of the model to train as whole tensors beside LoRA: projector, vision, or both; saved as PEFT's modules_to_save
    #[arg(long, value_name = "LIST", help_heading = "Adapter", conflicts_with = "init_adapter")]
    pub train_full: Option<String>,

    /// Peak learning rate, reached after the warmup; cosine decay to 0 follows [default: 1e-4, half of it for models above
    /// 13 billion parameters; as `pixtune plan` recommends]
    #[arg(long, visible_alias = "lr", value_name = "X", help_heading = "Training")]
    pub learning_rate: Option<f64>,
    /// Number of epochs [default: 4 for fewer than 1,000 samples, 3 for fewer than 20,000, else 2; as `pixtune plan`
    /// recommends]
    #[arg(long, value_name = "N", conflicts_with = "steps", help_heading = "Training")]
    pub epochs: Option<u64>,
    /// Number of steps, instead of epochs
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub steps: Option<u64>,
    /// Maximum tokens per batch, images included [default: enough for 8 to 64 samples per step, more for larger datasets, in
    /// batches of at most 8,192 tokens; as `pixtune plan` recommends]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub batch_tokens: Option<u32>,
    /// Batches per step (gradient accumulation) [default: 1 with --batch-tokens, else as `pixtune plan` recommends]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub accumulate: Option<u32>,
    /// Average samples per step (batch size), instead of --batch-tokens and --accumulate [default: 8 to 64, as `pixtune
    /// plan` recommends]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
        conflicts_with_all = ["batch_tokens", "accumulate"], help_heading = "Training")]
    pub samples_per_step: Option<u64>,
    /// Warmup of the learning rate, as a fraction of the steps or their number
    #[arg(long, default_value_t = defaults::WARMUP.to_string(), value_name = "FRACTION|N", help_heading = "Training")]
    pub warmup: String,
    /// Weight decay of AdamW
    #[arg(long, default_value_t = 0.1, value_name = "X", help_heading = "Training")]
    pub weight_decay: f64,
    /// Maximum gradient norm (gradient clipping)
    #[arg(long, default_value_t = 1.0, value_name = "X", help_heading = "Training")]
    pub max_grad_norm: f64,
    /// What to do with samples that cannot be trained on: refuse to start, or skip them (exit code 1)
    #[arg(long, value_enum, default_value_t = InvalidSamplesArg::Refuse, help_heading = "Training")]
    pub invalid_samples: InvalidSamplesArg,
    /// Seed of sample order, adapter initialization and dropout
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Training")]
    pub seed: u64,

    /// Steps between evaluations on the validation data [default: a tenth of the run]
    #[arg(long, value_name = "N", help_heading = "Evaluation and checkpoints")]
    pub eval_every: Option<u64>,
    /// Score responses to validation samples at every evaluation, as `evaluate --metric` does; the best adapter and --patience
    /// follow the score
    #[arg(long, value_name = "METRIC", help_heading = "Evaluation and checkpoints",
        value_parser = ["exact", "relaxed", "anywhere", "anls", "vqa", "mcq", "json", "contains", "number"])]
    pub eval_metric: Option<String>,
    /// Whose rules to follow where programs differ [default: as in `evaluate`]
    #[arg(long, value_enum, requires = "eval_metric", help_heading = "Evaluation and checkpoints")]
    pub eval_variant: Option<VariantArg>,
    /// Maximum validation samples that are answered and scored at every evaluation, spread evenly
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Evaluation and checkpoints")]
    pub eval_samples: u32,
    /// Stop after this many evaluations without improvement
    #[arg(long, value_name = "N", help_heading = "Evaluation and checkpoints")]
    pub patience: Option<u64>,
    /// Steps between checkpoints [default: as --eval-every]
    #[arg(long, value_name = "N", help_heading = "Evaluation and checkpoints")]
    pub save_every: Option<u64>,
    /// Number of checkpoints to keep
    #[arg(long, default_value_t = 2, value_name = "N", help_heading = "Evaluation and checkpoints")]
    pub keep_checkpoints: usize,
    /// Resume from the newest checkpoint; with more --epochs or --steps the run becomes longer
    #[arg(long, conflicts_with = "force", help_heading = "Evaluation and checkpoints")]
    pub resume: bool,

    /// Steps between lines of progress; with a progress bar, lines are printed only if this is set [default: 10, and at
    /// least every 30 seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Progress")]
    pub log_every: Option<u64>,
    /// Number of validation samples that the model answers at every evaluation, before training too; `report.html` shows the
    /// responses
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=64), help_heading = "Progress")]
    pub samples: u16,
    /// Write the metrics for TensorBoard as well, to `tensorboard` in the output directory
    #[arg(long, help_heading = "Progress")]
    pub tensorboard: bool,

    /// Print the plan and measure two steps; write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Replace the output of an earlier run
    #[arg(long)]
    pub force: bool,
    /// Number of threads [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Maximum memory for activations; layers that exceed it are recomputed in the backward pass [default: no limit]
    #[arg(long, value_name = "SIZE")]
    pub activation_memory: Option<String>,
    /// Maximum memory for decoded samples that are cached for the next epoch
    #[arg(long, default_value = "256MB", value_name = "SIZE")]
    pub cache: String,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InvalidSamplesArg {
    Refuse,
    Skip,
}
