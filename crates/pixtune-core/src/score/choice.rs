//! Multiple choice: the options of a prompt, and which of them an answer or a reference names.

use super::python;

/// The option that an answer names, as an index; `None` where it names none.
///
/// The ladder of MMMU's own script (MMMU-Benchmark/MMMU, `eval/eval_utils.py`), with `X.` as lmms-eval 75571cf adds it: `(B)`,
/// then `B` between spaces, then `B.`, then, in an answer of more than five words, the text of the option; of several the one that
/// stands last. The script draws an option at random where there is none; here that is no answer.
pub fn chosen_option(answer: &str, options: &[&str]) -> Option<usize> {
    let mut text = answer;
    for mark in [',', '.', '!', '?', ';', ':', '\''] {
        text = text.trim_matches(mark);
    }
    let text = format!(" {text} ");
    let letters = (0u8..).zip(options).map_while(|(index, _)| Some(char::from(b'A'.checked_add(index)?)));
    let letters: Vec<char> = letters.take(26).collect();
    let forms: [fn(char) -> String; 3] =
        [|letter| format!("({letter})"), |letter| format!(" {letter} "), |letter| format!("{letter}.")];
    for form in forms {
        let places = letters.iter().map(|letter| text.rfind(&form(*letter)));
        if let Some(index) = last_place(places) {
            return Some(index);
        }
    }
    if text.split_whitespace().count() <= 5 {
        return None;
    }
    let lower = text.to_lowercase();
    last_place(options.iter().map(|option| lower.rfind(&option.to_lowercase())))
}

/// The option that a reference names: by its letter, or by its text.
pub fn option_index(reference: &str, options: &[&str]) -> Option<usize> {
    let reference = python::strip(reference);
    let bare = reference.trim_matches(['(', ')', '.']);
    if let [letter] = bare.as_bytes()
        && letter.is_ascii_alphabetic()
    {
        let index = usize::from(letter.to_ascii_uppercase() - b'A');
        if index < options.len() {
            return Some(index);
        }
    }
    options.iter().position(|option| option.trim().to_lowercase() == reference.to_lowercase())
}

/// The options that a prompt lists, one to a line: `A. cat`, `(B) dog`, `C) bird`. Fewer than two are none.
pub fn listed_options(prompt: &str) -> Vec<&str> {
    let mut options = Vec::new();
    for line in prompt.lines() {
        let line = line.trim().trim_start_matches(['-', '*', ' ']);
        let line = line.strip_prefix('(').unwrap_or(line);
        let mut rest = line.chars();
        let (letter, mark) = (rest.next(), rest.next());
        let expected = u8::try_from(options.len()).ok().and_then(|at| b'A'.checked_add(at)).map(char::from);
        if letter.is_some() && letter == expected && matches!(mark, Some('.' | ')' | ':')) {
            options.push(rest.as_str().trim());
        }
    }
    if options.len() < 2 { Vec::new() } else { options }
}

/// The index of the largest place; of equal ones the first.
fn last_place(places: impl Iterator<Item = Option<usize>>) -> Option<usize> {
    let found = places.enumerate().filter_map(|(index, place)| Some((place?, index)));
    found.max_by_key(|(place, index)| (*place, std::cmp::Reverse(*index))).map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: Option<usize>) {
        assert_eq!(chosen_option(answer, &["a cat", "a dog", "a bird"]), expected, "{answer:?}");
    }

    #[test]
    fn brackets_count_before_letters_before_texts() {
        check("(B)", Some(1));
        check("A or B, so (C)", Some(2));
        check("B", Some(1));
        check("The answer is C.", Some(2));
        check("Answer:C.", None);
        check("Surely the animal there is a dog", Some(1));
        check("a dog", None);
        check("", None);
    }

    #[test]
    fn the_last_of_several_is_meant() {
        check("not (A) but (B)", Some(1));
        check("first I thought a dog but it is a bird", Some(2));
    }

    #[test]
    fn options_are_read_from_the_prompt() {
        let prompt = "Which animal?\nA. a cat\n(B) a dog\n- C) a bird\nAnswer with the letter.";
        assert_eq!(listed_options(prompt), ["a cat", "a dog", "a bird"]);
        assert!(listed_options("A. Smith wrote this").is_empty());
    }
}
