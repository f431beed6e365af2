//! Conversations of the versions after v3, against the saved answers of mistral-common 1.13.1.

use pixtune_core::json::{Value, parse};
use pixtune_core::sample::Sample;
use pixtune_core::spec::{self, ModelSpec};
use pixtune_core::strict::{self, BorrowedSample};
use pixtune_core::tokens::{ChatEncoder, Encoded, Layout, Tokenizer, TokenizerVersion, refusals};
use sha2::{Digest, Sha256};

use crate::chats::{mask_of, pool_to_data_uris, runs, size};
use crate::vectors::{family, family_file, number, numbers, text};

/// A version, its vectors, and a model with it.
pub(super) const VERSIONS: [(TokenizerVersion, &ModelSpec); 5] = [
    (TokenizerVersion::V7, &spec::MISTRAL_SMALL_3_1),
    (TokenizerVersion::V7m1, &spec::PIXTRAL_LARGE),
    (TokenizerVersion::V11, &spec::MISTRAL_SMALL_3_2),
    (TokenizerVersion::V13, &spec::MINISTRAL_3_8B),
    (TokenizerVersion::V15, &spec::MISTRAL_SMALL_4),
];

pub(super) fn encode(
    tokenizer: &Tokenizer,
    spec: &ModelSpec,
    sample: &BorrowedSample<'_>,
) -> Result<Encoded, String> {
    let sizes: Vec<_> = sample.images.iter().map(size).collect();
    let encoder = ChatEncoder { spec, tokenizer, layout: Layout::MistralCommon };
    let encoded = encoder.encode(sample, &sizes);
    assert_eq!(encoder.count(sample, &sizes), encoded.clone().map(|encoded| encoded.counts));
    let bound = encoder.bound(sample, &sizes);
    assert_eq!(bound.is_ok(), encoded.is_ok());
    let plain = encoder.plain_bound(sample, &sizes).filter(|_| refusals(sample, tokenizer).is_empty());
    for bound in bound.ok().into_iter().chain(plain) {
        let tokens = encoded.as_ref().map(|encoded| encoded.counts.tokens);
        assert!(tokens.is_ok_and(|tokens| tokens <= bound), "{bound}");
    }
    let encoded = encoded.map_err(|finding| finding.message)?;
    let counts = &encoded.counts;
    assert_eq!(counts.tokens, encoded.ids.len());
    assert_eq!(counts.runs.iter().map(|run| run.tokens).sum::<usize>(), counts.tokens);
    let marks = tokenizer.marks();
    let of_images = [marks.image, marks.image_break, marks.image_end];
    assert_eq!(counts.image_tokens, encoded.ids.iter().filter(|id| of_images.contains(id)).count());
    Ok(encoded)
}

/// The request of a row.
pub(super) fn request(row: &Value<'_>) -> Value<'static> {
    let keys = ["messages", "tools", "reasoning_effort", "response_format"];
    let member = |key: &'static str| Some((key.into(), pool_to_data_uris(row.get(key)?)));
    Value::Object(keys.into_iter().filter_map(member).collect())
}

fn compare(name: &str, encoded: Result<Encoded, String>, expected: &Value<'_>) {
    match (encoded, expected.get("error")) {
        (Ok(encoded), None) => {
            assert_eq!(encoded.ids, numbers(expected.get("ids").unwrap()), "{name}");
            if let Some(mask) = expected.get("mask_runs") {
                assert_eq!(mask_of(&encoded.counts.runs), mask_of(&runs(mask)), "{name}");
            }
        }
        (Err(_), Some(_)) => {}
        (ours, theirs) => panic!("{name}: {ours:?}, the reference {theirs:?}"),
    }
}

/// The tokenizer that a row was encoded with: a `tekken.json` with the built-in vocabulary where it is not built in.
fn with_schema() -> Tokenizer {
    let settings = family_file("special_tokens_v15js.json");
    let settings = parse(&settings).unwrap().value.into_owned();
    let file = tekken_file(TokenizerVersion::V15, settings.get("model_settings_builder"));
    Tokenizer::from_json(file.as_bytes()).unwrap()
}

/// A `tekken.json` of the built-in vocabulary with the special tokens of the vectors.
fn tekken_file(version: TokenizerVersion, settings: Option<&Value<'_>>) -> String {
    let special = family_file(&format!("special_tokens_{version}.json"));
    let special = parse(&special).unwrap().value.into_owned();
    let embedded = Tokenizer::embedded();
    let entries: Vec<String> = (1000..embedded.len() as u32)
        .map(|id| {
            let token = embedded.token(id).unwrap();
            format!(r#"{{"rank":{},"token_bytes":"{}","token_str":null}}"#, id - 1000, base64(token))
        })
        .collect();
    let member = |name: &str, value: Option<&Value<'_>>| {
        value.map_or_else(String::new, |value| format!(",\"{name}\":{value}"))
    };
    let pattern = Value::String(pixtune_core::tokens::tokenizer::PATTERN.into());
    format!(
        r#"{{"config":{{"pattern":{pattern},"num_vocab_tokens":150000,"default_vocab_size":131072,"default_num_special_tokens":1000,"version":"{version}"}},"vocab":[{}]{}{}{}}}"#,
        entries.join(","),
        member(special.text("image_key").unwrap(), special.get("image")),
        member("special_tokens", special.get("special_tokens")),
        member("model_settings_builder", settings.or_else(|| special.get("model_settings_builder"))),
    )
}

fn base64(bytes: &[u8]) -> String {
    crate::files::base64(bytes)
}

#[test]
fn chats_of_every_version_are_those_of_mistral_common() {
    let mut schema = None;
    for (version, spec) in VERSIONS {
        let rows = family(&format!("{version}/chats.jsonl.gz"));
        assert!(!rows.is_empty());
        for row in rows {
            let name = text(&row, "key");
            let tokenizer = match row.get("tokenizer") {
                None => Tokenizer::built_in(version),
                Some(_) => schema.get_or_insert_with(with_schema),
            };
            let request = request(&row);
            let encoded = match strict::read(&request) {
                Ok(sample) => encode(tokenizer, spec, &sample),
                Err(findings) => Err(findings[0].message.clone()),
            };
            compare(name, encoded, row.get("finetuning").unwrap());
        }
    }
}

#[test]
fn requests_have_the_verdict_of_their_version() {
    for (version, spec) in VERSIONS {
        for row in family(&format!("{version}/invalid.jsonl.gz")) {
            let name = format!("{} {}", text(&row, "key"), text(&row, "cat"));
            let request = pool_to_data_uris(row.get("request").unwrap());
            let verdict = match strict::read(&request) {
                Ok(sample) => encode(Tokenizer::built_in(version), spec, &sample),
                Err(findings) => Err(findings[0].message.clone()),
            };
            match (verdict, text(&row, "verdict")) {
                (Ok(encoded), "ok") => {
                    let bytes: Vec<u8> = encoded.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
                    assert_eq!(format!("{:x}", Sha256::digest(bytes)), text(&row, "ids_sha256"), "{name}");
                }
                (Err(_), "error") => {}
                (ours, theirs) => panic!("{name}: {ours:?}, the reference: {theirs}"),
            }
        }
    }
}

/// The reference drops messages, even the response that is trained, until the rest fits. Here a conversation is whole, and its
/// length says whether it fits.
#[test]
fn conversations_are_never_truncated() {
    for (version, spec) in VERSIONS {
        for row in family(&format!("{version}/truncation.jsonl.gz")) {
            let name = text(&row, "key");
            let request = request(&row);
            let sample = strict::read(&request).unwrap();
            let encoded = encode(Tokenizer::built_in(version), spec, &sample).unwrap();
            let (full, limit) = (number(row.get("full").unwrap()), number(row.get("max_tokens").unwrap()));
            assert_eq!(encoded.counts.tokens, full as usize, "{name}");
            let truncated = row.get("finetuning").unwrap();
            if full <= limit {
                compare(name, Ok(encoded), truncated);
            }
        }
    }
}

#[test]
fn texts_are_encoded_as_sentencepiece_does() {
    let tokenizer = Tokenizer::built_in(TokenizerVersion::V7m1);
    for row in family("v7m1/text_spm.jsonl.gz") {
        let written = text(&row, "text");
        let expected = numbers(row.get("ids").unwrap());
        assert_eq!(tokenizer.encode(written), expected, "{written:?}");
        assert_eq!(tokenizer.count(written), expected.len(), "{written:?}");
        assert_eq!(tokenizer.decode(&expected), written.replace('\u{2581}', " "));
    }
}

#[test]
fn special_tokens_of_a_file_are_those_of_the_published_tables() {
    for (version, _) in VERSIONS.into_iter().filter(|(version, _)| version.is_tekken()) {
        let file = Tokenizer::from_json(tekken_file(version, None).as_bytes()).unwrap();
        let built_in = Tokenizer::built_in(version);
        assert_eq!(file.marks(), built_in.marks(), "{version}");
        assert_eq!(file.images(), built_in.images(), "{version}");
        assert_eq!(file.settings(), built_in.settings(), "{version}");
        assert_eq!(file.special_tokens(), built_in.special_tokens(), "{version}");
        assert_eq!(file.len(), built_in.len());
        assert_eq!(file.encode("a text"), built_in.encode("a text"));
    }
}

/// What has no words of its own has no place in a conversation, whatever the version.
#[test]
fn a_conversation_without_settings_is_read_by_every_version() {
    let row = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
    let parsed = parse(row).unwrap();
    let sample: Sample<_, &str> = strict::read(&parsed.value).unwrap();
    let lengths: Vec<usize> = VERSIONS
        .into_iter()
        .map(|(version, spec)| encode(Tokenizer::built_in(version), spec, &sample).unwrap().ids.len())
        .collect();
    // `<s>[INST]q[/INST]a</s>`; v15 names its reasoning effort too.
    assert_eq!(lengths[..4], [6, 6, 6, 6]);
    assert!(lengths[4] > 6);
}
