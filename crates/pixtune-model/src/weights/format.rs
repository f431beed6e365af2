//! The two formats of a checkpoint, and what each is written like.

use super::names::Spelling;
use super::rows::RowOrder;

/// One of the two formats Pixtral exists in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Hugging Face: `config.json` and `model*.safetensors`.
    Hf,
    /// Mistral: `params.json` and `consolidated*.safetensors`.
    Mistral,
}

impl Format {
    /// The other one.
    pub fn other(self) -> Format {
        match self {
            Format::Hf => Format::Mistral,
            Format::Mistral => Format::Hf,
        }
    }

    /// The file that describes the model.
    pub fn config_file(self) -> &'static str {
        match self {
            Format::Hf => "config.json",
            Format::Mistral => "params.json",
        }
    }

    /// What names of weight files begin with.
    pub fn stem(self) -> &'static str {
        match self {
            Format::Hf => "model",
            Format::Mistral => "consolidated",
        }
    }

    /// How rows of q and k are ordered in this format.
    pub fn row_order(self) -> RowOrder {
        match self {
            Format::Hf => RowOrder::HalfSplit,
            Format::Mistral => RowOrder::Interleaved,
        }
    }

    /// How tensors are named in files we write in this format.
    pub fn spelling(self) -> Spelling {
        match self {
            Format::Hf => Spelling::Disk,
            Format::Mistral => Spelling::Native,
        }
    }

    /// Its name: `hf` or `mistral`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Hf => "hf",
            Format::Mistral => "mistral",
        }
    }
}
