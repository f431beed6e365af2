//! Findings about a single response: refusals, placeholders, responses cut off in mid-sentence, repeated prompts.

use std::borrow::Cow;

use super::format::{Classified, ResponseFormat, classify};
use super::refusal::{lower, refusal};
use crate::diagnostic::Finding;
use crate::rules::{ANSWER_CUT_OFF, ANSWER_ECHO, ANSWER_PLACEHOLDER, ANSWER_REFUSAL};

/// Checks the response in this message against the prompt before it. The caller passes the format of the response if it has it:
/// finding it costs more than everything here, and few responses need it.
pub(super) fn findings(
    response: &str,
    classified: Option<&Classified>,
    prompt: &str,
    message: usize,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let pointer = || format!("/messages/{message}/content");
    if let Some(phrase) = placeholder(response) {
        let message = format!("the response is a placeholder: `{phrase}`");
        findings.push(
            Finding::new(&ANSWER_PLACEHOLDER, pointer(), message)
                .hint("write the response or drop the sample"),
        );
        return findings;
    }
    if let Some(phrase) = refusal(response) {
        let message = format!("the response is a refusal: `{phrase}`");
        findings.push(
            Finding::new(&ANSWER_REFUSAL, pointer(), message)
                .hint("drop the sample, unless it is meant to teach refusals"),
        );
    }
    if let Some(why) = cut_off(response, classified) {
        findings.push(
            Finding::new(&ANSWER_CUT_OFF, pointer(), format!("the response seems cut off: {why}"))
                .hint("if it was generated, the token limit was probably too low; generate it again"),
        );
    }
    if echoes(response, prompt) {
        findings.push(
            Finding::new(&ANSWER_ECHO, pointer(), "the response starts with the whole prompt")
                .hint("remove the prompt from the response"),
        );
    }
    findings
}

fn placeholder(response: &str) -> Option<String> {
    const WHOLE: [&str; 17] = [
        "n/a",
        "null",
        "nan",
        "undefined",
        "todo",
        "tbd",
        "fixme",
        "…",
        "...",
        "xxx",
        "answer",
        "answer here",
        "your answer here",
        "insert answer here",
        "lorem ipsum",
        "placeholder",
        "no answer",
    ];
    const STARTS: [&str; 3] = ["lorem ipsum dolor", "[insert ", "<insert "];
    let text = response.trim();
    let is_around = |c| matches!(c, '[' | ']' | '<' | '>' | '{' | '}' | '(' | ')' | '"' | '\'');
    let bare = text.trim_matches(is_around);
    if bare.len() <= 24 {
        let lower = bare.trim_end_matches(|c| c == '.' && bare != "...").to_lowercase();
        if WHOLE.contains(&lower.as_str()) {
            return Some(text.to_owned());
        }
    }
    if !text.starts_with(['l', 'L', '[', '<']) {
        return None;
    }
    let start = lower(text, 20);
    STARTS.iter().find(|known| start.starts_with(**known)).map(|known| format!("{}…", known.trim_end()))
}

/// Words that do not end a sentence.
const OPEN_WORDS: &[&str] = &[
    "the", "a", "an", "of", "and", "or", "but", "because", "than", "its", "my", "your", "le", "les", "des",
    "du", "et", "une", "dans", "der", "und", "oder", "ein", "eine", "einer", "einem", "el", "los", "las",
    "una", "del", "il", "lo", "della",
];

/// Shorter responses are phrases that need not end.
const LEAST_WORDS: usize = 6;

fn cut_off(response: &str, classified: Option<&Classified>) -> Option<String> {
    let open = open_end(response);
    let has_fences = memchr::memchr(b'`', response.as_bytes()).is_some();
    let fences = if has_fences { response.matches("```").count() } else { 0 };
    // Only such a start can be unclosed code or JSON.
    let may_be_unclosed = response.trim_start().starts_with(['`', '{', '[']);
    if open.is_none() && fences.is_multiple_of(2) && !may_be_unclosed {
        return None;
    }
    let classified = classified.map_or_else(|| Cow::Owned(classify(response)), Cow::Borrowed);
    if classified.unclosed {
        return Some(match classified.format {
            ResponseFormat::Code => "its code block is never closed".to_owned(),
            _ => "its JSON ends before its brackets close".to_owned(),
        });
    }
    if !matches!(
        classified.format,
        ResponseFormat::Sentence | ResponseFormat::Text | ResponseFormat::Phrase | ResponseFormat::List
    ) {
        return None;
    }
    if !fences.is_multiple_of(2) {
        return Some("its code block is never closed".to_owned());
    }
    open
}

/// Evidence that prose ends in mid-sentence.
fn open_end(response: &str) -> Option<String> {
    let response = response.trim_end();
    // Most responses end with a full stop.
    if !matches!(response.as_bytes().last()?, b'a'..=b'z' | b',' | b';' | b'(' | b'[' | b'{' | 0x80..) {
        return None;
    }
    let last = response.split_whitespace().next_back()?;
    let comma = last.ends_with([',', ';', '(', '[', '{', '、', '，']);
    if !comma && !OPEN_WORDS.contains(&last) {
        return None;
    }
    // Lines of few words are transcribed signs or pages, which may end anywhere.
    let line = response.lines().next_back()?;
    let tail = &line[line.char_indices().rev().nth(300).map_or(0, |(at, _)| at)..];
    tail.split_whitespace().nth(LEAST_WORDS - 1)?;
    let last = tail.split_whitespace().next_back()?;
    Some(if comma { format!("it ends in `{last}`") } else { format!("its last word is `{last}`") })
}

/// Letters and digits, for comparison.
fn letters(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

/// Those before the first character that is not ASCII.
fn ascii_letters(text: &str) -> impl Iterator<Item = u8> + '_ {
    let ascii = text.bytes().take_while(u8::is_ascii);
    ascii.filter(u8::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase())
}

/// Shorter prompts may appear in an response by chance.
const LEAST_ECHO: usize = 16;

fn echoes(response: &str, prompt: &str) -> bool {
    if prompt.len() < LEAST_ECHO || response.len() + 8 < prompt.len() / 2 {
        return false;
    }
    if ascii_letters(response).zip(ascii_letters(prompt)).any(|(said, asked)| said != asked) {
        return false;
    }
    let mut said = letters(response);
    let mut same = 0;
    for letter in letters(prompt) {
        if said.next() != Some(letter) {
            return false;
        }
        same += 1;
    }
    same >= LEAST_ECHO
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(response: &str, prompt: &str) -> Vec<&'static str> {
        let known = findings(response, Some(&classify(response)), prompt, 1);
        assert_eq!(findings(response, None, prompt, 1), known);
        known.iter().map(|finding| finding.rule.id).collect()
    }

    #[test]
    fn finds_refusals_and_ignores_quoted_apologies() {
        for response in [
            "I’m sorry, but I can’t identify people in images.",
            "As an AI language model, I cannot see images.",
            "Well. As an AI assistant I do not know.",
            "Es tut mir leid, aber ich kann das nicht sehen.",
            "抱歉，我无法识别这张图片。",
        ] {
            assert_eq!(rules(response, ""), ["answer-refusal"], "{response}");
        }
        for response in [
            "The sign says: sorry, but I closed early.",
            "A man who cannot help himself.",
            "Sorry! The shop is closed.",
        ] {
            assert_eq!(rules(response, ""), [""; 0], "{response}");
        }
    }

    #[test]
    fn finds_placeholders_and_accepts_short_answers() {
        for response in
            ["N/A", "[insert answer here]", "TODO", "...", "Lorem ipsum dolor sit amet, consectetur"]
        {
            assert_eq!(rules(response, ""), ["answer-placeholder"], "{response}");
        }
        for response in ["none", "0", "no", "-", "A", "an answer", "nana"] {
            assert_eq!(rules(response, ""), [""; 0], "{response}");
        }
    }

    #[test]
    fn finds_cut_off_answers_and_accepts_phrases() {
        for response in [
            "The image shows a man who stands in front of a",
            "There are three cars, two bicycles, four people,",
            r#"{"total": 12, "items": [1, 2"#,
            "Here it is:\n```python\nprint(1)\n",
        ] {
            assert_eq!(rules(response, ""), ["answer-cut-off"], "{response}");
        }
        for response in [
            "the letter a",
            "A man stands in front of a house.",
            "A man stands in front of a house",
            "What should be done\nwhen there is\nno time for the",
            "He asked what the vitamin is called: vitamin A",
        ] {
            assert_eq!(rules(response, ""), [""; 0], "{response}");
        }
    }

    #[test]
    fn finds_echoed_prompts() {
        let prompt = "What is the color of the car?";
        assert_eq!(rules("what is the color of the car? It is red.", prompt), ["answer-echo"]);
        assert_eq!(rules("The color of the car is red.", prompt), [""; 0]);
        let (prompt, response) = ("Où est la gare de Lyon ?", "où est la gare de lyon : à Paris.");
        assert_eq!(rules(response, prompt), ["answer-echo"]);
        assert_eq!(rules(&response.replace("gare", "garé"), prompt), [""; 0]);
        assert_eq!(rules("cat", "cat"), [""; 0]);
    }
}
