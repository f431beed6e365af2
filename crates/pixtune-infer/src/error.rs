//! Why a model cannot be opened or cannot answer.

use std::path::PathBuf;

use pixtune_core::diagnostic::Finding;
use pixtune_core::text::counted;
use pixtune_core::tokens::TokenizerVersion;
use pixtune_cuda::OpenError;
use pixtune_io::image::ImageError;
use pixtune_io::tokens::TokenizerError;
use pixtune_model::network::NetworkError;
use pixtune_model::weights::WeightsError;

use crate::failure::EndpointFailure;

/// Why a model directory or an adapter cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The network does not support the model or the adapter.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] OpenError),
    /// The tokenizer file cannot be read.
    #[error(transparent)]
    TokenizerFile(#[from] TokenizerError),
    /// The directory has no tokenizer that is supported.
    #[error("`{}` has no tekken.json{}", directory.display(), unsupported(*has_tokenizer_json))]
    NoTokenizer {
        /// The model directory.
        directory: PathBuf,
        /// Whether there is a `tokenizer.json` instead.
        has_tokenizer_json: bool,
    },
    /// The tokenizer is that of another model.
    #[error(
        "{tokenizer} has {}, but the model in `{}` has a vocabulary of {vocabulary}",
        counted(*tokens as u64, "token"),
        directory.display()
    )]
    VocabularySize {
        /// The model directory.
        directory: PathBuf,
        /// The tokenizer, as a message names it.
        tokenizer: String,
        /// Tokens of the tokenizer.
        tokens: usize,
        /// Tokens of the model.
        vocabulary: usize,
    },
    /// The tokenizer has a version that the model's cannot have.
    #[error(
        "{tokenizer} is of version {found}, but the tokenizer of the model in `{}` has {}",
        directory.display(),
        one_of(expected)
    )]
    Version {
        /// The model directory.
        directory: PathBuf,
        /// The tokenizer, as a message names it.
        tokenizer: String,
        /// Its version.
        found: TokenizerVersion,
        /// The versions that fit the model.
        expected: &'static [TokenizerVersion],
    },
    /// Without a tokenizer file, the version of the tokenizer is open.
    #[error(
        "`{}` has no tekken.json, and its configuration does not decide the version of the tokenizer: {}",
        directory.display(),
        one_of(versions)
    )]
    AmbiguousVersion {
        /// The model directory.
        directory: PathBuf,
        /// The versions that it may have.
        versions: &'static [TokenizerVersion],
    },
    /// Tokenizer and model disagree about the token of an image patch.
    #[error("{tokenizer} has [IMG] as token {found}, but the model in `{}` has it as {expected}", directory.display())]
    ImageToken {
        /// The model directory.
        directory: PathBuf,
        /// The tokenizer, as a message names it.
        tokenizer: String,
        /// The id in the tokenizer.
        found: u32,
        /// The id in the model's configuration.
        expected: u32,
    },
}

/// Versions as a message names them.
fn one_of(versions: &[TokenizerVersion]) -> String {
    let names: Vec<&str> = versions.iter().map(|version| version.as_str()).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn unsupported(has_tokenizer_json: bool) -> &'static str {
    match has_tokenizer_json {
        true => "; its tokenizer.json does not define how images and tools are laid out",
        false => "",
    }
}

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The conversation does not leave the next message to the assistant.
    #[error("the last message of the conversation has to come from the user or a tool")]
    NotAssistantsTurn,
    /// The chat layout refuses the conversation.
    #[error("{}", .0.message)]
    Conversation(Finding),
    /// An image cannot be decoded.
    #[error("image {} {source}", index + 1)]
    Image {
        /// Its index in the conversation's images.
        index: usize,
        /// Why.
        source: ImageError,
    },
    /// The model has no positions for so many tokens.
    #[error(
        "{} and {} exceed the model's limit of {}",
        counted(*prompt_tokens as u64, "prompt token"),
        counted(*max_tokens as u64, "answer token"),
        counted(*limit as u64, "token")
    )]
    TooLong {
        /// Tokens of the conversation.
        prompt_tokens: usize,
        /// Tokens the answer may have.
        max_tokens: usize,
        /// Tokens the model can read.
        limit: usize,
    },
    /// The network failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The endpoint gave no answer.
    #[error(transparent)]
    Endpoint(EndpointFailure),
}
