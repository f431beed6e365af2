//! Answers that are few labels: accuracy, F1 and which label is taken for which.

use std::collections::BTreeMap;

/// Counts of one label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LabelRow {
    /// Samples with this label.
    pub support: usize,
    /// Answers with this label.
    pub predicted: usize,
    /// Answers with this label to samples with this label.
    pub correct: usize,
}

impl LabelRow {
    /// The share of the answers with this label that are right; 0 without such answers, as scikit-learn has it.
    pub fn precision(&self) -> f64 {
        ratio(self.correct, self.predicted)
    }

    /// The share of the samples with this label that were recognized; 0 without such samples.
    pub fn recall(&self) -> f64 {
        ratio(self.correct, self.support)
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        ratio(2 * self.correct, self.support + self.predicted)
    }
}

fn ratio(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// A classification report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelReport {
    /// Labels of samples, in order of the alphabet.
    pub labels: BTreeMap<String, LabelRow>,
    /// How often a sample of the first label was answered with the second; an answer that is no label is `None`.
    pub confusion: BTreeMap<(String, Option<String>), usize>,
    /// Samples.
    pub samples: usize,
    /// Samples whose answer is no label.
    pub unknown: usize,
}

impl LabelReport {
    /// The share of right answers.
    pub fn accuracy(&self) -> f64 {
        ratio(self.labels.values().map(|row| row.correct).sum(), self.samples)
    }

    /// Mean F1 over the labels of the samples.
    pub fn macro_f1(&self) -> f64 {
        let sum: f64 = self.labels.values().map(LabelRow::f1).sum();
        if self.labels.is_empty() { 0.0 } else { sum / self.labels.len() as f64 }
    }
}

/// Counts pairs of reference and answer. Labels are compared without spaces at the ends and without regard to case; the
/// first spelling is shown. `None` where there are more than `most` labels, or none is there twice.
pub fn label_report(pairs: &[(&str, &str)], most: usize) -> Option<LabelReport> {
    let key = |text: &str| super::python::strip(text).to_lowercase();
    let mut spellings: BTreeMap<String, &str> = BTreeMap::new();
    for (reference, _) in pairs {
        spellings.entry(key(reference)).or_insert(super::python::strip(reference));
        if spellings.len() > most {
            return None;
        }
    }
    if spellings.len() == pairs.len() {
        return None;
    }
    let mut report = LabelReport { samples: pairs.len(), ..LabelReport::default() };
    for spelling in spellings.values() {
        report.labels.insert((*spelling).to_owned(), LabelRow::default());
    }
    for (reference, answer) in pairs {
        let label = spellings[&key(reference)].to_owned();
        let predicted = spellings.get(&key(answer)).map(|label| (*label).to_owned());
        let is_correct = predicted.as_ref() == Some(&label);
        if let Some(row) = report.labels.get_mut(&label) {
            row.support += 1;
            row.correct += usize::from(is_correct);
        }
        match &predicted {
            None => report.unknown += 1,
            Some(predicted) => {
                if let Some(row) = report.labels.get_mut(predicted) {
                    row.predicted += 1;
                }
            }
        }
        *report.confusion.entry((label, predicted)).or_default() += 1;
    }
    Some(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_as_scikit_learn_does() {
        // sklearn.metrics.f1_score(["a","a","b","c"], ["a","b","b","x"], labels=["a","b","c"], average="macro",
        // zero_division=0) gives 0.4444…
        let pairs = [("a", "A "), ("a", "b"), ("b", "b"), ("c", "x")];
        let report = label_report(&pairs, 10).unwrap();
        assert_eq!(report.labels["a"], LabelRow { support: 2, predicted: 1, correct: 1 });
        assert_eq!((report.accuracy(), report.unknown), (0.5, 1));
        assert!((report.macro_f1() - 4.0 / 9.0).abs() < 1e-12);
        assert_eq!(report.confusion[&("a".to_owned(), Some("b".to_owned()))], 1);
    }

    #[test]
    fn free_text_has_no_labels() {
        assert_eq!(label_report(&[("a", "a"), ("b", "b")], 10), None);
        assert_eq!(label_report(&[("a", ""), ("b", ""), ("c", ""), ("a", "")], 2), None);
    }
}
