//! A number and the noun after it agree.

use super::sources::Text;

/// Nouns that messages count, in the singular; all form the plural with `s`.
const NOUNS: &[&str] = &[
    "adapter",
    "batch",
    "byte",
    "checkpoint",
    "column",
    "duplicate",
    "epoch",
    "error",
    "file",
    "finding",
    "group",
    "image",
    "layer",
    "line",
    "message",
    "module",
    "page",
    "row",
    "sample",
    "shard",
    "step",
    "tensor",
    "token",
    "tool",
    "warning",
    "word",
];

/// One line for each number that does not agree with the noun after it: `1 images`, `2 image`.
pub fn disagreeing(text: &Text) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for (at, pair) in words.windows(2).enumerate() {
            // A noun before another one or a comma, as in "2 image tokens" and "2 image, 1 trained", is not what is counted.
            let noun = pair[1].trim_end_matches(['.', ';', ':', ')']);
            let counted = noun.len() < pair[1].len() || words.get(at + 2).is_none_or(|next| !is_word(next));
            let count = pair[0].trim_start_matches(['(', '`']);
            if agree(count, noun) == Some(false) && (counted || count == "1") {
                found.push(format!("{}:{}: `{count} {noun}`", text.name, number + 1));
            }
        }
    }
    found
}

/// Whether they agree; nothing for what is not a count and a noun.
fn agree(count: &str, noun: &str) -> Option<bool> {
    let is_count = count.starts_with(|digit: char| digit.is_ascii_digit())
        && count.ends_with(|digit: char| digit.is_ascii_digit())
        && count.chars().all(|letter| letter.is_ascii_digit() || letter == ',');
    let singular = NOUNS.contains(&noun);
    (is_count && (singular || is_plural(noun))).then_some((count == "1") == singular)
}

fn is_word(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_alphabetic())
}

/// One line for each count, but for those of tokens and bytes, which are large, in a format string that is written beside a plural: `{count} images`, where one of them would be
/// `1 images`.
pub fn uncounted(text: &Text) -> Vec<String> {
    let mut found = Vec::new();
    // A formula has no plurals.
    for (number, line) in text.text.lines().enumerate().filter(|(_, line)| !line.contains(" × ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let noun = pair[1].trim_end_matches(|letter: char| !letter.is_alphanumeric());
            let is_count = pair[0].starts_with('{') && pair[0].ends_with('}') && !is_never_one(pair[0]);
            if is_count && is_plural(noun) && !noun.starts_with("token") && !noun.starts_with("byte") {
                found.push(format!(
                    "{}:{}: `{} {noun}`; write `counted(number, noun)`",
                    text.name,
                    number + 1,
                    pair[0]
                ));
            }
        }
    }
    found
}

/// Whether a placeholder is a constant, a size such as `{width}x{height}`, or not a number.
fn is_never_one(placeholder: &str) -> bool {
    let name = placeholder.trim_matches(['{', '}']);
    name == "role"
        || placeholder.contains("}x{")
        || name.starts_with(|letter: char| letter.is_ascii_uppercase())
}

fn is_plural(noun: &str) -> bool {
    NOUNS.iter().any(|one| noun.strip_prefix(one).is_some_and(|end| end == "s" || end == "es"))
}

#[test]
fn numbers_agree_with_their_nouns() {
    let check = |count, noun, expected| assert_eq!(agree(count, noun), expected, "{count} {noun}");
    check("1", "image", Some(true));
    check("1", "images", Some(false));
    check("2", "images", Some(true));
    check("1,000", "row", Some(false));
    check("0", "rows", Some(true));
    check("a", "rows", None);
    check("2", "cats", None);
}
