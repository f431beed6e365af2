//! JSON: written values read back the same, error positions are inside the text, and a line is parsed the same alone and among
//! others.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::json::{locate, parse, parse_line};

fuzz_target!(|bytes: &[u8]| {
    same_as_alone(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
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
            for run in &parsed.base64 {
                let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
                assert!(bytes[run.clone()].iter().all(|byte| letter(*byte)));
                assert!(!bytes.get(run.end).is_some_and(|byte| letter(*byte)), "the run ends early");
            }
            for pointer in ["", "/0", "/messages/0/content", "/a~1b"] {
                assert!(locate(text, pointer) <= text.len());
            }
            assert_eq!(parsed.value.into_owned(), again.value);
        }
        Err(error) => assert!(text.is_char_boundary(error.offset), "{error}"),
    }
});

/// The parser of the first of several lines, which also validates UTF-8, agrees with the parser of a single line.
fn same_as_alone(mut lines: &[u8]) {
    while !lines.is_empty() {
        let length = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1);
        let line = lines[..length].strip_suffix(b"\n").unwrap_or(&lines[..length]);
        let alone = str::from_utf8(line).ok().and_then(|line| parse(line).ok());
        assert_eq!(parse_line(lines), alone.map(|alone| (alone, length)));
        lines = &lines[length..];
    }
}
