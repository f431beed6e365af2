//! `pixtune generate`.

use std::path::PathBuf;

use clap::Parser;

/// Ask a model about images, with or without an adapter, on the processor
///
/// For looking at what a training did: the answer goes to standard output as it is made. The prompt is laid out as
/// mistral-common 1.13.1 lays out a user's turn, images first; the tokenizer is tekken.json in the model's directory, or the
/// vocabulary of Pixtral 12B where there is none and the model has its size.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune generate --model pixtral-12b --image invoice.png --prompt \"What is the total?\"
  pixtune generate --model pixtral-12b --adapter run/adapter --image a.jpg --image b.jpg --prompt \"What changed?\"
  pixtune generate --model pixtral-12b --prompt \"A haiku about rust\" --temperature 0.7 --seed 1
")]
pub struct GenerateArgs {
    /// The model's directory, in either format
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// A LoRA adapter in PEFT's files
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// An image; may be given several times
    #[arg(long = "image", value_name = "FILE")]
    pub images: Vec<PathBuf>,
    /// What to ask
    #[arg(long)]
    pub prompt: String,
    /// 0 always takes the most likely token; above it, tokens are drawn
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f64,
    /// Stop after so many tokens
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub max_tokens: usize,
    /// What is drawn; the same seed gives the same answer
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads; all processors without it. The answer does not depend on them
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Only the answer and errors
    #[arg(long, short)]
    pub quiet: bool,
}
