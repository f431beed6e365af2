//! Scores of answers: the metrics that people publish, bit-equal to the code that they are published with.
//!
//! Pure functions of texts. Each names the program whose numbers it gives; where programs disagree there is a function for
//! each. Scores lie in [0, 1].

mod agreement;
mod anls;
mod answer;
mod choice;
mod family;
mod fields;
mod judge;
mod labels;
mod ladder;
mod pair;
mod paired;
mod python;
mod relaxed;
mod tally;
mod vqa;

pub use agreement::{PreferenceAgreement, RatingAgreement, preference_agreement, rating_agreement};
pub use anls::{Cleaning, anls};
pub use answer::final_answer;
pub use choice::{chosen_option, listed_options, option_index};
pub use family::{Family, NoVariant, Variant};
pub use fields::{FieldScore, is_whole_object, score_fields};
pub use judge::{Averages, Rating, averages, judge_prompt, rating};
pub use labels::{LabelReport, LabelRow, Labels, label_report};
pub use ladder::{Grade, Level, Part, Scorer};
pub use pair::{PairChoice, Preference, is_consistent, pair_choice, pair_prompt, preference};
pub use paired::{Interval, bootstrap_difference, mcnemar};
pub use relaxed::{anywhere, relaxed, relaxed_final, relaxed_lmms};
pub use tally::{Spread, Tally};
pub use vqa::{vqa_lmms, vqa_match, vqa_official};

/// Why a score cannot be had. Most are exceptions of the reference code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// There is nothing to compare with (Python's `ValueError` of `max` over nothing).
    #[error("the sample has no reference answer")]
    NoReferences,
    /// A reference is infinite (`OverflowError`).
    #[error("a reference answer is an infinite number")]
    Overflow,
    /// The metric compares fields of JSON objects.
    #[error("a reference answer is not a JSON object")]
    NotAnObject,
    /// A rating is not a number (`SyntaxError`).
    #[error("the rating `{text}` is not a number")]
    Literal {
        /// What stands between the brackets.
        text: String,
    },
}

/// What is compared, and by whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The same text to the letter, spaces at both ends aside.
    Exact,
    /// The text holds a reference, without regard to case.
    Contains,
    /// Relaxed correctness of the whole text (mistral-evals).
    Relaxed,
    /// Relaxed correctness of the final answer (mistral-evals, the prompts that ask for `Final Answer:`).
    RelaxedFinal,
    /// Relaxed correctness of the final answer or, without one, of the text anywhere (mistral-evals).
    Anywhere,
    /// Relaxed correctness (lmms-eval).
    RelaxedLmms,
    /// VQA accuracy (mistral-evals).
    Vqa,
    /// VQA accuracy (the challenge's script).
    VqaOfficial,
    /// VQA accuracy (lmms-eval).
    VqaLmms,
    /// ANLS without a threshold (mistral-evals).
    Anls,
    /// ANLS with a threshold of 0.5 (the challenge's script and lmms-eval).
    AnlsOfficial,
}

impl Metric {
    /// Every metric of texts.
    pub const ALL: [Metric; 11] = [
        Metric::Exact,
        Metric::Contains,
        Metric::Relaxed,
        Metric::RelaxedFinal,
        Metric::Anywhere,
        Metric::RelaxedLmms,
        Metric::Vqa,
        Metric::VqaOfficial,
        Metric::VqaLmms,
        Metric::Anls,
        Metric::AnlsOfficial,
    ];

    /// The name that is written beside a score; where mistral-evals has the metric, its name.
    pub fn id(self) -> &'static str {
        match self {
            Metric::Exact => "exact",
            Metric::Contains => "contains",
            Metric::Relaxed => "relaxed_correctness",
            Metric::RelaxedFinal => "explicit_prompt_relaxed_correctness",
            Metric::Anywhere => "anywhere_in_answer_relaxed_correctness",
            Metric::RelaxedLmms => "relaxed_correctness_lmms",
            Metric::Vqa => "vqa_match",
            Metric::VqaOfficial => "vqa_official",
            Metric::VqaLmms => "vqa_lmms",
            Metric::Anls => "anls",
            Metric::AnlsOfficial => "anls_official",
        }
    }

    /// The metric of a name.
    pub fn find(id: &str) -> Option<Metric> {
        Metric::ALL.into_iter().find(|metric| metric.id() == id)
    }

    /// The score of an answer, in [0, 1].
    pub fn score(self, answer: &str, references: &[&str]) -> Result<f64, ScoreError> {
        let any = |is_right: &dyn Fn(&str) -> bool| match references {
            [] => Err(ScoreError::NoReferences),
            references => Ok(f64::from(u8::from(references.iter().any(|reference| is_right(reference))))),
        };
        match self {
            Metric::Exact => any(&|reference| python::strip(answer) == python::strip(reference)),
            Metric::Contains => any(&|reference| contains(answer, reference)),
            Metric::Relaxed => relaxed(answer, references),
            Metric::RelaxedFinal => relaxed_final(answer, references),
            Metric::Anywhere => anywhere(answer, references),
            Metric::RelaxedLmms => relaxed_lmms(answer, references),
            Metric::Vqa => Ok(vqa_match(answer, references)),
            Metric::VqaOfficial => vqa_official(answer, references),
            Metric::VqaLmms => vqa_lmms(answer, references),
            Metric::Anls => anls(answer, references, Cleaning::Mistral, 0.0),
            Metric::AnlsOfficial => anls(answer, references, Cleaning::Official, 0.5),
        }
    }
}

/// An empty reference is in no answer: it would be in every one.
fn contains(answer: &str, reference: &str) -> bool {
    let reference = python::strip(reference).to_lowercase();
    !reference.is_empty() && answer.to_lowercase().contains(&reference)
}

/// Whether an answer is a number within `tolerance` of the reference: of its size, or absolute where it is 0.
/// Percent signs, currency signs and commas between thousands do not count. `None` where either is no number.
pub fn is_near(answer: &str, reference: &str, tolerance: f64) -> Option<bool> {
    let number = |text: &str| python::float(&text.replace(['$', '€', '£', ',', '%'], ""));
    let (answer, reference) = (number(answer)?, number(reference)?);
    let scale = if reference == 0.0 { 1.0 } else { reference.abs() };
    Some((answer - reference).abs() <= tolerance * scale)
}

/// Removes one pair of equal quotation marks around a text.
fn without_quotes(text: &str) -> &str {
    for quote in ['"', '\''] {
        if text.starts_with(quote) && text.ends_with(quote) {
            // A single mark is both of the pair, and nothing is left.
            return text.get(1..text.len() - 1).unwrap_or_default();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_found() {
        for metric in Metric::ALL {
            assert_eq!(Metric::find(metric.id()), Some(metric));
        }
        assert_eq!(Metric::find("bleu"), None);
    }

    #[test]
    fn near_numbers_ignore_signs_of_currency() {
        assert_eq!(is_near("$1,005", "1000", 0.01), Some(true));
        assert_eq!(is_near("1011", "1000", 0.01), Some(false));
        assert_eq!(is_near("0.005", "0", 0.01), Some(true));
        assert_eq!(is_near("many", "1000", 0.01), None);
    }

    #[test]
    fn contained_answers_ignore_case_and_need_a_text() {
        assert_eq!(Metric::Contains.score("It is PARIS.", &["paris"]), Ok(1.0));
        assert_eq!(Metric::Contains.score("It is Paris.", &[" "]), Ok(0.0));
        assert_eq!(Metric::Exact.score(" Paris\n", &["Paris"]), Ok(1.0));
        assert_eq!(Metric::Exact.score("paris", &["Paris"]), Ok(0.0));
    }

    proptest! {
        #[test]
        fn every_score_is_a_share(answer in ".{0,40}", references in proptest::collection::vec(".{0,20}", 0..5)) {
            let references: Vec<&str> = references.iter().map(String::as_str).collect();
            for metric in Metric::ALL {
                if let Ok(score) = metric.score(&answer, &references) {
                    prop_assert!((0.0..=1.0).contains(&score), "{} gives {score}", metric.id());
                }
            }
        }

        #[test]
        fn anls_is_symmetric(one in ".{0,20}", other in ".{0,20}") {
            prop_assert_eq!(Metric::Anls.score(&one, &[&other]), Metric::Anls.score(&other, &[&one]));
        }

        #[test]
        fn a_text_is_like_itself(text in "[a-zA-Z0-9 .,$%]{1,20}") {
            for metric in [Metric::Exact, Metric::Anls] {
                prop_assert_eq!(metric.score(&text, &[&text]), Ok(1.0), "{}", metric.id());
            }
        }

        #[test]
        fn more_references_never_lower_a_score(answer in ".{0,12}", one in ".{0,12}", other in ".{0,12}") {
            for metric in [Metric::Exact, Metric::Contains, Metric::Relaxed, Metric::Anls, Metric::Vqa] {
                let fewer = metric.score(&answer, &[&one]).unwrap_or_default();
                let more = metric.score(&answer, &[&one, &other]).unwrap_or_default();
                prop_assert!(fewer <= more, "{}", metric.id());
            }
        }
    }
}
