//! Tekken, the tokenizer of Pixtral and its successors.

mod encoder;
mod file;
mod packed;

use std::sync::{Mutex, OnceLock, PoisonError};

use super::bpe::Vocabulary;
pub use encoder::Encoder;
use encoder::Memory;
use file::{SPECIAL_TOKENS, name_special_tokens};

/// The pre-tokenizer pattern that `scan` implements; every published Tekken file has this one.
pub const PATTERN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// A Tekken vocabulary with its special tokens. Text is never encoded as a special token: these come from the chat layout.
pub struct Tekken {
    /// The built-in vocabulary is unpacked on first use: checks without counting do not need it, and unpacking takes longer
    /// than checking a thousand rows.
    vocabulary: OnceLock<Vocabulary>,
    special_tokens: Vec<String>,
    marks: Marks,
    version: u32,
    images: Option<ImageConfig>,
    /// Idle encoders with their caches.
    resting: Mutex<Vec<Memory>>,
}

/// The ids that give a conversation its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// `<s>`, before everything.
    pub begin: u32,
    /// `</s>`, after an answer.
    pub end: u32,
    /// `[INST]`, before a user's turn.
    pub begin_user: u32,
    /// `[/INST]`, after it.
    pub end_user: u32,
    /// `[AVAILABLE_TOOLS]`.
    pub begin_tools: u32,
    /// `[/AVAILABLE_TOOLS]`.
    pub end_tools: u32,
    /// `[TOOL_CALLS]`, before the calls of an assistant's turn.
    pub tool_calls: u32,
    /// `[TOOL_RESULTS]`.
    pub begin_result: u32,
    /// `[/TOOL_RESULTS]`.
    pub end_result: u32,
    /// `[IMG]`, one patch of an image.
    pub image: u32,
    /// `[IMG_BREAK]`, after every row but the last.
    pub image_break: u32,
    /// `[IMG_END]`, after the last row.
    pub image_end: u32,
}

/// The image configuration of a tokenizer file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageConfig {
    /// Side of a patch in pixels.
    pub patch: u32,
    /// Longest side in pixels; larger images are downscaled.
    pub max_side: u32,
    /// Patches per side that one token stands for.
    pub merge: u32,
}

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
    #[error("the tokenizer file has the unknown version `{version}`")]
    Version {
        /// The version.
        version: String,
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

impl Tekken {
    /// The vocabulary of Pixtral 12B (tekken_240911), unpacked when a text is first encoded.
    pub fn embedded() -> &'static Tekken {
        static EMBEDDED: OnceLock<Tekken> = OnceLock::new();
        EMBEDDED.get_or_init(|| {
            let special_tokens = name_special_tokens(&SPECIAL_TOKENS.map(str::to_owned), 1_000);
            let images = Some(ImageConfig { patch: 16, max_side: 1024, merge: 1 });
            Tekken::assemble(OnceLock::new(), special_tokens, 3, images)
                .expect("the built-in list has every mark")
        })
    }

    fn assemble(
        vocabulary: OnceLock<Vocabulary>,
        special_tokens: Vec<String>,
        version: u32,
        images: Option<ImageConfig>,
    ) -> Result<Tekken, TekkenError> {
        let marks = Marks::find(&special_tokens)?;
        Ok(Tekken { vocabulary, special_tokens, marks, version, images, resting: Mutex::default() })
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.vocabulary.get_or_init(|| {
            let (bytes, starts) = packed::unpack();
            Vocabulary::new(bytes, starts).expect("the packed vocabulary has no duplicates")
        })
    }

    /// An encoder. Use one for many texts: it caches merged pieces.
    pub fn encoder(&self) -> Encoder<'_> {
        let memory = self.resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Encoder { tekken: self, memory: memory.unwrap_or_default() }
    }

    /// The ids of a text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids);
        ids
    }

    /// Appends the ids of a text.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        self.encoder().encode_into(text, ids);
    }

    /// How many ids a text has.
    pub fn count(&self, text: &str) -> usize {
        self.encoder().count(text)
    }

    /// Decodes ids. Special tokens are skipped; invalid UTF-8 and unknown ids become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.decode_with(ids, |_| {})
    }

    /// Decodes ids with the names of special tokens, for people to read.
    pub fn decode_with_special_tokens(&self, ids: &[u32]) -> String {
        self.decode_with(ids, |text| text.0.push_str(text.1))
    }

    fn decode_with(&self, ids: &[u32], special: impl Fn((&mut String, &str))) -> String {
        let mut text = String::new();
        let mut bytes = Vec::new();
        for &id in ids {
            if let Some(name) = self.special_tokens.get(id as usize) {
                text.push_str(&String::from_utf8_lossy(&bytes));
                bytes.clear();
                special((&mut text, name));
            } else {
                bytes.extend_from_slice(self.token(id).unwrap_or("\u{fffd}".as_bytes()));
            }
        }
        text.push_str(&String::from_utf8_lossy(&bytes));
        text
    }

    /// The bytes of an id; `None` for special tokens and unknown ids.
    pub fn token(&self, id: u32) -> Option<&[u8]> {
        let rank = (id as usize).checked_sub(self.special_tokens.len())?;
        (rank < self.vocabulary().len()).then(|| self.vocabulary().token(rank as u32))
    }

    /// Bytes of the longest token: a text has at least as many tokens as this fits into it.
    pub fn longest_token(&self) -> usize {
        let vocabulary = self.vocabulary();
        (0..vocabulary.len()).map(|rank| vocabulary.token(rank as u32).len()).max().unwrap_or(1)
    }

    /// The id of a special token by its name, such as `[INST]`.
    pub fn special_token(&self, name: &str) -> Option<u32> {
        self.special_tokens.iter().position(|special| special == name).map(|id| id as u32)
    }

    /// The special tokens by id.
    pub fn special_tokens(&self) -> &[String] {
        &self.special_tokens
    }

    /// The ids that give a conversation its structure.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The number of ids, with special tokens.
    pub fn len(&self) -> usize {
        self.special_tokens.len() + self.vocabulary().len()
    }

    /// Always false: every vocabulary has the 256 bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The version of the tokenizer, and so of the chat layout: 3 for Pixtral 12B.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The image configuration of the file, if it has one.
    pub fn images(&self) -> Option<ImageConfig> {
        self.images
    }
}

impl std::fmt::Debug for Tekken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tekken(v{}, {} tokens)", self.version, self.len())
    }
}

impl Marks {
    fn find(special_tokens: &[String]) -> Result<Marks, TekkenError> {
        let id = |name: &'static str| match special_tokens.iter().position(|special| special == name) {
            Some(id) => Ok(id as u32),
            None => Err(TekkenError::NoSpecial { name }),
        };
        Ok(Marks {
            begin: id("<s>")?,
            end: id("</s>")?,
            begin_user: id("[INST]")?,
            end_user: id("[/INST]")?,
            begin_tools: id("[AVAILABLE_TOOLS]")?,
            end_tools: id("[/AVAILABLE_TOOLS]")?,
            tool_calls: id("[TOOL_CALLS]")?,
            begin_result: id("[TOOL_RESULTS]")?,
            end_result: id("[/TOOL_RESULTS]")?,
            image: id("[IMG]")?,
            image_break: id("[IMG_BREAK]")?,
            image_end: id("[IMG_END]")?,
        })
    }
}
