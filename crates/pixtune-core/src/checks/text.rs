//! Texts that another program will misread: control tokens, wrong encodings, blank messages.

use super::Written;
use crate::bytes::has_marks;
use crate::diagnostic::Finding;
use crate::json::Value;
use crate::rules::{BLANK_TEXT, CONTROL_TOKEN, MOJIBAKE};
use crate::sample::{Content, Message, Part, Sample};

/// Special tokens of Mistral's tokenizers, and the image placeholders and turn markers of other trainers.
pub const CONTROL_TOKENS: &[&str] = &[
    "[INST]",
    "[/INST]",
    "[IMG]",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[TOOL_CONTENT]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[THINK]",
    "[/THINK]",
    "[MODEL_SETTINGS]",
    "[/MODEL_SETTINGS]",
    "[ARGS]",
    "[CALL_ID]",
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<image>",
    "<video>",
    "<audio>",
    "<|image|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|eot_id|>",
];

pub(super) fn texts(messages: &[Written<'_>], findings: &mut Vec<Finding>) {
    for Written { index, content, .. } in messages {
        match content {
            Some(Value::String(text)) => check(text, || format!("/messages/{index}/content"), findings),
            Some(Value::Array(parts)) => {
                for (part, value) in parts.iter().enumerate() {
                    for key in ["text", "thinking"] {
                        if let Some(text) = value.get(key).and_then(Value::as_str) {
                            check(text, || format!("/messages/{index}/content/{part}/{key}"), findings);
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

/// Checks the texts of a sample that comes from a table, where texts have no pointers of their own.
pub fn sample_texts<I>(sample: &Sample<I>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for message in &sample.messages {
        let content = match message {
            Message::System(content) | Message::User(content) => Some(content),
            Message::Assistant(assistant) => assistant.content.as_ref(),
            Message::Tool(result) => Some(&result.content),
        };
        match content {
            Some(Content::Text(text)) => check(text, String::new, &mut findings),
            Some(Content::Parts(parts)) => {
                for part in parts {
                    if let Part::Text(text) | Part::Thinking { text, .. } = part {
                        check(text, String::new, &mut findings);
                    }
                }
            }
            None => {}
        }
    }
    findings
}

fn check(text: &str, pointer: impl Fn() -> String, findings: &mut Vec<Finding>) {
    if !text.is_empty() && text.trim_start().is_empty() {
        findings.push(Finding::new(&BLANK_TEXT, pointer(), "the text is only white space"));
    }
    if !has_marks(text.as_bytes()) {
        return;
    }
    if let Some(token) = control_token(text) {
        findings.push(
            Finding::new(&CONTROL_TOKEN, pointer(), format!("the text contains `{token}`"))
                .hint("write it differently if it is not meant as a token"),
        );
    }
    if let Some(damage) = mojibake(text) {
        findings.push(Finding::new(&MOJIBAKE, pointer(), damage));
    }
}

/// The first control token in a text.
fn control_token(text: &str) -> Option<&'static str> {
    memchr::memchr2_iter(b'[', b'<', text.as_bytes()).find_map(|at| {
        let rest = &text.as_bytes()[at..];
        CONTROL_TOKENS.iter().copied().find(|token| rest.starts_with(token.as_bytes()))
    })
}

/// Evidence that a text was decoded with the wrong encoding.
fn mojibake(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    if memchr::memmem::find(text.as_bytes(), "\u{fffd}".as_bytes()).is_some() {
        return Some("the text contains U+FFFD, the replacement for bytes that were lost".into());
    }
    // The first character of a run is one of U+00C2 to U+00F4, whose UTF-8 begins with 0xC3.
    memchr::memchr_iter(0xc3, text.as_bytes()).find_map(|at| {
        let rest = &text[at..];
        let (damaged, meant) =
            rest.starts_with(|first| matches!(first, '\u{c2}'..='\u{f4}')).then(|| misread(rest))??;
        Some(format!("`{damaged}` was probably `{meant}` before it was decoded as Windows-1252"))
    })
}

/// Characters whose Windows-1252 bytes are valid UTF-8, and the text that these bytes encode. A single run of two
/// characters counts only if no language writes it: `Ã` or `Â` before anything but a closing quote.
fn misread(text: &str) -> Option<(String, String)> {
    let mut meant = String::new();
    let mut damaged = String::new();
    let mut rest = text;
    while let Some((run, character)) = one_misread(rest) {
        rest = &rest[run.len()..];
        damaged.push_str(run);
        meant.push(character);
        if damaged.chars().count() >= 8 {
            break;
        }
    }
    let runs = meant.chars().count();
    let first = damaged.chars().next()?;
    let second = damaged.chars().nth(1)?;
    let sure = match (runs, damaged.chars().count()) {
        (1, 2) => {
            matches!(first, 'Ã' | 'Â') && !matches!(second, '«' | '»' | '\u{a0}' | '\u{2018}'..='\u{201e}')
        }
        _ => true,
    };
    sure.then_some((damaged, meant))
}

fn one_misread(text: &str) -> Option<(&str, char)> {
    let mut bytes = Vec::new();
    for (at, character) in text.char_indices().take(4) {
        bytes.push(windows_1252(character)?);
        if let Ok(decoded) = std::str::from_utf8(&bytes) {
            let meant = decoded.chars().next().filter(|c| !c.is_ascii())?;
            return Some((&text[..at + character.len_utf8()], meant));
        }
    }
    None
}

/// The byte that Windows-1252 (or Latin-1, where Windows-1252 has a gap) decodes to this character.
fn windows_1252(character: char) -> Option<u8> {
    const FROM_80: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '•', '–', '—', '˜', '™', 'š', '›', 'œ',
        '\u{9d}', 'ž', 'Ÿ',
    ];
    match u32::from(character) {
        code @ 0x80..=0xff => Some(code as u8),
        0..0x80 => None,
        _ => FROM_80.iter().position(|known| *known == character).map(|at| 0x80 + at as u8),
    }
}

/// The first characters of a text, short enough for a message.
pub(super) fn start(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_wrong_encodings_and_accepts_natural_languages() {
        for (text, meant) in
            [("cafÃ©", "é"), ("itâ€™s", "’"), ("25 Â°C", "°"), ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Прив"), ("æ—¥æœ¬", "日本")]
        {
            assert!(mojibake(text).is_some_and(|found| found.contains(&format!("`{meant}`"))), "{text}");
        }
        assert!(mojibake("lost \u{fffd}").is_some());
        for text in
            ["café", "Ünïcödé Ñandú", "«CAFÉ»", "MANHÃ»", "Привет", "日本", "naïve – “quoted”", "Âge", "ÅÄÖ"]
        {
            assert_eq!(mojibake(text), None, "{text}");
        }
    }

    #[test]
    fn finds_only_complete_control_tokens() {
        assert_eq!(control_token("a [b] <c> [/INST] </s>"), Some("[/INST]"));
        assert_eq!(control_token("[INS] <sup> [img]"), None);
    }
}
