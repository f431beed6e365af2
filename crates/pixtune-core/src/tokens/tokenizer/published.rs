//! The special tokens of each version, from published tables, for use without a tokenizer file.
//!
//! Every Tekken version after Nemo has the vocabulary that is built in; versions differ in their special tokens, their
//! images and, from v15, their settings. The ids below 20 are those of mistral-common 1.13.1. The others are asserted by the
//! public tests of the crate `tekken` 0.2 against the files of Mistral Small 3.2 (v11), Ministral 3 8B (v13) and Mistral
//! Small 4 (v15).

use super::{ImageConfig, SPECIAL_TOKENS, name_special_tokens};
use crate::tokens::{SettingsBuilder, TokenizerVersion};

/// Special tokens after the first 20, with the first version that has them.
const NEWER: [(usize, &str, TokenizerVersion); 6] = [
    (32, "[ARGS]", TokenizerVersion::V11),
    (33, "[CALL_ID]", TokenizerVersion::V11),
    (34, "[THINK]", TokenizerVersion::V13),
    (35, "[/THINK]", TokenizerVersion::V13),
    (36, "[MODEL_SETTINGS]", TokenizerVersion::V15),
    (37, "[/MODEL_SETTINGS]", TokenizerVersion::V15),
];

/// The special tokens of a version with a Tekken vocabulary.
pub(super) fn special_tokens(version: TokenizerVersion) -> Vec<String> {
    let mut names = name_special_tokens(&SPECIAL_TOKENS.map(str::to_owned), 1_000);
    for (id, name, first) in NEWER {
        if version >= first {
            name.clone_into(&mut names[id]);
        }
    }
    names
}

/// The image configuration of a version.
pub(super) fn images(version: TokenizerVersion) -> ImageConfig {
    match version {
        TokenizerVersion::V3 | TokenizerVersion::V7m1 => ImageConfig { patch: 16, max_side: 1024, merge: 1 },
        _ => ImageConfig { patch: 14, max_side: 1540, merge: 2 },
    }
}

/// The settings that a version writes into conversations.
pub(super) fn settings(version: TokenizerVersion) -> Option<SettingsBuilder> {
    (version == TokenizerVersion::V15).then(SettingsBuilder::published)
}
