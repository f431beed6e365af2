//! `pixtune deploy`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::DtypeArg;
use crate::ui::Format;

/// Make a model and its adapter ready for a server, with the command that starts it
///
/// Merges the adapter, or converts it to the dialect that the server applies; converts the weights; writes every file that the
/// server needs beside them (tokenizer, image preprocessing, chat template); refuses what the server would ignore; prints the
/// start command and how it was tested. `docs/serving.md` has a section for each server.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune deploy pixtral-12b run/adapter --for vllm --out served
  pixtune deploy pixtral-12b run/adapter --for vllm --adapter beside --out tuned-lora
  pixtune deploy Pixtral-12B-2409 --for vllm-mistral --out served        a model without an adapter
  pixtune deploy pixtral-12b run/adapter --for llama.cpp --dtype q8_0 --out served
  pixtune deploy pixtral-nf4 run/adapter --base pixtral-12b --for vllm --out served

Exit codes:
  0 ready to be served; 1 some weights are not finite; 2 failure, or the server would not compute the
  trained model
")]
pub struct DeployArgs {
    /// Model directory, in Hugging Face or Mistral format
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// LoRA adapter in any dialect, or output directory of `train`
    #[arg(value_name = "ADAPTER")]
    pub adapter: Option<PathBuf>,
    /// The server
    #[arg(long = "for", value_enum, value_name = "SERVER")]
    pub target: TargetArg,
    /// Output directory; its name is that of the model in requests
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// Directory of the original model, for tokenizer files that MODEL lacks; of a quantized MODEL, what the adapter is merged into
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// What becomes of the adapter
    #[arg(long = "adapter", value_enum, default_value_t = AdapterFormArg::Auto)]
    pub form: AdapterFormArg,
    /// Data type of the weights; q8_0 is for GGUF only
    #[arg(long, value_enum, default_value_t = DtypeArg::Keep)]
    pub dtype: DtypeArg,
    /// Read the weights back and compare every byte before the output gets its name
    #[arg(long)]
    pub verify: bool,
    /// Replace an existing output that pixtune wrote
    #[arg(long)]
    pub force: bool,
    /// Output format; json prints one object
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// A server on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TargetArg {
    /// vLLM with the Hugging Face format
    Vllm,
    /// vLLM with the Mistral format
    VllmMistral,
    /// Mistral's own
    MistralInference,
    /// transformers 5, in Python
    Transformers,
    /// llama-server and other programs of llama.cpp (GGUF)
    #[value(name = "llama.cpp")]
    LlamaCpp,
    /// Ollama (GGUF and a Modelfile)
    Ollama,
    /// LM Studio (GGUF)
    LmStudio,
}

/// What becomes of an adapter on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AdapterFormArg {
    /// Beside the base if MODEL can be served as it is and the server applies all of the adapter; otherwise merged
    Auto,
    /// Merged into the weights
    Merge,
    /// Converted, to be loaded by the server beside MODEL
    Beside,
}
