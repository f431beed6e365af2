//! Findings about a single answer: refusals, placeholders, answers cut off in mid-sentence, repeated prompts.

use std::borrow::Cow;

use super::format::{AnswerFormat, Classified, classify};
use super::refusal::{lower, refusal};
use crate::diagnostic::Finding;
use crate::rules::{ANSWER_CUT_OFF, ANSWER_ECHO, ANSWER_PLACEHOLDER, ANSWER_REFUSAL};

/// Checks the answer in this message against the prompt before it. The caller passes the format of the answer if it has it:
/// finding it costs more than everything here, and few answers need it.
pub(super) fn findings(
    answer: &str,
    classified: Option<&Classified>,
    prompt: &str,
    message: usize,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let pointer = || format!("/messages/{message}/content");
    if let Some(phrase) = placeholder(answer) {
        let message = format!("the response is a placeholder: `{phrase}`");
        findings.push(
            Finding::new(&ANSWER_PLACEHOLDER, pointer(), message)
                .hint("write the response or drop the sample"),
        );
        return findings;
    }
    if let Some(phrase) = refusal(answer) {
        let message = format!("the response is a refusal: `{phrase}`");
        findings.push(
            Finding::new(&ANSWER_REFUSAL, pointer(), message)
                .hint("drop the sample, unless it is meant to teach refusals"),
        );
    }
    if let Some(why) = cut_off(answer, classified) {
        findings.push(
            Finding::new(&ANSWER_CUT_OFF, pointer(), format!("the response seems cut off: {why}"))
                .hint("if it was generated, the token limit was probably too low; generate it again"),
        );
    }
    if echoes(answer, prompt) {
        findings.push(
            Finding::new(&ANSWER_ECHO, pointer(), "the response starts with the whole prompt")
                .hint("remove the prompt from the response"),
        );
    }
    findings
}

fn placeholder(answer: &str) -> Option<String> {
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
    let text = answer.trim();
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

/// Shorter answers are phrases that need not end.
const LEAST_WORDS: usize = 6;

fn cut_off(answer: &str, classified: Option<&Classified>) -> Option<String> {
    let open = open_end(answer);
    let has_fences = memchr::memchr(b'`', answer.as_bytes()).is_some();
    let fences = if has_fences { answer.matches("```").count() } else { 0 };
    // Only such a start can be unclosed code or JSON.
    let may_be_unclosed = answer.trim_start().starts_with(['`', '{', '[']);
    if open.is_none() && fences.is_multiple_of(2) && !may_be_unclosed {
        return None;
    }
    let classified = classified.map_or_else(|| Cow::Owned(classify(answer)), Cow::Borrowed);
    if classified.unclosed {
        return Some(match classified.format {
            AnswerFormat::Code => "its code block is never closed".to_owned(),
            _ => "its JSON ends before its brackets close".to_owned(),
        });
    }
    if !matches!(
        classified.format,
        AnswerFormat::Sentence | AnswerFormat::Text | AnswerFormat::Phrase | AnswerFormat::List
    ) {
        return None;
    }
    if !fences.is_multiple_of(2) {
        return Some("its code block is never closed".to_owned());
    }
    open
}

/// Evidence that prose ends in mid-sentence.
fn open_end(answer: &str) -> Option<String> {
    let answer = answer.trim_end();
    // Most answers end with a full stop.
    if !matches!(answer.as_bytes().last()?, b'a'..=b'z' | b',' | b';' | b'(' | b'[' | b'{' | 0x80..) {
        return None;
    }
    let last = answer.split_whitespace().next_back()?;
    let comma = last.ends_with([',', ';', '(', '[', '{', '、', '，']);
    if !comma && !OPEN_WORDS.contains(&last) {
        return None;
    }
    // Lines of few words are transcribed signs or pages, which may end anywhere.
    let line = answer.lines().next_back()?;
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

/// Shorter prompts may appear in an answer by chance.
const LEAST_ECHO: usize = 16;

fn echoes(answer: &str, prompt: &str) -> bool {
    if prompt.len() < LEAST_ECHO || answer.len() + 8 < prompt.len() / 2 {
        return false;
    }
    if ascii_letters(answer).zip(ascii_letters(prompt)).any(|(said, asked)| said != asked) {
        return false;
    }
    let mut said = letters(answer);
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

    fn rules(answer: &str, prompt: &str) -> Vec<&'static str> {
        let known = findings(answer, Some(&classify(answer)), prompt, 1);
        assert_eq!(findings(answer, None, prompt, 1), known);
        known.iter().map(|finding| finding.rule.id).collect()
    }

    #[test]
    fn finds_refusals_and_ignores_quoted_apologies() {
        for answer in [
            "I’m sorry, but I can’t identify people in images.",
            "As an AI language model, I cannot see images.",
            "Well. As an AI assistant I do not know.",
            "Es tut mir leid, aber ich kann das nicht sehen.",
            "抱歉，我无法识别这张图片。",
        ] {
            assert_eq!(rules(answer, ""), ["answer-refusal"], "{answer}");
        }
        for answer in [
            "The sign says: sorry, but I closed early.",
            "A man who cannot help himself.",
            "Sorry! The shop is closed.",
        ] {
            assert_eq!(rules(answer, ""), [""; 0], "{answer}");
        }
    }

    #[test]
    fn finds_placeholders_and_accepts_short_answers() {
        for answer in
            ["N/A", "[insert answer here]", "TODO", "...", "Lorem ipsum dolor sit amet, consectetur"]
        {
            assert_eq!(rules(answer, ""), ["answer-placeholder"], "{answer}");
        }
        for answer in ["none", "0", "no", "-", "A", "an answer", "nana"] {
            assert_eq!(rules(answer, ""), [""; 0], "{answer}");
        }
    }

    #[test]
    fn finds_cut_off_answers_and_accepts_phrases() {
        for answer in [
            "The image shows a man who stands in front of a",
            "There are three cars, two bicycles, four people,",
            r#"{"total": 12, "items": [1, 2"#,
            "Here it is:\n```python\nprint(1)\n",
        ] {
            assert_eq!(rules(answer, ""), ["answer-cut-off"], "{answer}");
        }
        for answer in [
            "the letter a",
            "A man stands in front of a house.",
            "A man stands in front of a house",
            "What should be done\nwhen there is\nno time for the",
            "He asked what the vitamin is called: vitamin A",
        ] {
            assert_eq!(rules(answer, ""), [""; 0], "{answer}");
        }
    }

    #[test]
    fn finds_echoed_prompts() {
        let prompt = "What is the color of the car?";
        assert_eq!(rules("what is the color of the car? It is red.", prompt), ["answer-echo"]);
        assert_eq!(rules("The color of the car is red.", prompt), [""; 0]);
        let (prompt, answer) = ("Où est la gare de Lyon ?", "où est la gare de lyon : à Paris.");
        assert_eq!(rules(answer, prompt), ["answer-echo"]);
        assert_eq!(rules(&answer.replace("gare", "garé"), prompt), [""; 0]);
        assert_eq!(rules("cat", "cat"), [""; 0]);
    }
}
