//! Relaxed correctness: numbers within five percent, letters by the first letter, other texts without regard to case.

use std::borrow::Cow;

use super::python::{
    float, has_digit, is_same_in_lower_case, is_space, number_text, number_with_commas, strip,
};
use super::{ScoreError, final_answer, without_quotes};
use crate::tokens::is_letter;

/// Numbers may be off by this share of the reference: ChartQA, arXiv:2203.10244, section 5.
const TOLERANCE: f64 = 0.05;

/// 1 where the answer is one of the references under mistral-evals' rules, else 0.
pub fn relaxed(answer: &str, references: &[&str]) -> Result<f64, ScoreError> {
    if references.is_empty() {
        return Err(ScoreError::NoReferences);
    }
    let answer = Cleaned::new(answer);
    let any = references.iter().any(|reference| answer.matches(&Cleaned::new(reference)));
    Ok(f64::from(u8::from(any)))
}

/// The same for the final answer of the text; 0 where it has none.
pub fn relaxed_final(text: &str, references: &[&str]) -> Result<f64, ScoreError> {
    final_answer(text).map_or(Ok(0.0), |answer| relaxed(&answer, references))
}

/// The same, or, where the text has no final answer, 1 when a reference stands anywhere in the text: an upper bound.
pub fn anywhere(text: &str, references: &[&str]) -> Result<f64, ScoreError> {
    if let Some(answer) = final_answer(text) {
        return relaxed(&answer, references);
    }
    for reference in references {
        let found = match float(reference) {
            Some(number) if number.is_infinite() => return Err(ScoreError::Overflow),
            Some(number) if !number.is_nan() => stands_as_number(number, text),
            // The reference searches for all references as soon as one of them is no number.
            _ => references.iter().any(|reference| stands_as_text(reference, text)),
        };
        if found {
            return Ok(1.0);
        }
    }
    Ok(0.0)
}

fn stands_as_number(number: f64, text: &str) -> bool {
    // Both spellings have a digit.
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return false;
    }
    // Whole numbers below 1,000 are the rule and have one spelling.
    if number.fract() == 0.0 && (0.0..1000.0).contains(&number) {
        let value = number as u32;
        let digits = [value / 100, value / 10 % 10, value % 10].map(|digit| b'0' + digit as u8);
        let first = [100, 10].iter().filter(|least| value < **least).count();
        let digits = &digits[first..];
        return text.as_bytes().windows(digits.len()).any(|window| window == digits);
    }
    text.contains(&number_text(number)) || text.contains(&number_with_commas(number))
}

/// The usual places of an answer in a sentence. The places are lower-cased and the text is not: an answer in upper case
/// is not found, as in mistral-evals.
fn stands_as_text(reference: &str, text: &str) -> bool {
    if reference.is_ascii() && !reference.is_empty() {
        return stands_as_ascii(reference.to_ascii_lowercase().as_bytes(), text.as_bytes());
    }
    let places = [
        format!("is {reference}"),
        format!("was {reference}"),
        format!(" {reference}."),
        format!("are {reference}"),
        format!("\n\n{reference}"),
    ];
    places.iter().any(|place| text.contains(&place.to_lowercase()))
}

/// The same for a reference in ASCII, which is searched for once.
fn stands_as_ascii(reference: &[u8], text: &[u8]) -> bool {
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&text[from..], reference) {
        let (before, after) = (&text[..from + found], &text[from + found + reference.len()..]);
        let follows = [&b"is "[..], b"was ", b"are ", b"\n\n"].iter().any(|words| before.ends_with(words));
        if follows || (before.ends_with(b" ") && after.starts_with(b".")) {
            return true;
        }
        from += found + 1;
    }
    false
}

/// An answer or a reference, cleaned, with its number if it is one.
struct Cleaned<'a> {
    text: Cow<'a, str>,
    number: Option<f64>,
    is_percent: bool,
}

impl<'a> Cleaned<'a> {
    fn new(text: &'a str) -> Cleaned<'a> {
        let text = if has_digit(text) {
            without_separators(without_end_punctuation(text))
        } else {
            Cow::Borrowed(without_quotes(text))
        };
        let stripped = strip(&text);
        let number = float(stripped.trim_end_matches('%'));
        let is_percent = number.is_some() && stripped.ends_with('%');
        Cleaned { number, is_percent, text }
    }

    fn matches(&self, reference: &Cleaned<'_>) -> bool {
        if let (Some(answer), Some(number)) = (self.number, reference.number) {
            return is_close(answer, number)
                || (self.is_percent && is_close(answer / 100.0, number))
                || (reference.is_percent && is_close(answer, number / 100.0));
        }
        let mut letters = reference.text.chars();
        match (letters.next(), letters.next(), self.text.chars().next()) {
            (Some(letter), None, Some(first)) if is_letter(letter) => {
                first.to_string().to_lowercase() == reference.text.to_lowercase()
            }
            _ => is_same_in_lower_case(&self.text, &reference.text),
        }
    }
}

fn without_separators(text: &str) -> Cow<'_, str> {
    if text.contains([',', '$']) { Cow::Owned(text.replace([',', '$'], "")) } else { Cow::Borrowed(text) }
}

/// The relative difference is at most the tolerance; a reference of 0 allows next to nothing.
fn is_close(answer: f64, reference: f64) -> bool {
    // Not `f64::max`, which would ignore a reference that is not a number.
    let scale = if 1e-10 > reference.abs() { 1e-10 } else { reference.abs() };
    (answer - reference).abs() / scale <= TOLERANCE
}

/// Removes ASCII punctuation and spaces from the end, up to a percent sign.
pub(super) fn without_end_punctuation(text: &str) -> &str {
    text.trim_end_matches(|c: char| c != '%' && (c.is_ascii_punctuation() || is_space(c)))
}

/// Relaxed correctness of lmms-eval 75571cf (`tasks/chartqa/utils.py`), over the references: a percentage is a
/// hundredth on both sides, nothing is cleaned, and a reference of 0 is compared as text.
pub fn relaxed_lmms(answer: &str, references: &[&str]) -> Result<f64, ScoreError> {
    if references.is_empty() {
        return Err(ScoreError::NoReferences);
    }
    let number = |text: &str| match text.strip_suffix('%') {
        Some(_) => float(text.trim_end_matches('%')).map(|number| number / 100.0),
        None => float(text),
    };
    let is_correct = |reference: &&str| {
        let expected = number(reference).filter(|expected| *expected != 0.0);
        match expected.and_then(|expected| Some((number(answer)?, expected))) {
            Some((answer, expected)) => (answer - expected).abs() / expected.abs() <= TOLERANCE,
            None => is_same_in_lower_case(answer, reference),
        }
    };
    Ok(f64::from(u8::from(references.iter().any(is_correct))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, reference: &str, score: f64) {
        assert_eq!(relaxed(answer, &[reference]), Ok(score), "{answer:?} against {reference:?}");
    }

    #[test]
    fn numbers_may_be_off_by_five_percent() {
        check("6.0", "6", 1.0);
        check("6.3", "6", 1.0);
        check("6.31", "6", 0.0);
        check("$1,000.", "1000", 1.0);
        check("1_000", "1000", 1.0);
        check("1e-11", "0", 0.0);
        check("0", "0", 1.0);
        check("nan", "nan", 0.0);
    }

    #[test]
    fn percentages_match_as_they_are_and_as_hundredths() {
        check("6", "6%", 1.0);
        check("0.06", "6%", 1.0);
        check("600%", "6", 1.0);
        check("7", "6%", 0.0);
    }

    #[test]
    fn texts_match_without_regard_to_case_and_letters_by_the_first() {
        check("\"Paris\"", "paris", 1.0);
        check("Paris.", "paris", 0.0);
        check("Apple", "A", 1.0);
        check("", "A", 0.0);
        check("straße", "STRASSE", 0.0);
    }

    #[test]
    fn no_reference_is_an_error_only_where_an_answer_was_found() {
        assert_eq!(relaxed("5", &[]), Err(ScoreError::NoReferences));
        assert_eq!(relaxed_final("five", &[]), Ok(0.0));
        assert_eq!(anywhere("five", &[]), Ok(0.0));
    }

    #[test]
    fn a_reference_anywhere_is_found_as_number_or_in_a_sentence() {
        assert_eq!(anywhere("about 1,000 in all", &["1e3"]), Ok(1.0));
        assert_eq!(anywhere("about 70 in all", &["7.0"]), Ok(1.0));
        for (number, text) in
            [("0", "10"), ("9", "a9"), ("10", "310."), ("99.0", "99"), ("100", "1000"), ("999", "999")]
        {
            assert_eq!(anywhere(text, &[number]), Ok(1.0), "{number} in {text}");
        }
        assert_eq!(anywhere("about 8 in all", &["80"]), Ok(0.0));
        assert_eq!(anywhere("-5", &["-5.0"]), Ok(1.0));
        assert_eq!(anywhere("the color is red", &["Red"]), Ok(1.0));
        assert_eq!(anywhere("the color is RED", &["Red"]), Ok(0.0));
        assert_eq!(anywhere("without end", &["inf"]), Err(ScoreError::Overflow));
    }

    #[test]
    fn lmms_compares_percentages_as_hundredths_only() {
        assert_eq!(relaxed_lmms("6", &["6%"]), Ok(0.0));
        assert_eq!(relaxed_lmms("0.06", &["6%"]), Ok(1.0));
        assert_eq!(relaxed_lmms("0.0", &["0"]), Ok(0.0));
        assert_eq!(relaxed_lmms("$6", &["6"]), Ok(0.0));
    }
}
