//! Findings about a single answer: refusals, placeholders, answers cut off in mid-sentence, repeated prompts.

use std::borrow::Cow;

use super::format::{AnswerFormat, Classified, classify};
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
        let message = format!("the answer is a placeholder: `{phrase}`");
        findings.push(
            Finding::new(&ANSWER_PLACEHOLDER, pointer(), message).hint("write the answer or drop the sample"),
        );
        return findings;
    }
    if let Some(phrase) = refusal(answer) {
        let message = format!("the answer is a refusal: `{phrase}`");
        findings.push(
            Finding::new(&ANSWER_REFUSAL, pointer(), message)
                .hint("drop the sample, unless it is meant to teach refusals"),
        );
    }
    if let Some(why) = cut_off(answer, classified) {
        findings.push(
            Finding::new(&ANSWER_CUT_OFF, pointer(), format!("the answer seems cut off: {why}"))
                .hint("if it was generated, the token limit was probably too low; generate it again"),
        );
    }
    if echoes(answer, prompt) {
        findings.push(
            Finding::new(&ANSWER_ECHO, pointer(), "the answer starts with the whole prompt")
                .hint("remove the prompt from the answer"),
        );
    }
    findings
}

/// Beginnings of refusals, in lower case and with straight apostrophes.
const REFUSALS: &[&str] = &[
    "i'm sorry, but",
    "i am sorry, but",
    "i'm sorry, i",
    "sorry, but i",
    "sorry, i can",
    "i apologize, but",
    "i apologise, but",
    "i cannot assist",
    "i can't assist",
    "i cannot help",
    "i can't help",
    "i cannot provide",
    "i can't provide",
    "i cannot see",
    "i can't see",
    "i cannot view",
    "i can't view",
    "i cannot identify",
    "i can't identify",
    "i'm unable to",
    "i am unable to",
    "i'm not able to",
    "i am not able to",
    "i don't have the ability",
    "i do not have the ability",
    "as an ai",
    "as a language model",
    "as a large language model",
    "unfortunately, i can",
    "unfortunately, i am unable",
    "unfortunately, i'm unable",
    "je suis désolé, mais",
    "désolé, mais je",
    "en tant qu'ia",
    "en tant que modèle de langage",
    "es tut mir leid, aber ich",
    "tut mir leid, aber ich",
    "als ki-",
    "als sprachmodell",
    "lo siento, pero",
    "como modelo de lenguaje",
    "como ia,",
    "mi dispiace, ma",
    "come modello linguistico",
    "desculpe, mas",
    "como modelo de linguagem",
    "抱歉，我无法",
    "很抱歉，我",
    "申し訳ありませんが",
    "к сожалению, я не могу",
    "извините, но я",
];

/// Phrases that only a refusing model writes, anywhere in the first sentences.
const ANYWHERE: &[&str] = &["as an ai language model", "as an ai assistant", "as an ai model"];

/// More characters than the longest beginning has.
const BEGINNING: usize = 40;
/// Characters that are searched for `ANYWHERE`.
const FIRST_SENTENCES: usize = 200;

/// The first bytes of each beginning, as one number: ASCII letters in lower case.
const REFUSAL_STARTS: [u32; REFUSALS.len()] = {
    let mut starts = [0; REFUSALS.len()];
    let mut at = 0;
    while at < starts.len() {
        let bytes = REFUSALS[at].as_bytes();
        starts[at] = start_key([bytes[0], bytes[1], bytes[2]]);
        at += 1;
    }
    starts
};

const fn start_key([first, second, third]: [u8; 3]) -> u32 {
    u32::from_le_bytes([first, second, third, 0])
}

fn refusal(answer: &str) -> Option<String> {
    let answer = answer.trim_start();
    let begins = may_refuse(answer)
        .then(|| lower(answer, BEGINNING))
        .and_then(|start| REFUSALS.iter().find(|phrase| start.starts_with(**phrase)));
    begins.or_else(|| spoken_by_an_ai(answer)).map(|phrase| (*phrase).to_owned())
}

/// Whether the first bytes are those of a refusal: few answers pass.
fn may_refuse(answer: &str) -> bool {
    match answer.as_bytes().first_chunk::<3>() {
        Some(start) if start.is_ascii() => {
            REFUSAL_STARTS.contains(&start_key(start.map(|byte| byte.to_ascii_lowercase())))
        }
        // Lowering what is not ASCII is left to `lower`.
        _ => {
            let first = answer.chars().next().and_then(|first| first.to_lowercase().next());
            first.is_some_and(|first| REFUSALS.iter().any(|phrase| phrase.starts_with(first)))
        }
    }
}

/// The first characters in lower case, with straight apostrophes.
fn lower(text: &str, characters: usize) -> String {
    let small = text.chars().take(characters).flat_map(char::to_lowercase);
    small.map(|c| if matches!(c, '’' | '‘') { '\'' } else { c }).collect()
}

/// Which of `ANYWHERE` the first sentences hold. They are ASCII, so bytes are compared.
fn spoken_by_an_ai(answer: &str) -> Option<&'static &'static str> {
    const LEAD: usize = "as an".len();
    let bytes = answer.as_bytes();
    let near = &bytes[..bytes.len().min(FIRST_SENTENCES)];
    let start = if near.is_ascii() {
        near
    } else {
        let end = answer.char_indices().nth(FIRST_SENTENCES).map_or(answer.len(), |(at, _)| at);
        &bytes[..end]
    };
    if !names_an_ai(start) {
        return None;
    }
    memchr::memchr_iter(b' ', start).find_map(|at| {
        let here = &start[at.checked_sub(LEAD)?..];
        ANYWHERE.iter().find(|phrase| {
            here.get(..phrase.len()).is_some_and(|here| here.eq_ignore_ascii_case(phrase.as_bytes()))
        })
    })
}

/// Whether the text contains ` ai` in any case; without a branch, so that the loop is vectorized.
fn names_an_ai(text: &[u8]) -> bool {
    let (second, third) = (text.get(1..).unwrap_or_default(), text.get(2..).unwrap_or_default());
    text.iter().zip(second).zip(third).fold(false, |found, ((space, a), i)| {
        found | ((*space == b' ') & (*a | 0x20 == b'a') & (*i | 0x20 == b'i'))
    })
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
    fn fast_filters_pass_every_refusal() {
        for phrase in REFUSALS {
            for written in [phrase.to_string(), phrase.to_uppercase(), phrase.replace('\'', "’")] {
                assert!(refusal(&format!(" {written} see it.")).is_some(), "{written}");
            }
        }
        for phrase in ANYWHERE {
            for lead in ["", "Well. ", "é ", &"x".repeat(150), &"é".repeat(150)] {
                let answer = format!("{lead}{}, no.", phrase.to_uppercase());
                assert_eq!(spoken_by_an_ai(&answer), Some(phrase), "{answer}");
            }
            assert_eq!(spoken_by_an_ai(&format!("{}{phrase}", "é".repeat(190))), None);
        }
        assert_eq!(refusal("\u{212a}"), None);
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
