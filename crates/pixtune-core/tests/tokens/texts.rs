//! Text to ids and back.

use pixtune_core::tokens::Tokenizer;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::vectors::{numbers, read, text};

#[test]
fn texts_have_the_ids_of_mistral_common() {
    let tokenizer = Tokenizer::embedded();
    let rows = read("text_tekken.jsonl.gz");
    for row in &rows {
        let text = text(row, "text");
        let expected = numbers(row.get("ids").unwrap());
        assert_eq!(tokenizer.encode(text), expected, "{text:?}");
        assert_eq!(tokenizer.count(text), expected.len(), "{text:?}");
        assert_eq!(tokenizer.decode(&expected), text);
    }
    assert_eq!(rows.len(), 3740);
}

#[test]
fn the_packed_vocabulary_is_the_published_one() {
    let tokenizer = Tokenizer::embedded();
    let mut hash = Sha256::new();
    for id in 1000..tokenizer.len() as u32 {
        let token = tokenizer.token(id).unwrap();
        hash.update((token.len() as u32).to_le_bytes());
        hash.update(token);
    }
    // Printed by `scripts/pack_tekken.py` from the published file.
    let expected = "b078e2a883476e04bcf6311dcf8d978bd3188555004a65a33b6898bb57826d22";
    assert_eq!(format!("{:x}", hash.finalize()), expected);
}

#[test]
fn special_looking_text_is_text() {
    let tokenizer = Tokenizer::embedded();
    for text in ["[INST]", "</s>", "[IMG]", "<s>[INST] x [/INST]", "<SPECIAL_20>"] {
        assert!(tokenizer.encode(text).iter().all(|&id| id >= 1000), "{text}");
    }
}

#[test]
fn decoding_leaves_special_tokens_out_and_replaces_broken_bytes() {
    let tokenizer = Tokenizer::embedded();
    let marks = tokenizer.marks();
    let ids = [marks.begin, marks.begin_user, 1000 + 0xe2, 1000 + u32::from(b'a'), marks.end, u32::MAX];
    assert_eq!(tokenizer.decode(&ids), "\u{fffd}a\u{fffd}");
    assert_eq!(tokenizer.decode_with_special_tokens(&ids), "<s>[INST]\u{fffd}a</s>\u{fffd}");
}

/// Text of the kinds that are cut differently, in short runs.
fn any_text() -> impl Strategy<Value = String> {
    let run = prop_oneof![
        ".{0,6}",
        "[a-zA-Z]{0,8}",
        "[ \t\r\n\u{a0}\u{2028}]{0,4}",
        "[0-9a-f]{0,5}",
        "[\u{300}-\u{30f}\u{2b0}-\u{2b8}A-Ca-c]{0,6}",
        "[!-/\u{2000}-\u{206f}\u{4e00}-\u{4e20}\u{1f600}-\u{1f64f}]{0,6}",
        prop_oneof![Just("[INST]"), Just("</s>"), Just("[IMG_END]"), Just("\0"), Just("\u{fffd}")]
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(run, 0..12).prop_map(|runs| runs.concat())
}

proptest! {
    #[test]
    fn decoding_gives_the_text_back(text in any_text()) {
        let tokenizer = Tokenizer::embedded();
        let ids = tokenizer.encode(&text);
        prop_assert!(ids.iter().all(|&id| id >= 1000));
        prop_assert_eq!(tokenizer.count(&text), ids.len());
        prop_assert_eq!(tokenizer.decode(&ids), text);
    }
}
