//! VQA accuracy: an answer is right that three of ten people gave.

use super::python::{decimal, strip};
use super::{ScoreError, without_quotes};

/// A third for each reference that is the answer to the letter, 1 at most (mistral-evals d61811f).
pub fn vqa_match(answer: &str, references: &[&str]) -> f64 {
    let answer = without_quotes(answer);
    let matches = references.iter().filter(|reference| without_quotes(reference) == answer).count();
    (matches as f64 / 3.0).min(1.0)
}

/// The challenge's accuracy: the mean, over leaving out each reference once, of a third for each of the others that is the
/// answer. Where people disagree, punctuation, articles, contractions and number words are normalized first
/// (GT-Vision-Lab/VQA, `PythonEvaluationTools/vqaEvaluation/vqaEval.py`).
pub fn vqa_official(answer: &str, references: &[&str]) -> Result<f64, ScoreError> {
    let (mut answer, mut references) = flat(answer, references)?;
    if references.iter().any(|reference| *reference != references[0]) {
        normalize(&mut answer, &mut references, CommaInNumber::One);
    }
    let accuracies = left_out_accuracies(&answer, &references);
    Ok(accuracies.iter().sum::<f64>() / accuracies.len() as f64)
}

/// The same as lmms-eval 0.7.3 has it (`tasks/vqav2/utils.py`): texts are always normalized.
pub fn vqa_lmms(answer: &str, references: &[&str]) -> Result<f64, ScoreError> {
    let (mut answer, mut references) = flat(answer, references)?;
    normalize(&mut answer, &mut references, CommaInNumber::Several);
    Ok(exact_mean(&left_out_accuracies(&answer, &references)))
}

/// The texts on one line each.
fn flat(answer: &str, references: &[&str]) -> Result<(String, Vec<String>), ScoreError> {
    if references.is_empty() {
        return Err(ScoreError::NoReferences);
    }
    let flat = |text: &str| strip(&text.replace(['\n', '\t'], " ")).to_owned();
    Ok((flat(answer), references.iter().map(|reference| flat(reference)).collect()))
}

/// For each reference a third for each other one that is the answer, 1 at most.
fn left_out_accuracies(answer: &str, references: &[String]) -> Vec<f64> {
    let matches = references.iter().filter(|reference| *reference == answer).count();
    let accuracy = |others: usize| (others as f64 / 3.0).min(1.0);
    references.iter().map(|left_out| accuracy(matches - usize::from(left_out == answer))).collect()
}

/// The mean as Python's `statistics.mean` rounds it: once, from the exact sum. Numbers are 0 or lie in [1/3, 1], as
/// accuracies do, and there are fewer than 2^32 of them.
fn exact_mean(numbers: &[f64]) -> f64 {
    // 1/3 has its last bit at 2^-54, the larger ones above it: in these units all are whole.
    let unit = 2f64.powi(54);
    let sum: u128 = numbers.iter().map(|number| (number * unit) as u128).sum();
    let count = numbers.len() as u128;
    // 20 more bits and a sticky bit for the rest are enough to round 54 + 32 bits correctly.
    let shifted = sum << 30;
    let quotient = (shifted / count) | u128::from(!shifted.is_multiple_of(count));
    quotient as f64 / unit / 2f64.powi(30)
}

fn normalize(answer: &mut String, references: &mut [String], commas: CommaInNumber) {
    *answer = normalized(answer, commas);
    references.iter_mut().for_each(|reference| *reference = normalized(reference, commas));
}

/// What counts as a comma between digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommaInNumber {
    /// `1,0`
    One,
    /// `1,0` and `1,,0`
    Several,
}

/// Punctuation, then number words, articles and contractions.
fn normalized(text: &str, commas: CommaInNumber) -> String {
    let text = without_punctuation(text, commas).to_lowercase();
    let words = text.split(super::python::is_space).filter(|word| !word.is_empty());
    let digits = words
        .map(|word| NUMBER_WORDS.iter().find(|(name, _)| *name == word).map_or(word, |(_, digit)| digit));
    let kept = digits.filter(|word| !["a", "an", "the"].contains(word));
    let spelled = kept.map(|word| {
        let found = CONTRACTIONS.binary_search_by_key(&word, |(plain, _)| plain);
        found.map_or(word, |at| CONTRACTIONS[at].1)
    });
    spelled.collect::<Vec<_>>().join(" ")
}

fn without_punctuation(text: &str, commas: CommaInNumber) -> String {
    if !text.bytes().any(|byte| PUNCTUATION.contains(&byte)) {
        return without_periods(text);
    }
    let has_comma_in_number = has_comma_in_number(text, commas);
    let mut out = text.as_bytes().to_vec();
    for mark in PUNCTUATION.into_iter().filter(|mark| text.as_bytes().contains(mark)) {
        let is_beside = |pair: &[u8]| pair == [mark, b' '] || pair == [b' ', mark];
        if has_comma_in_number || text.as_bytes().windows(2).any(is_beside) {
            out.retain(|byte| *byte != mark);
        } else {
            out.iter_mut().filter(|byte| **byte == mark).for_each(|byte| *byte = b' ');
        }
    }
    // Marks are ASCII: what is left of UTF-8 without them is UTF-8.
    without_periods(&String::from_utf8_lossy(&out))
}

fn has_comma_in_number(text: &str, commas: CommaInNumber) -> bool {
    let mut before = None;
    let mut between = 0;
    for c in text.chars() {
        if c == ',' {
            between += 1;
            continue;
        }
        let is_digit = decimal(c).is_some();
        let is_run = between == 1 || (between > 1 && commas == CommaInNumber::Several);
        if is_digit && is_run && before == Some(true) {
            return true;
        }
        (before, between) = (Some(is_digit), 0);
    }
    false
}

/// Removes periods that no digit follows. The script passes a flag where `re.sub` takes the largest number of
/// replacements, so that it is 32 of them at most.
fn without_periods(text: &str) -> String {
    if !text.contains('.') {
        return text.to_owned();
    }
    let mut left = 32;
    let mut characters = text.chars().peekable();
    let mut out = String::with_capacity(text.len());
    while let Some(c) = characters.next() {
        let is_removed =
            c == '.' && left > 0 && characters.peek().is_none_or(|next| decimal(*next).is_none());
        if is_removed {
            left -= 1;
        } else {
            out.push(c);
        }
    }
    out
}

/// Each is replaced by itself, so that their order does not matter.
const PUNCTUATION: [u8; 21] = *b";/[]\"{}()=+\\_-><@`,?!";

const NUMBER_WORDS: [(&str, &str); 12] = [
    ("none", "0"),
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
];

/// The script's table, sorted. Words are in lower case when they are looked up, so its entries with capitals
/// (`Im`, `Ive`, `Id've`, `I'dve`) never apply and are not here.
const CONTRACTIONS: &[(&str, &str)] = &[
    ("'ow'sat", "'ow's'at"),
    ("'ows'at", "'ow's'at"),
    ("aint", "ain't"),
    ("arent", "aren't"),
    ("cant", "can't"),
    ("couldn'tve", "couldn't've"),
    ("couldnt", "couldn't"),
    ("couldnt've", "couldn't've"),
    ("couldve", "could've"),
    ("didnt", "didn't"),
    ("doesnt", "doesn't"),
    ("dont", "don't"),
    ("hadn'tve", "hadn't've"),
    ("hadnt", "hadn't"),
    ("hadnt've", "hadn't've"),
    ("hasnt", "hasn't"),
    ("havent", "haven't"),
    ("he'dve", "he'd've"),
    ("hed", "he'd"),
    ("hed've", "he'd've"),
    ("hes", "he's"),
    ("howd", "how'd"),
    ("howll", "how'll"),
    ("hows", "how's"),
    ("isnt", "isn't"),
    ("it'dve", "it'd've"),
    ("itd", "it'd"),
    ("itd've", "it'd've"),
    ("itll", "it'll"),
    ("maam", "ma'am"),
    ("mightn'tve", "mightn't've"),
    ("mightnt", "mightn't"),
    ("mightnt've", "mightn't've"),
    ("mightve", "might've"),
    ("mustnt", "mustn't"),
    ("mustve", "must've"),
    ("neednt", "needn't"),
    ("notve", "not've"),
    ("oclock", "o'clock"),
    ("oughtnt", "oughtn't"),
    ("ow's'at", "'ow's'at"),
    ("shant", "shan't"),
    ("she'dve", "she'd've"),
    ("shed've", "she'd've"),
    ("shouldn'tve", "shouldn't've"),
    ("shouldnt", "shouldn't"),
    ("shouldnt've", "shouldn't've"),
    ("shouldve", "should've"),
    ("somebody'd", "somebodyd"),
    ("somebody'dve", "somebody'd've"),
    ("somebodyd've", "somebody'd've"),
    ("somebodyll", "somebody'll"),
    ("somebodys", "somebody's"),
    ("someone'dve", "someone'd've"),
    ("someoned", "someone'd"),
    ("someoned've", "someone'd've"),
    ("someonell", "someone'll"),
    ("someones", "someone's"),
    ("something'dve", "something'd've"),
    ("somethingd", "something'd"),
    ("somethingd've", "something'd've"),
    ("somethingll", "something'll"),
    ("thats", "that's"),
    ("there'dve", "there'd've"),
    ("thered", "there'd"),
    ("thered've", "there'd've"),
    ("therere", "there're"),
    ("theres", "there's"),
    ("they'dve", "they'd've"),
    ("theyd", "they'd"),
    ("theyd've", "they'd've"),
    ("theyll", "they'll"),
    ("theyre", "they're"),
    ("theyve", "they've"),
    ("twas", "'twas"),
    ("wasnt", "wasn't"),
    ("we'dve", "we'd've"),
    ("wed've", "we'd've"),
    ("werent", "weren't"),
    ("weve", "we've"),
    ("whatll", "what'll"),
    ("whatre", "what're"),
    ("whats", "what's"),
    ("whatve", "what've"),
    ("whens", "when's"),
    ("whered", "where'd"),
    ("wheres", "where's"),
    ("whereve", "where've"),
    ("who'dve", "who'd've"),
    ("whod", "who'd"),
    ("whod've", "who'd've"),
    ("wholl", "who'll"),
    ("whos", "who's"),
    ("whove", "who've"),
    ("whyll", "why'll"),
    ("whyre", "why're"),
    ("whys", "why's"),
    ("wont", "won't"),
    ("wouldn'tve", "wouldn't've"),
    ("wouldnt", "wouldn't"),
    ("wouldnt've", "wouldn't've"),
    ("wouldve", "would've"),
    ("y'all'dve", "y'all'd've"),
    ("y'alld've", "y'all'd've"),
    ("y'allll", "y'all'll"),
    ("yall", "y'all"),
    ("yall'd've", "y'all'd've"),
    ("yall'll", "y'all'll"),
    ("you'dve", "you'd've"),
    ("youd", "you'd"),
    ("youd've", "you'd've"),
    ("youll", "you'll"),
    ("youre", "you're"),
    ("youve", "you've"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> String {
        normalized(text, CommaInNumber::One)
    }

    #[test]
    fn three_people_make_a_right_answer() {
        let people = ["cat", "cat", "\"cat\"", "dog", "dog", "Cat", "", "bird", "bird", "bird"];
        assert_eq!(vqa_match("cat", &people), 1.0);
        assert_eq!(vqa_match("'dog'", &people), 2.0 / 3.0);
        assert_eq!(vqa_match("fish", &people), 0.0);
        assert_eq!(vqa_match("fish", &[]), 0.0);
    }

    #[test]
    fn the_official_score_leaves_out_each_reference_once() {
        let people = ["2", "2", "2", "3", "3", "3", "3", "4", "5", "6"];
        // Left out thrice: 2 of 9 match; else 3 of 9.
        let expected = (3.0 * (2.0 / 3.0) + 7.0) / 10.0;
        assert!((vqa_official("two", &people).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn the_official_score_normalizes_where_people_disagree() {
        let people = ["the cat", "a cat!", "cat", "dog"];
        assert_eq!(vqa_official("Cat.", &people), Ok((3.0 * (2.0 / 3.0) + 1.0) / 4.0));
        assert_eq!(vqa_official("Cat", &["cat"; 10]), Ok(0.0));
    }

    #[test]
    fn punctuation_is_removed_beside_spaces_and_else_a_space() {
        assert_eq!(normal("It's-a dont, do"), "it's don't do");
        assert_eq!(normal("1,000.5 u.s.a."), "1000.5 usa");
        assert_eq!(normal("x/y"), "x y");
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(CONTRACTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
