//! `pixtune plan`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use pixtune_core::plan::defaults;

use super::CountingArgs;
use crate::ui::Format;

/// Estimate training on a dataset: steps, learning rate, memory, time, and compatible trainers
///
/// Counts the tokens of every sample, then computes the steps for 2 to 4 epochs, batch size, learning rate and warmup, the
/// largest micro-batch that fits in memory with the formula of each part, a time range, and for each trainer whether it
/// accepts the data as it is. Every number is marked as computed, published (with its source) or a guess (with its
/// reason).
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune plan prepared
  pixtune plan prepared --gpu a100-40gb
  pixtune plan prepared --gpu rtx4090-24gb --method qlora
  pixtune plan prepared --vram 16GiB --method qlora --format json
")]
pub struct PlanArgs {
    /// Prepared directories or JSON Lines files
    #[arg(required = true, value_name = "DIR|FILE")]
    pub inputs: Vec<PathBuf>,
    /// GPU to plan for: h100-80gb, h200-141gb, a100-80gb, a100-40gb, l40s-48gb, rtx4090-24gb, rtx3090-24gb or l4-24gb;
    /// short names are accepted if they are unique: h100, h200, l40s, 4090, 3090, l4
    #[arg(long, default_value = "h100-80gb", conflicts_with = "vram")]
    pub gpu: String,
    /// Memory of a GPU that is not in the list: 16GiB, 24GB; a plain number is in GB
    #[arg(long, value_name = "SIZE")]
    pub vram: Option<String>,
    /// Training method: LoRA adapters, LoRA adapters on 4-bit weights (QLoRA), or all weights
    #[arg(long, value_enum, default_value_t = MethodArg::Lora)]
    pub method: MethodArg,
    /// LoRA rank
    #[arg(long, value_name = "N", default_value_t = defaults::LORA_RANK, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub lora_rank: u64,
    /// Output format: for people, or one JSON object
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    #[command(flatten)]
    pub counting: CountingArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    Lora,
    Qlora,
    Full,
}
