//! Tokenizer files: an accepted file has all bytes and special tokens, so it encodes any text.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::tokens::Tokenizer;

const TEXT: &str = "abc Abc été 中文 \u{1f600}\r\n\t 12 <s>[INST]\0";

fuzz_target!(|file: &[u8]| {
    let Ok(tekken) = Tokenizer::from_json(file) else { return };
    let ids = tekken.encode(TEXT);
    assert_eq!(tekken.decode(&ids), TEXT);
    assert!(ids.iter().all(|&id| (id as usize) < tekken.len() && tekken.token(id).is_some()));
    let marks = tekken.marks();
    for mark in [marks.begin, marks.end, marks.begin_user, marks.end_user, marks.image, marks.image_end] {
        assert!(tekken.token(mark).is_none() && (mark as usize) < tekken.len());
        let name = tekken.decode_with_special_tokens(&[mark]);
        assert!(tekken.special_token(&name).is_some());
    }
});
