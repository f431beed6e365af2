//! Tokenizer files, whole and damaged, and hostile input.

use pixtune_core::tokens::{TekkenError, Tokenizer, TokenizerVersion};

/// A `tekken.json` of the 256 bytes, `ab` and `abc`, with the parts replaced that a test is about.
struct File {
    version: &'static str,
    pattern: &'static str,
    vocabulary: u64,
    special: u64,
    special_tokens: Option<Vec<&'static str>>,
    entries: Vec<String>,
}

const PATTERN: &str = r"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |word: u32, index: u32| char::from(DIGITS[(word >> (18 - 6 * index) & 63) as usize]);
    bytes
        .chunks(3)
        .flat_map(|group| {
            let word =
                group.iter().enumerate().fold(0, |word, (at, &byte)| word | u32::from(byte) << (16 - 8 * at));
            (0..4).map(move |index| if index as usize <= group.len() { digit(word, index) } else { '=' })
        })
        .collect()
}

fn entry(rank: usize, bytes: &[u8]) -> String {
    format!(r#"{{"rank":{rank},"token_bytes":"{}","token_str":null}}"#, base64(bytes))
}

impl File {
    fn whole() -> File {
        let mut entries: Vec<_> = (0..256).map(|rank| entry(rank, &[rank as u8])).collect();
        entries.push(entry(256, b"ab"));
        entries.push(entry(257, b"abc"));
        File { version: "v3", pattern: PATTERN, vocabulary: 278, special: 20, special_tokens: None, entries }
    }

    fn read(&self) -> Result<Tokenizer, TekkenError> {
        self.read_with(|text| text)
    }

    fn read_with(&self, change: impl Fn(String) -> String) -> Result<Tokenizer, TekkenError> {
        let special = match &self.special_tokens {
            None => String::new(),
            Some(names) => {
                let list: Vec<_> = names
                    .iter()
                    .enumerate()
                    .map(|(rank, name)| {
                        format!(r#"{{"rank":{rank},"token_str":"{name}","is_control":true}}"#)
                    })
                    .collect();
                format!(r#""special_tokens":[{}],"#, list.join(","))
            }
        };
        let Self { version, pattern, vocabulary, special: count, entries, .. } = self;
        let file = format!(
            r#"{{{special}"vocab":[{}],"config":{{"pattern":"{pattern}","num_vocab_tokens":300,"default_vocab_size":{vocabulary},"default_num_special_tokens":{count},"version":"{version}"}},"image":{{"image_patch_size":14,"max_image_size":1540,"spatial_merge_size":2}}}}"#,
            entries.join(",")
        );
        Tokenizer::from_json(change(file).as_bytes())
    }
}

const MARKS: [&str; 12] = [
    "<unk>",
    "<s>",
    "</s>",
    "[IMG_END]",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
];

#[test]
fn a_whole_file_is_read() {
    let tokenizer = File::whole().read().unwrap();
    assert_eq!(tokenizer.encode("abcab"), [20 + 257, 20 + 256]);
    assert_eq!((tokenizer.version(), tokenizer.len()), (TokenizerVersion::V3, 278));
    let images = tokenizer.images().unwrap();
    assert_eq!((images.patch, images.max_side, images.merge), (14, 1540, 2));
}

#[test]
fn special_tokens_come_from_the_file_where_it_has_them() {
    let file = File { version: "v13", special_tokens: Some(MARKS.to_vec()), ..File::whole() };
    assert_eq!(
        file.read().unwrap_err().to_string(),
        "the tokenizer file has no special token `[SYSTEM_PROMPT]`"
    );
    let newer =
        ["[IMG_BREAK]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]"];
    let names = [&MARKS[..], &newer].concat();
    let file = File { version: "v13", special_tokens: Some(names), ..File::whole() };
    let tokenizer = file.read().unwrap();
    assert_eq!(tokenizer.version(), TokenizerVersion::V13);
    assert_eq!((tokenizer.marks().image_end, tokenizer.marks().image_break), (3, 12));
    assert_eq!(tokenizer.special_token("<SPECIAL_19>"), Some(19));
}

#[track_caller]
fn refused(file: &File, message: &str) {
    assert_eq!(file.read().unwrap_err().to_string(), format!("the tokenizer file {message}"));
}

#[test]
fn damaged_files_are_refused_with_the_reason() {
    refused(
        &File { version: "v4", ..File::whole() },
        "has the version `v4`; supported are v3, v7, v11, v13 and v15",
    );
    refused(&File { pattern: ".", ..File::whole() }, "has an unknown pre-tokenizer pattern `.`");
    refused(
        &File { vocabulary: 1_000_000_000_000, ..File::whole() },
        "declares 1000000000000 tokens of which 20 are special, but lists 258",
    );
    refused(
        &File { vocabulary: 1_000_000_000_257, special: 1_000_000_000_000, ..File::whole() },
        "declares 1000000000257 tokens of which 1000000000000 are special, but lists 258",
    );
    refused(
        &File { vocabulary: 5, ..File::whole() },
        "declares 5 tokens of which 20 are special, but lists 258",
    );
    refused(&File { version: "v11", ..File::whole() }, "has no list at `/special_tokens`");
    refused(
        &File { special_tokens: Some(MARKS.to_vec()), ..File::whole() },
        "has no special token `[IMG_BREAK]`",
    );
    refused(
        &File { special_tokens: Some(vec!["<s>", "<s>"]), ..File::whole() },
        "gives special token 1 the name `<s>`; the rank or name is out of range or already used",
    );
}

#[test]
fn parts_of_other_versions_are_refused() {
    let refused = |file: File, from: &str, to: &str, message: &str| {
        let error = file.read_with(|text| text.replace(from, to)).unwrap_err().to_string();
        assert_eq!(error, format!("the tokenizer file {message}"));
    };
    let newer =
        ["[IMG_BREAK]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]"];
    let v13 = || {
        let names = [&MARKS[..], &newer].concat();
        File { version: "v13", special_tokens: Some(names), ..File::whole() }
    };
    refused(
        v13(),
        "\"image\":",
        "\"multimodal\":",
        "of version v13 has its image configuration in `multimodal`, which is called `image` from v13 on",
    );
    refused(
        File::whole(),
        "\"image\":",
        "\"multimodal\":{\"image_patch_size\":16,\"max_image_size\":1024},\"image\":",
        "of version v3 has two image configurations, `image` and `multimodal`",
    );
    refused(
        v13(),
        "\"image\":",
        "\"model_settings_builder\":{},\"image\":",
        "has a `model_settings_builder`, which its version v13 does not support",
    );
}

#[test]
fn damaged_entries_are_refused_with_their_place() {
    let with = |index: usize, entry: String| {
        let mut file = File::whole();
        file.entries[index] = entry;
        file.read().unwrap_err().to_string()
    };
    assert_eq!(with(257, entry(256, b"abc")), "entry 257 of the vocabulary has the rank 256");
    assert_eq!(with(257, entry(257, b"ab")), "entries 256 and 257 of the vocabulary have the same bytes");
    assert_eq!(with(257, entry(257, b"")), "entry 257 of the vocabulary has the bytes ``, which are empty");
    assert!(with(257, entry(257, &[b'a'; 1025])).ends_with("which are longer than 1,024 bytes"));
    assert_eq!(
        with(7, entry(7, b"a")),
        "entry 7 of the vocabulary has the bytes `YQ==`, but the first 256 entries must be the single bytes"
    );
    assert_eq!(
        with(256, r#"{"rank":256,"token_bytes":"YW!=","token_str":null}"#.into()),
        "entry 256 of the vocabulary has the bytes `YW!=`, which are not valid base64"
    );
    assert_eq!(
        with(256, r#"{"token_bytes":"YWI="}"#.into()),
        "the tokenizer file has no whole number at `/vocab/256/rank`"
    );
    assert_eq!(with(256, "5".into()), "the tokenizer file has no whole number at `/vocab/256/rank`");
}

#[test]
fn what_is_no_json_is_refused() {
    assert!(matches!(Tokenizer::from_json(b"\xff"), Err(TekkenError::NotText(_))));
    assert!(matches!(Tokenizer::from_json(b"{"), Err(TekkenError::NotJson(_))));
    assert!(matches!(Tokenizer::from_json(b"[]"), Err(TekkenError::Missing { .. })));
    assert!(matches!(Tokenizer::from_json(&b"[".repeat(1 << 20)), Err(TekkenError::NotJson(_))));
}

#[test]
fn one_character_a_million_times_is_encoded() {
    let tokenizer = Tokenizer::embedded();
    for text in ["a", "é", "中", "\u{301}", "👍", "\n", " ", ".", "ab", "aB", "\0"] {
        let text = text.repeat(1_000_000);
        let ids = tokenizer.encode(&text);
        assert_eq!(tokenizer.count(&text), ids.len());
        assert!(tokenizer.decode(&ids) == text);
    }
}
