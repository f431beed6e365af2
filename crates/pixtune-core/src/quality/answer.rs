//! What one answer alone gives away: a refusal, a placeholder, an end in mid-sentence, the prompt said again.

use super::format::{AnswerFormat, Classified};
use crate::diagnostic::Finding;
use crate::rules::{ANSWER_CUT_OFF, ANSWER_ECHO, ANSWER_PLACEHOLDER, ANSWER_REFUSAL};

/// Looks at an answer and the prompt before it.
pub(super) fn findings(answer: &str, classified: &Classified, prompt: &str, pointer: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(phrase) = placeholder(answer) {
        let message = format!("the answer is a placeholder: `{phrase}`");
        findings.push(
            Finding::new(&ANSWER_PLACEHOLDER, pointer, message).hint("write the answer or drop the sample"),
        );
        return findings;
    }
    if let Some(phrase) = refusal(answer) {
        let message = format!("the answer refuses: `{phrase}`");
        findings.push(
            Finding::new(&ANSWER_REFUSAL, pointer, message)
                .hint("drop the sample, unless refusing is what it should teach"),
        );
    }
    if let Some(why) = cut_off(answer, classified) {
        findings.push(
            Finding::new(&ANSWER_CUT_OFF, pointer, format!("the answer seems cut off: {why}"))
                .hint("was it generated with too low a limit of tokens? generate it anew"),
        );
    }
    if echoes(answer, prompt) {
        findings.push(
            Finding::new(&ANSWER_ECHO, pointer, "the answer begins with the whole prompt")
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

/// What only a refusing model says, wherever it stands in the first sentences.
const ANYWHERE: &[&str] = &["as an ai language model", "as an ai assistant", "as an ai model"];

fn refusal(answer: &str) -> Option<String> {
    let start: String = answer
        .trim_start()
        .chars()
        .take(200)
        .flat_map(char::to_lowercase)
        .map(|c| if matches!(c, '’' | '‘') { '\'' } else { c })
        .collect();
    let begins = REFUSALS.iter().find(|phrase| start.starts_with(**phrase));
    let holds = || ANYWHERE.iter().find(|phrase| start.contains(**phrase));
    begins.or_else(holds).map(|phrase| (*phrase).to_owned())
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
    let bare = text.trim_matches(['[', ']', '<', '>', '{', '}', '(', ')', '"', '\'']);
    if bare.len() <= 24 {
        let lower = bare.trim_end_matches(|c| c == '.' && bare != "...").to_lowercase();
        if WHOLE.contains(&lower.as_str()) {
            return Some(text.to_owned());
        }
    }
    let start: String = text.chars().take(20).flat_map(char::to_lowercase).collect();
    STARTS.iter().find(|known| start.starts_with(**known)).map(|known| format!("{}…", known.trim_end()))
}

/// Words after which no sentence ends.
const OPEN_WORDS: &[&str] = &[
    "the", "a", "an", "of", "and", "or", "but", "because", "than", "its", "my", "your", "le", "les", "des",
    "du", "et", "une", "dans", "der", "und", "oder", "ein", "eine", "einer", "einem", "el", "los", "las",
    "una", "del", "il", "lo", "della",
];

/// Shorter answers are phrases that need not end.
const LEAST_WORDS: usize = 6;

fn cut_off(answer: &str, classified: &Classified) -> Option<String> {
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
    if answer.matches("```").count() % 2 == 1 {
        return Some("its code block is never closed".to_owned());
    }
    // Lines of few words are lines of a sign or a page, which end anywhere.
    let line = answer.trim_end().lines().next_back()?;
    let tail = &line[line.char_indices().rev().nth(300).map_or(0, |(at, _)| at)..];
    tail.split_whitespace().nth(LEAST_WORDS - 1)?;
    let last = tail.split_whitespace().next_back()?;
    if last.ends_with([',', ';', '(', '[', '{', '、', '，']) {
        return Some(format!("it ends in `{last}`"));
    }
    OPEN_WORDS.contains(&last).then(|| format!("its last word is `{last}`"))
}

/// Letters and digits, for comparison.
fn letters(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

/// A prompt with fewer letters than this may well come up again.
const LEAST_ECHO: usize = 16;

fn echoes(answer: &str, prompt: &str) -> bool {
    if prompt.len() < LEAST_ECHO || answer.len() + 8 < prompt.len() / 2 {
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
    use super::super::format::classify;
    use super::*;

    fn rules(answer: &str, prompt: &str) -> Vec<&'static str> {
        findings(answer, &classify(answer), prompt, "").iter().map(|finding| finding.rule.id).collect()
    }

    #[test]
    fn refusals_are_seen_and_apologies_to_others_are_not() {
        for answer in [
            "I’m sorry, but I can’t identify people in pictures.",
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
    fn placeholders_are_seen_and_short_answers_are_not() {
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
    fn ends_in_mid_sentence_are_seen_and_phrases_are_not() {
        for answer in [
            "The picture shows a man who stands in front of a",
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
    fn the_prompt_said_again_is_seen() {
        let prompt = "What is the colour of the car?";
        assert_eq!(rules("what is the colour of the car? It is red.", prompt), ["answer-echo"]);
        assert_eq!(rules("The colour of the car is red.", prompt), [""; 0]);
        assert_eq!(rules("cat", "cat"), [""; 0]);
    }
}
