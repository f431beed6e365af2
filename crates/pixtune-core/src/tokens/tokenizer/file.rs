//! The reader of `tekken.json`.

use super::{ImageConfig, Origin, PATTERN, Parts, TekkenError, TextModel, Tokenizer};
use crate::json::{self, Value};
use crate::tokens::bpe::{MAX_RANKS, Vocabulary};
use crate::tokens::{SettingsBuilder, TokenizerVersion};

/// Special tokens by id for files without a list: mistral-common 1.13.1 `tekken.py`,
/// `DEPRECATED_SPECIAL_TOKENS`. The rest up to the number of special tokens are `<SPECIAL_n>`.
pub(super) const SPECIAL_TOKENS: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

/// Maximum bytes of a token: the longest published one has 76, and work grows with the square.
const MAX_TOKEN: usize = 1024;

impl Tokenizer {
    /// The vocabulary of a `tekken.json`.
    pub fn from_json(file: &[u8]) -> Result<Tokenizer, TekkenError> {
        let text = std::str::from_utf8(file).map_err(TekkenError::NotText)?;
        let file = json::parse(text).map_err(TekkenError::NotJson)?.value;
        if text_at(&file, "/config/pattern")? != PATTERN {
            return Err(TekkenError::Pattern { pattern: text_at(&file, "/config/pattern")?.to_owned() });
        }
        let version = text_at(&file, "/config/version")?;
        let version = TokenizerVersion::find_tekken(version)
            .ok_or_else(|| TekkenError::Version { version: version.to_owned() })?;
        let (ranks, special) = counts(&file)?;
        let special_tokens = special_tokens(&file, version, special)?;
        let (bytes, starts) = ranks_of(&file, ranks)?;
        let vocabulary = Vocabulary::new(bytes, starts).map_err(|duplicate| TekkenError::Duplicate {
            first: duplicate.first,
            second: duplicate.second,
        })?;
        Tokenizer::assemble(Parts {
            model: TextModel::Read(Box::new(vocabulary)),
            special_tokens,
            version,
            images: images(&file, version)?,
            settings: settings(&file, version)?,
            origin: Origin::File,
        })
    }
}

fn at<'v>(file: &'v Value<'v>, pointer: &str) -> Option<&'v Value<'v>> {
    pointer
        .split('/')
        .skip(1)
        .try_fold(file, |value, key| value.get(key))
        .filter(|value| **value != Value::Null)
}

fn missing(pointer: &str, expected: &'static str) -> TekkenError {
    TekkenError::Missing { pointer: pointer.to_owned(), expected }
}

fn text_at<'v>(file: &'v Value<'v>, pointer: &str) -> Result<&'v str, TekkenError> {
    at(file, pointer).and_then(Value::as_str).ok_or_else(|| missing(pointer, "text"))
}

fn number_at(file: &Value<'_>, pointer: &str) -> Result<u64, TekkenError> {
    match at(file, pointer) {
        Some(Value::Number(number)) => number.parse().map_err(|_| missing(pointer, "whole number")),
        _ => Err(missing(pointer, "whole number")),
    }
}

/// The numbers of ranks and special tokens that the file declares, validated against its lists.
fn counts(file: &Value<'_>) -> Result<(usize, usize), TekkenError> {
    let vocabulary = number_at(file, "/config/default_vocab_size")?;
    let special = number_at(file, "/config/default_num_special_tokens")?;
    let listed = at(file, "/vocab").and_then(Value::as_array).ok_or_else(|| missing("/vocab", "list"))?.len();
    let ranks = vocabulary.checked_sub(special).and_then(|ranks| usize::try_from(ranks).ok());
    match ranks {
        Some(ranks) if (256..=listed.min(MAX_RANKS)).contains(&ranks) && special <= MAX_RANKS as u64 => {
            Ok((ranks, special as usize))
        }
        _ => Err(TekkenError::Counts { vocabulary, special, listed }),
    }
}

fn special_tokens(
    file: &Value<'_>,
    version: TokenizerVersion,
    count: usize,
) -> Result<Vec<String>, TekkenError> {
    let Some(list) = at(file, "/special_tokens") else {
        // mistral-common 1.13.1 rejects a newer file without the list.
        return if version <= TokenizerVersion::V7 && count >= SPECIAL_TOKENS.len() {
            Ok(name_special_tokens(&SPECIAL_TOKENS.map(str::to_owned), count))
        } else {
            Err(missing("/special_tokens", "list"))
        };
    };
    let list = list.as_array().ok_or_else(|| missing("/special_tokens", "list"))?;
    let mut names = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let name = text_at(entry, "/token_str")?;
        let rank = number_at(entry, "/rank")?;
        if rank != index as u64 || index >= count || names.iter().any(|taken| taken == name) {
            return Err(TekkenError::Special { rank, name: name.to_owned() });
        }
        names.push(name.to_owned());
    }
    Ok(name_special_tokens(&names, count))
}

pub(super) fn name_special_tokens(named: &[String], count: usize) -> Vec<String> {
    let fillers = (named.len()..count).map(|id| format!("<SPECIAL_{id}>"));
    named.iter().cloned().chain(fillers).collect()
}

fn ranks_of(file: &Value<'_>, ranks: usize) -> Result<(Vec<u8>, Vec<u32>), TekkenError> {
    let list = at(file, "/vocab").and_then(Value::as_array).ok_or_else(|| missing("/vocab", "list"))?;
    let (mut bytes, mut starts) = (Vec::new(), vec![0]);
    for (index, entry) in list[..ranks].iter().enumerate() {
        let rank = number_at(entry, "/rank")
            .map_err(|_| missing(&format!("/vocab/{index}/rank"), "whole number"))?;
        if rank != index as u64 {
            return Err(TekkenError::Rank { index, rank });
        }
        let coded = text_at(entry, "/token_bytes")
            .map_err(|_| missing(&format!("/vocab/{index}/token_bytes"), "text"))?;
        let fault = |why| TekkenError::Bytes { index, bytes: coded.chars().take(80).collect(), why };
        let token = decode_base64(coded).ok_or_else(|| fault("which are not valid base64"))?;
        if token.is_empty() {
            return Err(fault("which are empty"));
        }
        if token.len() > MAX_TOKEN {
            return Err(fault("which are longer than 1,024 bytes"));
        }
        if index < 256 && token != [index as u8] {
            return Err(fault("but the first 256 entries must be the single bytes"));
        }
        bytes.extend_from_slice(&token);
        starts.push(u32::try_from(bytes.len()).map_err(|_| fault("after 4 GiB of other entries"))?);
    }
    Ok((bytes, starts))
}

/// The settings of conversations, which v15 introduced.
fn settings(file: &Value<'_>, version: TokenizerVersion) -> Result<Option<SettingsBuilder>, TekkenError> {
    match at(file, "/model_settings_builder") {
        None => Ok(None),
        Some(_) if version < TokenizerVersion::V15 => Err(TekkenError::Settings { version }),
        Some(builder) => {
            let read = SettingsBuilder::from_json(builder);
            read.map(Some).map_err(|expected| missing("/model_settings_builder", expected))
        }
    }
}

fn images(file: &Value<'_>, version: TokenizerVersion) -> Result<Option<ImageConfig>, TekkenError> {
    // `multimodal` is the older name, mistral-common 1.13.1 `tekken.py`, and not accepted after v11.
    let block = match ["/multimodal", "/image"].map(|block| at(file, block).is_some()) {
        [false, false] => return Ok(None),
        [false, true] => "/image",
        [true, false] if version <= TokenizerVersion::V11 => "/multimodal",
        [true, false] => {
            let why = "has its image configuration in `multimodal`, which is called `image` from v13 on";
            return Err(TekkenError::Images { version, why });
        }
        [true, true] => {
            let why = "has two image configurations, `image` and `multimodal`";
            return Err(TekkenError::Images { version, why });
        }
    };
    let side = |key: &str| -> Result<u32, TekkenError> {
        let pointer = format!("{block}/{key}");
        match u32::try_from(number_at(file, &pointer)?) {
            Ok(side @ 1..=1_000_000) => Ok(side),
            _ => Err(missing(&pointer, "possible size")),
        }
    };
    let merge = if at(file, &format!("{block}/spatial_merge_size")).is_some() {
        side("spatial_merge_size")?
    } else {
        1
    };
    Ok(Some(ImageConfig { patch: side("image_patch_size")?, max_side: side("max_image_size")?, merge }))
}

/// Padded standard base64; `None` for anything else.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text[..text.len() - padding].chunks(4) {
        let mut word = 0_u32;
        for &byte in group {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(digit);
        }
        word <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}
