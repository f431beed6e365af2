//! The tokenizers of Pixtral and its successors: Tekken, and the SentencePiece vocabulary of Pixtral Large.

mod encoder;
mod error;
mod file;
mod marks;
mod memory;
mod packed;
mod published;
mod sentencepiece;

use std::sync::{Mutex, OnceLock, PoisonError};

use super::bpe::Vocabulary;
use super::{SettingsBuilder, TokenizerVersion};
pub use encoder::Encoder;
pub use error::TekkenError;
use file::{SPECIAL_TOKENS, name_special_tokens};
pub use marks::{Marks, NewerMarks};
use memory::Memory;
use sentencepiece::Pieces;

/// The pre-tokenizer pattern that `scan` implements; every published Tekken file has this one.
pub const PATTERN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// A vocabulary with its special tokens. Text is never encoded as a special token: these come from the chat layout.
pub struct Tokenizer {
    model: TextModel,
    special_tokens: Vec<String>,
    marks: Marks,
    version: TokenizerVersion,
    images: Option<ImageConfig>,
    settings: Option<SettingsBuilder>,
    origin: Origin,
    /// Idle encoders with their caches.
    resting: Mutex<Vec<Memory>>,
}

/// What encodes texts.
enum TextModel {
    /// The Tekken vocabulary that is built in. It is unpacked on first use: checks without counting do not need it, and
    /// unpacking takes longer than checking a thousand rows.
    BuiltIn,
    /// The Tekken vocabulary of a file.
    Read(Box<Vocabulary>),
    /// The SentencePiece vocabulary that is built in.
    SentencePiece,
}

/// Where the special tokens of a tokenizer come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A file of the model, read now or built in.
    File,
    /// Published tables; no file of this version was read.
    Tables,
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

/// What a tokenizer is assembled from.
struct Parts {
    model: TextModel,
    special_tokens: Vec<String>,
    version: TokenizerVersion,
    images: Option<ImageConfig>,
    settings: Option<SettingsBuilder>,
    origin: Origin,
}

impl Tokenizer {
    /// The tokenizer of Pixtral 12B (tekken_240911).
    pub fn embedded() -> &'static Tokenizer {
        Tokenizer::built_in(TokenizerVersion::V3)
    }

    /// The tokenizer of a version, without a file. The vocabulary is unpacked when a text is first encoded.
    pub fn built_in(version: TokenizerVersion) -> &'static Tokenizer {
        static BUILT_IN: [OnceLock<Tokenizer>; TokenizerVersion::ALL.len()] =
            [const { OnceLock::new() }; TokenizerVersion::ALL.len()];
        BUILT_IN[version as usize].get_or_init(|| {
            let (model, special_tokens) = match version {
                TokenizerVersion::V7m1 => (TextModel::SentencePiece, sentencepiece::control_tokens()),
                _ => (TextModel::BuiltIn, published::special_tokens(version)),
            };
            let origin = match version {
                TokenizerVersion::V3 | TokenizerVersion::V7m1 => Origin::File,
                _ => Origin::Tables,
            };
            let (images, settings) = (Some(published::images(version)), published::settings(version));
            let parts = Parts { model, special_tokens, version, images, settings, origin };
            Tokenizer::assemble(parts).expect("the built-in lists have every mark")
        })
    }

    fn assemble(parts: Parts) -> Result<Tokenizer, TekkenError> {
        let Parts { model, special_tokens, version, images, settings, origin } = parts;
        let marks = Marks::find(&special_tokens, version)?;
        let resting = Mutex::default();
        Ok(Tokenizer { model, special_tokens, marks, version, images, settings, origin, resting })
    }

    /// The Tekken vocabulary; `None` for SentencePiece.
    fn tekken(&self) -> Option<&Vocabulary> {
        static EMBEDDED: OnceLock<Vocabulary> = OnceLock::new();
        match &self.model {
            TextModel::BuiltIn => Some(EMBEDDED.get_or_init(|| {
                let (bytes, starts) = packed::unpack();
                Vocabulary::new(bytes, starts).expect("the packed vocabulary has no duplicates")
            })),
            TextModel::Read(vocabulary) => Some(vocabulary),
            TextModel::SentencePiece => None,
        }
    }

    /// An encoder. Use one for many texts: it caches merged pieces.
    pub fn encoder(&self) -> Encoder<'_> {
        let memory = self.resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Encoder { tokenizer: self, memory: memory.unwrap_or_default() }
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
        if self.adds_space() && text.starts_with(' ') {
            text.remove(0);
        }
        text
    }

    /// The bytes of an id; `None` for special tokens and unknown ids.
    pub fn token(&self, id: u32) -> Option<&[u8]> {
        let Some(vocabulary) = self.tekken() else { return Pieces::embedded().text(id) };
        let rank = (id as usize).checked_sub(self.special_tokens.len())?;
        (rank < vocabulary.len()).then(|| vocabulary.token(rank as u32))
    }

    /// Bytes of the longest token: a text has at least as many tokens as this fits into it.
    pub fn longest_token(&self) -> usize {
        let ids = self.special_tokens.len()..self.len();
        ids.filter_map(|id| self.token(id as u32)).map(<[u8]>::len).max().unwrap_or(1)
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
        match self.tekken() {
            Some(vocabulary) => self.special_tokens.len() + vocabulary.len(),
            None => Pieces::embedded().len(),
        }
    }

    /// Always false: every vocabulary has the 256 bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The version of the tokenizer, and so of the chat layout.
    pub fn version(&self) -> TokenizerVersion {
        self.version
    }

    /// The image configuration of the file, if it has one.
    pub fn images(&self) -> Option<ImageConfig> {
        self.images
    }

    /// The settings that conversations have, from v15.
    pub fn settings(&self) -> Option<&SettingsBuilder> {
        self.settings.as_ref()
    }

    /// Where the special tokens come from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether half of a surrogate pair in a text is an error; Tekken reads it as U+FFFD.
    pub fn rejects_surrogates(&self) -> bool {
        matches!(self.model, TextModel::SentencePiece)
    }

    /// Whether encoding puts a space in front of a text, which decoding removes.
    pub fn adds_space(&self) -> bool {
        matches!(self.model, TextModel::SentencePiece)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({}, {} tokens)", self.version, self.len())
    }
}
