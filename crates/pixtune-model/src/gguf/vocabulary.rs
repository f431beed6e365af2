//! The vocabulary as GGUF has it: tokens and merges in the alphabet of byte-level BPE.

use std::path::{Path, PathBuf};

use pixtune_core::json::Value as Json;
use pixtune_core::tokens::TokenizerVersion;
use pixtune_core::tokens::tokenizer::{PATTERN, Tokenizer};

use super::error::GgufError;
use super::metadata::{Metadata, Value};
use crate::weights::config::read_json_within;
use crate::weights::convert::tokenizer::{alphabet, merges};
use crate::weights::convert::{MAX_TOKENIZER, read_tekken};

/// What kind a token is (`llama_token_type`).
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const UNUSED: i32 = 5;

/// Tokens in the order of their ids, and merges in the order of their ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vocabulary {
    tokens: Vec<String>,
    kinds: Vec<i32>,
    merges: Vec<String>,
    version: Option<TokenizerVersion>,
}

impl Vocabulary {
    /// The vocabulary in the first of the directories that has one: `tekken.json`, or a `tokenizer.json` that is made of
    /// Tekken's pattern. That of a base comes last: it lacks the tokens that were added to the model.
    pub(super) fn find(directories: &[&Path]) -> Result<Vocabulary, GgufError> {
        for directory in directories {
            let [tekken, tokenizer] = ["tekken.json", "tokenizer.json"].map(|name| directory.join(name));
            if tekken.is_file() {
                return Ok(Vocabulary::of_tekken(&read_tekken(&tekken)?));
            }
            if tokenizer.is_file() {
                return Vocabulary::of_tokenizer(&tokenizer);
            }
        }
        let directory = directories.first().map_or_else(PathBuf::new, |directory| directory.to_path_buf());
        Err(GgufError::NoTokenizer { directory })
    }

    /// The vocabulary of a Tekken tokenizer.
    pub(super) fn of_tekken(tekken: &Tokenizer) -> Vocabulary {
        let alphabet = alphabet();
        let spelled =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| alphabet[usize::from(*byte)]).collect() };
        let specials = tekken.special_tokens();
        let ranks: Vec<&[u8]> =
            (specials.len()..tekken.len()).filter_map(|id| tekken.token(id as u32)).collect();
        let tokens = specials.iter().cloned().chain(ranks.iter().map(|bytes| spelled(bytes))).collect();
        let kinds = [vec![CONTROL; specials.len()], vec![NORMAL; ranks.len()]].concat();
        let merges =
            merges(&ranks).into_iter().map(|[left, right]| spelled(left) + " " + &spelled(right)).collect();
        Vocabulary { tokens, kinds, merges, version: Some(tekken.version()) }
    }

    /// Which layout its chats have; a `tokenizer.json` does not state it.
    pub(super) fn version(&self) -> Option<TokenizerVersion> {
        self.version
    }

    /// The vocabulary of a `tokenizer.json`.
    fn of_tokenizer(path: &Path) -> Result<Vocabulary, GgufError> {
        let wrong = |why: &str| GgufError::Tokenizer { path: path.to_owned(), why: why.to_owned() };
        let json = read_json_within(path, MAX_TOKENIZER).map_err(|error| wrong(&error.to_string()))?;
        if !has_pattern(json.get("pre_tokenizer")) {
            return Err(wrong("it does not split texts as Tekken does, and llama.cpp would split them so"));
        }
        let model = json.get("model");
        let entries = model.and_then(|model| model.get("vocab")).and_then(Json::as_object);
        let added = json.get("added_tokens").and_then(Json::as_array).unwrap_or_default();
        let merges = model.and_then(|model| model.get("merges")).and_then(Json::as_array);
        let (Some(entries), Some(merges)) = (entries, merges) else {
            return Err(wrong("it is not a byte-level BPE"));
        };
        let id = |value: Option<&Json<'_>>| match value {
            Some(Json::Number(text)) => text.parse::<usize>().ok(),
            _ => None,
        };
        let mut found: Vec<(usize, &str, i32)> = Vec::with_capacity(entries.len() + added.len());
        for (token, number) in entries {
            found.push((id(Some(number)).ok_or_else(|| wrong("an id is not a number"))?, token, NORMAL));
        }
        for token in added {
            let (Some(number), Some(content)) = (id(token.get("id")), token.text("content")) else {
                return Err(wrong("an added token has no id or no content"));
            };
            found.push((number, content, CONTROL));
        }
        // An added token that the vocabulary has too is the added one.
        found.sort_by_key(|(number, _, kind)| (*number, *kind));
        let mut vocabulary =
            Vocabulary { tokens: Vec::new(), kinds: Vec::new(), merges: Vec::new(), version: None };
        for (number, token, kind) in found {
            if number + 1 == vocabulary.tokens.len() && vocabulary.tokens[number] == token {
                vocabulary.kinds[number] = kind;
            } else if number == vocabulary.tokens.len() {
                vocabulary.tokens.push(token.to_owned());
                vocabulary.kinds.push(kind);
            } else {
                return Err(wrong("its ids have gaps, or two tokens have one"));
            }
        }
        let merge = |merge: &Json<'_>| match merge {
            Json::String(pair) => Some(pair.to_string()),
            Json::Array(pair) => match &pair[..] {
                [Json::String(left), Json::String(right)] => Some(format!("{left} {right}")),
                _ => None,
            },
            _ => None,
        };
        vocabulary.merges =
            merges.iter().map(merge).collect::<Option<_>>().ok_or_else(|| wrong("a merge is not a pair"))?;
        Ok(vocabulary)
    }

    /// The id of a special token.
    pub(super) fn special(&self, name: &str) -> Option<usize> {
        self.tokens.iter().zip(&self.kinds).position(|(token, kind)| token == name && *kind == CONTROL)
    }

    /// Its number of tokens.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Adds the keys for a model with so many rows. Rows without a token get one that no text has.
    pub(super) fn write(self, rows: usize, template: Option<&str>, keys: &mut Metadata) {
        let ids = [
            ("bos_token_id", self.special("<s>")),
            ("eos_token_id", self.special("</s>")),
            ("unknown_token_id", self.special("<unk>")),
            ("padding_token_id", self.special("<pad>")),
        ];
        let Vocabulary { mut tokens, mut kinds, merges, .. } = self;
        for row in tokens.len()..rows {
            tokens.push(format!("[PAD{row}]"));
            kinds.push(UNUSED);
        }
        keys.text("tokenizer.ggml.model", "gpt2")
            .text("tokenizer.ggml.pre", "tekken")
            .put("tokenizer.ggml.tokens", Value::Texts(tokens))
            .put("tokenizer.ggml.token_type", Value::I32s(kinds))
            .put("tokenizer.ggml.merges", Value::Texts(merges));
        for (key, id) in ids.into_iter().filter_map(|(key, id)| Some((key, id?))) {
            keys.number(format!("tokenizer.ggml.{key}"), id);
        }
        keys.flag("tokenizer.ggml.add_bos_token", true)
            .flag("tokenizer.ggml.add_eos_token", false)
            .flag("tokenizer.ggml.add_space_prefix", false);
        if let Some(template) = template {
            keys.text("tokenizer.chat_template", template);
        }
    }
}

/// Whether a pre-tokenizer, or one of a sequence, splits by Tekken's pattern.
fn has_pattern(pre_tokenizer: Option<&Json<'_>>) -> bool {
    let Some(pre_tokenizer) = pre_tokenizer else { return false };
    let own = pre_tokenizer.get("pattern").and_then(|pattern| pattern.text("Regex")) == Some(PATTERN);
    let parts = pre_tokenizer.get("pretokenizers").and_then(Json::as_array).unwrap_or_default();
    own || parts.iter().any(|part| has_pattern(Some(part)))
}
