//! Text to ids and back: lossless, and caches from earlier texts do not change the ids.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::tokens::Tokenizer;

fuzz_target!(|text: &str| {
    let tekken = Tokenizer::embedded();
    let ids = tekken.encode(text);
    assert_eq!(tekken.decode(&ids), text);
    assert_eq!(tekken.decode_with_special_tokens(&ids), text);
    assert_eq!(tekken.count(text), ids.len());
    assert_eq!(tekken.encode(text), ids);
    assert!(ids.len() <= text.len());
    assert!(ids.iter().all(|&id| tekken.token(id).is_some()));
});
