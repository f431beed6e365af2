//! `pixtune plan`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::CountingArgs;
use crate::ui::Format;

/// Say what training on a set will take: steps, rates, memory, time, and who can take the data
///
/// Counts every sample exactly, then plans: steps for 2 to 4 epochs, batch, learning rate and warm-up, the micro-batch that
/// fits into the memory with every part's formula, the time as a range, and for each trainer whether it takes the data as
/// it is. Every number says whether it is computed, published (with its source) or a guess (with its reason).
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
    /// The card: h100-80gb, h200-141gb, a100-80gb, a100-40gb, l40s-48gb, rtx4090-24gb, rtx3090-24gb or l4-24gb;
    /// short names where they mean one card: h100, h200, l40s, 4090, 3090, l4
    #[arg(long, default_value = "h100-80gb", conflicts_with = "vram")]
    pub gpu: String,
    /// The memory of a card that is not in the list: 16GiB, 24GB; a number alone is GB
    #[arg(long, value_name = "SIZE")]
    pub vram: Option<String>,
    /// What is trained: adapters, adapters beside 4-bit weights, or every weight
    #[arg(long, value_enum, default_value_t = MethodArg::Lora)]
    pub method: MethodArg,
    /// Rank of the adapters
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub lora_rank: u64,
    /// For people or for machines (one JSON object)
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
