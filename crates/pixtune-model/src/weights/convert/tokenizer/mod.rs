//! Hugging Face's tokenizer files, made of a Tekken vocabulary.
//!
//! The model in `tokenizer.json` is the byte-level BPE that Tekken is: a token is a merge of every two tokens it can be cut
//! into, the merges in the order of the ranks they lead to. `tokenizers` gives the ids of mistral-common with it.

use std::fmt::Write as _;

use pixtune_core::json::write_string;
use pixtune_core::tokens::TokenizerVersion;
use pixtune_core::tokens::tokenizer::{PATTERN, Tokenizer};

const CHAT_TEMPLATE_V3: &str = include_str!("chat_template.jinja");
/// Its first statement is the version, 0 in the file.
const CHAT_TEMPLATE_V7: &str = include_str!("chat_template_v7.jinja");
const NO_VERSION: &str = "{%- set version = 0 -%}";

/// The chat template of a version's layout; `None` for v7m1, a SentencePiece vocabulary that no `tokenizer.json` is made of.
pub fn chat_template(version: TokenizerVersion) -> Option<String> {
    let number = match version {
        TokenizerVersion::V3 => return Some(CHAT_TEMPLATE_V3.to_owned()),
        TokenizerVersion::V7m1 => return None,
        TokenizerVersion::V7 => 7,
        TokenizerVersion::V11 => 11,
        TokenizerVersion::V13 => 13,
        TokenizerVersion::V15 => 15,
    };
    Some(CHAT_TEMPLATE_V7.replacen(NO_VERSION, &format!("{{%- set version = {number} -%}}"), 1))
}

/// `tokenizer.json`.
pub fn tokenizer_json(tekken: &Tokenizer) -> String {
    let specials = tekken.special_tokens();
    let alphabet = alphabet();
    let spelled = |bytes: &[u8], out: &mut String| {
        out.extend(bytes.iter().map(|byte| alphabet[usize::from(*byte)]));
    };
    let ranks: Vec<&[u8]> = (specials.len()..tekken.len()).filter_map(|id| tekken.token(id as u32)).collect();
    // About 10 bytes a token and 20 a merge.
    let mut out = String::with_capacity(ranks.len() * 100);
    out.push_str(
        "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [",
    );
    for (id, name) in specials.iter().enumerate() {
        out.push_str(if id == 0 { "\n    " } else { ",\n    " });
        write!(out, "{{\"id\": {id}, \"content\": ").expect("a String takes any text");
        write_string(name, &mut out);
        out.push_str(ADDED_TOKEN);
        out.push('}');
    }
    out.push_str("\n  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n    ");
    out.push_str("{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
    write_string(PATTERN, &mut out);
    out.push_str("}, \"behavior\": \"Isolated\", \"invert\": false},\n    ");
    out.push_str(BYTE_LEVEL);
    out.push_str("\n  ]},\n  \"post_processor\": ");
    out.push_str(BYTE_LEVEL_PLAIN);
    out.push_str(",\n  \"decoder\": ");
    out.push_str(BYTE_LEVEL_DECODER);
    out.push_str(
        ",\n  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, \
         \"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": true,\n  \"vocab\": {",
    );
    for (id, name) in specials.iter().enumerate() {
        out.push_str(if id == 0 { "\n" } else { ",\n" });
        write_string(name, &mut out);
        write!(out, ": {id}").expect("a String takes any text");
    }
    let mut token = String::new();
    for (rank, bytes) in ranks.iter().enumerate() {
        token.clear();
        spelled(bytes, &mut token);
        out.push_str(",\n");
        write_string(&token, &mut out);
        write!(out, ": {}", specials.len() + rank).expect("a String takes any text");
    }
    out.push_str("\n  },\n  \"merges\": [");
    let mut first = true;
    for [left, right] in merges(&ranks) {
        out.push_str(if first { "\n[" } else { ",\n[" });
        first = false;
        for (piece, end) in [(left, ", "), (right, "]")] {
            token.clear();
            spelled(piece, &mut token);
            write_string(&token, &mut out);
            out.push_str(end);
        }
    }
    out.push_str("\n  ]}\n}\n");
    out
}

const ADDED_TOKEN: &str = ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true";
const BYTE_LEVEL: &str =
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}";
const BYTE_LEVEL_DECODER: &str =
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true}";
const BYTE_LEVEL_PLAIN: &str =
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": false, \"use_regex\": true}";

/// Every way to cut a token into two, in the order of the token's rank, then of the ranks of the pieces.
pub(crate) fn merges<'t>(ranks: &[&'t [u8]]) -> Vec<[&'t [u8]; 2]> {
    let known: std::collections::HashMap<&[u8], u32> =
        ranks.iter().enumerate().map(|(rank, bytes)| (*bytes, rank as u32)).collect();
    let mut all = Vec::new();
    let mut cuts: Vec<(u32, u32, usize)> = Vec::new();
    for bytes in ranks {
        cuts.clear();
        cuts.extend(
            (1..bytes.len())
                .filter_map(|at| Some((*known.get(&bytes[..at])?, *known.get(&bytes[at..])?, at))),
        );
        cuts.sort_unstable();
        all.extend(cuts.iter().map(|(_, _, at)| [&bytes[..*at], &bytes[*at..]]));
    }
    all
}

/// The letters that byte-level BPE writes bytes as (GPT-2's table): printable Latin-1 as itself, the rest from U+0100 on.
pub(crate) fn alphabet() -> [char; 256] {
    let mut next = 0x100;
    std::array::from_fn(|byte| {
        let own = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if own {
            byte as u32
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
}

/// `tokenizer_config.json`. The chat template stands in it too, because transformers before 4.50 looks only there.
pub fn tokenizer_config(tekken: &Tokenizer, template: Option<&str>) -> String {
    let mut out = String::from("{\n  \"added_tokens_decoder\": {");
    for (id, name) in tekken.special_tokens().iter().enumerate() {
        out.push_str(if id == 0 { "\n    " } else { ",\n    " });
        write!(out, "\"{id}\": {{\"content\": ").expect("a String takes any text");
        write_string(name, &mut out);
        out.push_str(ADDED_TOKEN);
        out.push('}');
    }
    out.push_str("\n  },\n  \"add_prefix_space\": false,\n  \"bos_token\": \"<s>\",\n");
    if let Some(template) = template {
        out.push_str("  \"chat_template\": ");
        write_string(template, &mut out);
        out.push_str(",\n");
    }
    out.push_str("  \"clean_up_tokenization_spaces\": false,\n  \"eos_token\": \"</s>\",\n");
    if tekken.special_token("<pad>").is_some() {
        out.push_str("  \"pad_token\": \"<pad>\",\n");
    }
    out.push_str(
        "  \"processor_class\": \"PixtralProcessor\",\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  \
         \"unk_token\": \"<unk>\"\n}\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_their_version() {
        assert_eq!(CHAT_TEMPLATE_V7.matches(NO_VERSION).count(), 1);
        for version in TokenizerVersion::ALL {
            let template = chat_template(version);
            let stated = format!("set version = {}", &version.to_string()[1..]);
            let has_version = template.as_ref().is_some_and(|template| template.contains(&stated));
            assert_eq!(
                has_version,
                !matches!(version, TokenizerVersion::V3 | TokenizerVersion::V7m1),
                "{version}"
            );
            assert_eq!(template.is_none(), version == TokenizerVersion::V7m1);
        }
    }

    #[test]
    fn the_alphabet_has_every_letter_once() {
        let letters = alphabet();
        assert_eq!((letters[usize::from(b' ')], letters[usize::from(b'\n')], letters[255]), ('Ġ', 'Ċ', 'ÿ'));
        let distinct: std::collections::BTreeSet<char> = letters.into_iter().collect();
        assert_eq!(distinct.len(), 256);
    }

    #[test]
    fn merges_are_every_cut_in_order() {
        let ranks: [&[u8]; 6] = [b"a", b"b", b"c", b"ab", b"bc", b"abc"];
        let cuts: Vec<[&str; 2]> = merges(&ranks)
            .into_iter()
            .map(|cut| cut.map(|piece| std::str::from_utf8(piece).unwrap()))
            .collect();
        assert_eq!(cuts, [["a", "b"], ["b", "c"], ["a", "bc"], ["ab", "c"]]);
    }
}
