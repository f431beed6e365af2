//! JSON: what is written reads back the same, and a mistake lies inside the text.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::json::parse;

fuzz_target!(|text: &str| {
    match parse(text) {
        Ok(parsed) => {
            let written = parsed.value.to_string();
            let again = parse(&written).expect("what is written is JSON");
            assert_eq!(again.value, parsed.value);
            assert_eq!(again.lone_surrogate, None);
            assert_eq!(again.value.to_string(), written);
            if let Some(at) = parsed.lone_surrogate {
                assert!(text[at..].starts_with("\\u"));
            }
            assert_eq!(parsed.value.into_owned(), again.value);
        }
        Err(error) => assert!(text.is_char_boundary(error.offset), "{error}"),
    }
});
