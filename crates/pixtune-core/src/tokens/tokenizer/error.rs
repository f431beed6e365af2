//! Why a tokenizer file cannot be used.

use crate::tokens::TokenizerVersion;

/// Why a tokenizer file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TekkenError {
    /// The file is not UTF-8.
    #[error("the tokenizer file is not valid UTF-8")]
    NotText(#[source] std::str::Utf8Error),
    /// The file is not JSON.
    #[error("the tokenizer file is not JSON")]
    NotJson(#[source] crate::json::SyntaxError),
    /// A value is missing or has the wrong type.
    #[error("the tokenizer file has no {expected} at `{pointer}`")]
    Missing {
        /// JSON pointer to the value.
        pointer: String,
        /// The expected type.
        expected: &'static str,
    },
    /// The pre-tokenizer pattern is not supported.
    #[error("the tokenizer file has an unknown pre-tokenizer pattern `{pattern}`")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// The version is not supported.
    #[error("the tokenizer file has the version `{version}`; supported are v3, v7, v11, v13 and v15")]
    Version {
        /// The version.
        version: String,
    },
    /// The image configuration has two names, or that of other versions.
    #[error("the tokenizer file of version {version} {why}")]
    Images {
        /// Its version.
        version: TokenizerVersion,
        /// What is wrong.
        why: &'static str,
    },
    /// Settings in a version that has none.
    #[error(
        "the tokenizer file has a `model_settings_builder`, which its version {version} does not support"
    )]
    Settings {
        /// Its version.
        version: TokenizerVersion,
    },
    /// The declared numbers of tokens contradict each other or the lists.
    #[error(
        "the tokenizer file declares {vocabulary} tokens of which {special} are special, but lists {listed}"
    )]
    Counts {
        /// `default_vocab_size`
        vocabulary: u64,
        /// `default_num_special_tokens`
        special: u64,
        /// Entries of `vocab`.
        listed: usize,
    },
    /// The list of special tokens is invalid.
    #[error(
        "the tokenizer file gives special token {rank} the name `{name}`; the rank or name is out of range or already used"
    )]
    Special {
        /// Its rank.
        rank: u64,
        /// Its name.
        name: String,
    },
    /// A special token that conversations need is missing.
    #[error("the tokenizer file has no special token `{name}`")]
    NoSpecial {
        /// The missing token.
        name: &'static str,
    },
    /// A rank is at the wrong position.
    #[error("entry {index} of the vocabulary has the rank {rank}")]
    Rank {
        /// Its index in `vocab`.
        index: usize,
        /// The rank in the file.
        rank: u64,
    },
    /// The bytes of a token are invalid, empty or not the required byte.
    #[error("entry {index} of the vocabulary has the bytes `{bytes}`, {why}")]
    Bytes {
        /// Its index in `vocab`.
        index: usize,
        /// The bytes in the file.
        bytes: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Two entries are the same token.
    #[error("entries {first} and {second} of the vocabulary have the same bytes")]
    Duplicate {
        /// The earlier one.
        first: u32,
        /// The later one.
        second: u32,
    },
}
