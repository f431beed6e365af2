//! `fix`: a second run changes nothing, an unchanged row reports no changes, and a sample of another format that is converted
//! has messages.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::columns::ImagePosition;
use pixtune_core::diagnostic::Fix;
use pixtune_core::fix::{Wanted, conversation_of, fix};
use pixtune_core::tokens::TokenizerVersion;
use pixtune_core::{json, target};

fuzz_target!(|text: &str| {
    let Ok(row) = json::parse(text) else { return };
    let versions = [TokenizerVersion::V3, TokenizerVersion::V7, TokenizerVersion::V13, TokenizerVersion::V15];
    for (target, version) in
        target::ACCEPTED.into_iter().flat_map(|target| versions.map(|version| (target, version)))
    {
        for most in [Fix::Safe, Fix::Unsafe] {
            let wanted = Wanted { rule: &|_| true, most, target, version };
            let (repaired, changes) = fix(row.value.clone(), &wanted);
            if changes.is_empty() {
                assert_eq!(repaired, row.value);
            }
            let again = fix(repaired.clone(), &wanted);
            assert_eq!(again, (repaired, vec![]));
        }
    }
    for position in [ImagePosition::First, ImagePosition::Last] {
        if let Ok(Some(conversation)) = conversation_of(&row.value, position) {
            assert!(conversation.get("messages").is_some());
        }
    }
});
