//! The metric of a dataset: chosen by its references unless the user names one, and always reported.

use pixtune_core::json;
use pixtune_core::score::{Family, Labels, NoVariant, Scorer, is_near};

use crate::plan::EvaluatePlan;

/// What the references of a dataset look like.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    samples: u64,
    /// Samples with three or more references.
    with_several: u64,
    /// Samples with options.
    choices: u64,
    /// Samples whose references are JSON objects.
    objects: u64,
    /// Samples with a reference that is a number.
    numbers: u64,
    /// Samples whose references have at most [`SHORT`] words.
    short: u64,
    /// The references, while they are few.
    labels: Option<Labels>,
    has_many_labels: bool,
}

/// An answer of so many words is a name, a number or a phrase.
const SHORT: usize = 6;
/// So many labels fit into a table of confusions.
pub(crate) const MOST_LABELS: usize = 20;
/// A longer text is no label.
const LONGEST_LABEL: usize = 48;

impl Profile {
    pub(crate) fn add(&mut self, references: &[String], is_choice: bool) {
        let all = |is: &dyn Fn(&String) -> bool| u64::from(references.iter().all(is));
        if references.is_empty() {
            return;
        }
        self.samples += 1;
        self.with_several += u64::from(references.len() >= 3);
        self.choices += u64::from(is_choice && references.iter().all(|text| text.trim().len() <= 3));
        self.objects += all(&|text| {
            text.trim_start().starts_with('{')
                && json::parse(text).is_ok_and(|parsed| parsed.value.as_object().is_some())
        });
        self.numbers += all(&|text| is_near(text, text, 0.0).is_some());
        self.short += all(&|text| text.split_whitespace().count() <= SHORT);
        if !self.has_many_labels {
            self.add_label(references);
        }
    }

    fn add_label(&mut self, references: &[String]) {
        let labels = self.labels.get_or_insert_default();
        match references {
            [label] if label.len() <= LONGEST_LABEL => labels.add(label),
            _ => self.has_many_labels = true,
        }
        self.has_many_labels |= labels.len() > MOST_LABELS;
        if self.has_many_labels {
            self.labels = None;
        }
    }

    /// The labels, if the references are few words that repeat.
    pub(crate) fn labels(&self) -> Option<&Labels> {
        self.labels.as_ref().filter(|labels| labels.len() >= 2 && 2 * labels.len() as u64 <= self.samples)
    }

    fn choose(&self) -> (Family, &'static str) {
        if self.samples == 0 {
            return (Family::Relaxed, "the references are in the predictions alone");
        }
        let most = |count: u64| 10 * count >= 9 * self.samples;
        if most(self.objects) {
            return (Family::Fields, "the references are JSON objects");
        }
        if most(self.with_several) && most(self.short) {
            return (Family::Vqa, "the samples have three or more short references");
        }
        if most(self.choices) {
            return (Family::Choice, "the prompts list options and the references name one");
        }
        if self.labels().is_some() && !most(self.numbers) {
            return (Family::Exact, "the references are few labels that repeat");
        }
        if most(self.short) {
            return (Family::Relaxed, "the references are numbers and short texts");
        }
        (Family::Anls, "the references are longer texts")
    }
}

/// The metric of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// It scores the answers.
    pub scorer: Scorer,
    /// Why it was chosen; `None` where the user named it.
    pub because: Option<&'static str>,
}

impl Choice {
    /// The metric that the plan names, or the one that fits.
    pub(crate) fn new(plan: &EvaluatePlan, profile: &Profile) -> Result<Choice, NoVariant> {
        let (family, because) = match plan.family {
            Some(family) => (family, None),
            None => {
                let (family, because) = profile.choose();
                (family, Some(because))
            }
        };
        Ok(Choice { scorer: Scorer::new(family, plan.variant, plan.tolerance)?, because })
    }

    /// Metric and variant: `relaxed (mistral)`.
    pub fn name(&self) -> String {
        match self.scorer.variant() {
            Some(variant) => format!("{} ({})", self.scorer.family().id(), variant.id()),
            None => self.scorer.family().id().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(samples: &[&[&str]], is_choice: bool) -> &'static str {
        let mut profile = Profile::default();
        for references in samples {
            let references: Vec<String> = references.iter().map(|text| (*text).to_owned()).collect();
            profile.add(&references, is_choice);
        }
        profile.choose().0.id()
    }

    #[test]
    fn references_decide_the_metric() {
        assert_eq!(chosen(&[&["{\"a\":1}"], &["{}"]], false), "json");
        assert_eq!(chosen(&[&["2", "2", "3"], &["cat", "cat", "dog"]], false), "vqa");
        assert_eq!(chosen(&[&["A"], &["B"]], true), "mcq");
        assert_eq!(chosen(&[&["yes"], &["no"], &["Yes"], &["no"]], false), "exact");
        assert_eq!(chosen(&[&["1"], &["2"], &["1"], &["2"]], false), "relaxed");
        assert_eq!(chosen(&[&["Paris"], &["1889"], &["the tower"]], false), "relaxed");
        let long = "a sentence that describes what the image shows in many words";
        assert_eq!(chosen(&[&[long], &[long], &["x"]], false), "anls");
    }
}
