//! The training that `plan` computes and `export` configures.

use clap::{Args, ValueEnum};
use pixtune_core::plan::defaults;
use pixtune_core::target::Method;

#[derive(Debug, Args)]
pub struct TrainingArgs {
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    Lora,
    Qlora,
    Full,
}

impl From<MethodArg> for Method {
    fn from(method: MethodArg) -> Method {
        match method {
            MethodArg::Lora => Method::Lora,
            MethodArg::Qlora => Method::Qlora,
            MethodArg::Full => Method::Full,
        }
    }
}
