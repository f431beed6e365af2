//! The programs that a model is made ready for.

use crate::adapter::Dialect;
use crate::adapter::check::Server;
use crate::weights::Format;

/// A program that serves models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// vLLM with the Hugging Face format.
    Vllm,
    /// vLLM with the Mistral format.
    VllmMistral,
    /// Mistral's own.
    MistralInference,
    /// transformers 5.
    Transformers,
    /// llama.cpp's server.
    LlamaCpp,
    /// Ollama.
    Ollama,
    /// LM Studio.
    LmStudio,
}

/// What a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// A checkpoint of this format.
    Checkpoint(Format),
    /// GGUF files.
    Gguf,
}

impl Target {
    /// Every program.
    pub const ALL: [Target; 7] = [
        Target::Vllm,
        Target::VllmMistral,
        Target::MistralInference,
        Target::Transformers,
        Target::LlamaCpp,
        Target::Ollama,
        Target::LmStudio,
    ];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Target::Vllm => "vllm",
            Target::VllmMistral => "vllm-mistral",
            Target::MistralInference => "mistral-inference",
            Target::Transformers => "transformers",
            Target::LlamaCpp => "llama.cpp",
            Target::Ollama => "ollama",
            Target::LmStudio => "lm-studio",
        }
    }

    /// What it reads.
    pub fn reads(self) -> Reads {
        match self {
            Target::Vllm | Target::Transformers => Reads::Checkpoint(Format::Hf),
            Target::VllmMistral | Target::MistralInference => Reads::Checkpoint(Format::Mistral),
            Target::LlamaCpp | Target::Ollama | Target::LmStudio => Reads::Gguf,
        }
    }

    /// How it was tested; the start command is printed with it.
    pub fn evidence(self) -> &'static str {
        match self {
            Target::Vllm | Target::VllmMistral => {
                "run with vLLM 0.32.0: the answers are those of `pixtune generate`"
            }
            Target::Transformers => "run with transformers 5.23.0: the logits are those of pixtune",
            Target::MistralInference => {
                "run with mistral-inference 1.6.0 on a CPU, with PyTorch's attention: the log-probabilities are those of transformers"
            }
            Target::LlamaCpp => "run with llama.cpp b11434: the answers are those of `pixtune generate`",
            Target::Ollama => {
                "not run; Ollama 0.32 was reported to hang while it imports a model with a projector"
            }
            Target::LmStudio => "not run",
        }
    }

    /// The server whose rules an adapter beside the base follows, and the dialect that it reads; `None` where the adapter is merged
    /// in any case.
    pub(super) fn adapters(self) -> Option<(Server, Dialect)> {
        match self {
            Target::Vllm => Some((Server::VllmHf, Dialect::Peft)),
            Target::VllmMistral => Some((Server::VllmMistral, Dialect::VllmConsolidated)),
            Target::MistralInference => Some((Server::MistralInference, Dialect::Mistral)),
            Target::Transformers => Some((Server::Transformers, Dialect::Peft)),
            Target::LlamaCpp | Target::Ollama | Target::LmStudio => None,
        }
    }
}
