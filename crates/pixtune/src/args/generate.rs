//! `pixtune generate`.

use std::path::PathBuf;

use clap::Parser;
use pixtune_cuda::Device;

/// Generate an answer about images with a local model
///
/// Inspect what a training run changed: the answer is printed as it is generated, on the CPU or a GPU, with or
/// without an adapter. Images come before the prompt in one user message, laid out as by mistral-common 1.13.1. The tokenizer is
/// tekken.json in the model directory; without one, it is the built-in vocabulary of Pixtral 12B.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune generate --model pixtral-12b --image invoice.png --prompt \"What is the total?\"
  pixtune generate --model pixtral-12b --adapter run/adapter --image a.jpg --image b.jpg --prompt \"What changed?\"
  pixtune generate --model pixtral-12b --prompt \"A haiku about rust\" --temperature 0.7 --seed 1
")]
pub struct GenerateArgs {
    /// Model directory, in Hugging Face or Mistral format
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// LoRA adapter, in PEFT format
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Image; repeat for several
    #[arg(long = "image", value_name = "FILE")]
    pub images: Vec<PathBuf>,
    /// Prompt text
    #[arg(long)]
    pub prompt: String,
    /// Sampling temperature; 0 takes the most likely token
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f64,
    /// Maximum tokens of the answer
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub max_tokens: usize,
    /// Sampling seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Device: auto (a GPU if there is one), cpu, cuda, or cuda:N for the GPU of index N
    #[arg(long, default_value_t = Device::Cpu, value_name = "DEVICE")]
    pub device: Device,
    /// Load the model's linear layers in 4 bits (NF4 with double quantization), as for QLoRA
    #[arg(long)]
    pub load_in_4bit: bool,
    /// Number of threads, which the answer does not depend on [default: one per CPU]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}
