//! ANLS: one minus the normalized edit distance to the nearest reference.

use super::ScoreError;
use super::python::{collapse_spaces, strip};
use super::relaxed::without_end_punctuation;

/// How texts are cleaned before they are compared, and what length the distance is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleaning {
    /// Lower case, single spaces, no punctuation at the end; lengths of the cleaned texts (mistral-evals d61811f).
    Mistral,
    /// Lower case, single spaces; lengths of the original texts, in upper case (lmms-eval 75571cf,
    /// `api/metrics.py`, after the DocVQA challenge's own script).
    Official,
}

/// Similarity to the nearest reference, in [0, 1]; less than `threshold` counts as 0.
///
/// mistral-evals has no threshold (0), DocVQA's challenge 0.5 (arXiv:1907.00490, section 4). Without references
/// mistral-evals gives 0; the others fail.
pub fn anls(
    answer: &str,
    references: &[&str],
    cleaning: Cleaning,
    threshold: f64,
) -> Result<f64, ScoreError> {
    if references.is_empty() {
        return if cleaning == Cleaning::Mistral { Ok(0.0) } else { Err(ScoreError::NoReferences) };
    }
    let cleaned = clean(answer, cleaning);
    let distance = |reference: &&str| {
        let other = clean(reference, cleaning);
        let length = match cleaning {
            Cleaning::Mistral => cleaned.len().max(other.len()),
            Cleaning::Official => upper_length(answer).max(upper_length(reference)),
        };
        if length == 0 { 0.0 } else { edit_distance(&cleaned, &other) as f64 / length as f64 }
    };
    let similarity = 1.0 - references.iter().map(distance).fold(f64::INFINITY, f64::min);
    Ok(if similarity < threshold { 0.0 } else { similarity })
}

fn clean(text: &str, cleaning: Cleaning) -> Vec<char> {
    let text = collapse_spaces(&strip(text).to_lowercase());
    match cleaning {
        Cleaning::Mistral => without_end_punctuation(&text).chars().collect(),
        Cleaning::Official => text.chars().collect(),
    }
}

fn upper_length(text: &str) -> usize {
    text.to_uppercase().chars().count()
}

/// Levenshtein distance in code points: one row of the table at a time.
pub(super) fn edit_distance(one: &[char], other: &[char]) -> usize {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let mut row: Vec<usize> = (0..=short.len()).collect();
    for (index, c) in long.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for at in 0..short.len() {
            let substituted = if short[at] == *c { diagonal } else { diagonal + 1 };
            diagonal = row[at + 1];
            row[at + 1] = substituted.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[short.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        let distance = |one: &str, other: &str| {
            edit_distance(&one.chars().collect::<Vec<_>>(), &other.chars().collect::<Vec<_>>())
        };
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("grün", "grun"), 1);
    }

    #[test]
    fn the_nearest_reference_counts() {
        let score = |answer, threshold| anls(answer, &["Berlin", "Bern"], Cleaning::Mistral, threshold);
        assert_eq!(score(" BERN .", 0.5), Ok(1.0));
        assert_eq!(score("Bonn", 0.0), Ok(0.5));
        assert_eq!(score("x", 0.5), Ok(0.0));
        assert_eq!(anls("", &[""], Cleaning::Mistral, 0.0), Ok(1.0));
    }

    #[test]
    fn the_official_length_is_of_the_text_as_it_came() {
        assert_eq!(anls("ab  c", &["ab d"], Cleaning::Official, 0.5), Ok(0.8));
        assert_eq!(anls("ab  c", &["ab d"], Cleaning::Mistral, 0.5), Ok(0.75));
        assert_eq!(anls("a", &[], Cleaning::Official, 0.5), Err(ScoreError::NoReferences));
    }
}
