//! Answers from a small set of labels: accuracy, F1 and the confusion matrix.

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
    let mut labels = Labels::default();
    for (reference, _) in pairs {
        labels.add(reference);
        if labels.len() > most {
            return None;
        }
    }
    if labels.len() == pairs.len() {
        return None;
    }
    let mut report = labels.report();
    pairs.iter().for_each(|(reference, answer)| report.add(&labels, reference, answer));
    Some(report)
}

/// The labels of a dataset, in their first spellings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(BTreeMap<String, String>);

fn key(label: &str) -> String {
    super::python::strip(label).to_lowercase()
}

impl Labels {
    /// Adds a label, unless it is there in another spelling.
    pub fn add(&mut self, label: &str) {
        self.0.entry(key(label)).or_insert_with(|| super::python::strip(label).to_owned());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A report without answers.
    pub fn report(&self) -> LabelReport {
        let labels = self.0.values().map(|label| (label.clone(), LabelRow::default())).collect();
        LabelReport { labels, ..LabelReport::default() }
    }
}

impl LabelReport {
    /// Counts an answer to a sample with this label. A reference that is none of the labels counts nothing.
    pub fn add(&mut self, labels: &Labels, reference: &str, answer: &str) {
        let Some(label) = labels.0.get(&key(reference)) else { return };
        let predicted = labels.0.get(&key(answer));
        let is_correct = predicted == Some(label);
        self.samples += 1;
        if let Some(row) = self.labels.get_mut(label) {
            row.support += 1;
            row.correct += usize::from(is_correct);
        }
        match predicted.and_then(|predicted| self.labels.get_mut(predicted)) {
            None => self.unknown += 1,
            Some(row) => row.predicted += 1,
        }
        *self.confusion.entry((label.clone(), predicted.cloned())).or_default() += 1;
    }
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
