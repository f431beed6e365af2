//! The quality of the images of a dataset: scores by `pixtune_core::curate::issues`, and the worst images.

use pixtune_core::curate::ImageFacts;
use pixtune_core::curate::issues::{Outlier, Score, judge, scores};
use pixtune_core::diagnostic::Rule;
use pixtune_core::quality::{Kept, Location, Observation};
use pixtune_core::spec::ModelSpec;
use pixtune_core::text::counted;

use super::ImagePlace;

/// The bins of a histogram of scores from 0 to 1.
pub const FIELDS: usize = 20;
/// The worst images that are kept of each kind.
const WORST: usize = 8;

/// One kind of issue over a whole dataset.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The rule that a low score breaks.
    pub rule: &'static Rule,
    /// A lower score breaks the rule.
    pub threshold: f64,
    /// A histogram of scores, in bins of equal width from 0 to 1.
    pub scores: [u64; FIELDS],
    /// Images that break the rule.
    pub broken: Kept,
    /// The lowest scores, the worst first, each image once, whether they break the rule or not.
    pub worst: Vec<Worst>,
}

/// An image with a low score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// Its score.
    pub score: f64,
    /// Where it is.
    pub place: ImagePlace,
    hash: u128,
}

/// The scores of a dataset.
#[derive(Debug, Clone, Default)]
pub struct Issues {
    /// Images that were measured.
    pub measured: u64,
    /// Every kind, in the order of `quality::scores`.
    pub kinds: Vec<Issue>,
    /// Outliers of this dataset, by rule.
    odd: Vec<(&'static Rule, Kept)>,
}

impl Issues {
    /// Counts an image that was measured.
    pub(super) fn add(&mut self, model: &ModelSpec, facts: &ImageFacts, place: ImagePlace, hash: u128) {
        let scores = scores(facts, model);
        if scores.is_empty() {
            return;
        }
        self.measured += 1;
        if self.kinds.is_empty() {
            self.kinds = scores.iter().map(Issue::new).collect();
        }
        for (kind, score) in self.kinds.iter_mut().zip(&scores) {
            kind.add(score.score, place, hash);
        }
        if scores.iter().any(Score::is_issue) {
            for finding in judge(facts, model) {
                let kind = self.kinds.iter_mut().find(|kind| std::ptr::eq(kind.rule, finding.rule));
                let Some(kind) = kind else { continue };
                kind.broken.add(place.example(), || finding.message.clone());
            }
        }
    }

    /// Counts an outlier.
    pub(super) fn add_odd(&mut self, odd: &Outlier, place: ImagePlace) {
        let at = match self.odd.iter().position(|(rule, _)| std::ptr::eq(*rule, odd.rule)) {
            Some(at) => at,
            None => {
                self.odd.push((odd.rule, Kept::default()));
                self.odd.len() - 1
            }
        };
        self.odd[at].1.add(place.example(), || odd.finding().message);
    }

    /// The observations, with the first places of each.
    pub(super) fn observations(&self) -> impl Iterator<Item = Observation> + '_ {
        let kinds = self.kinds.iter().map(|kind| (kind.rule, &kind.broken));
        let all = kinds.chain(self.odd.iter().map(|(rule, kept)| (*rule, kept)));
        all.filter(|(_, kept)| kept.count > 0).map(|(rule, kept)| Observation {
            rule,
            message: message(rule, kept.count),
            hint: hint(rule),
            count: kept.count,
            examples: kept.first.clone(),
        })
    }
}

impl Issue {
    fn new(score: &Score) -> Issue {
        Issue {
            rule: score.rule,
            threshold: score.threshold,
            scores: [0; FIELDS],
            broken: Kept::default(),
            worst: Vec::new(),
        }
    }

    fn add(&mut self, score: f64, place: ImagePlace, hash: u128) {
        self.scores[((score * FIELDS as f64) as usize).min(FIELDS - 1)] += 1;
        let is_low = self.worst.len() < WORST || score < self.worst[WORST - 1].score;
        // A perfect score is not an issue.
        if score >= 1.0 || !is_low || self.worst.iter().any(|known| known.hash == hash) {
            return;
        }
        let at = self.worst.partition_point(|known| known.score <= score);
        self.worst.insert(at, Worst { score, place, hash });
        self.worst.truncate(WORST);
    }
}

impl ImagePlace {
    fn example(self) -> Location {
        Location { file: self.line.file, line: self.line.line, message: u32::MAX, image: Some(self.index) }
    }
}

fn message(rule: &Rule, count: u64) -> String {
    let what = match rule.id {
        "image-dark" => "too dark",
        "image-light" => "overexposed",
        "image-low-information" => "almost empty",
        "image-blurry" => "blurry",
        "image-too-small" => "too small, a few patches at most",
        "image-shrunk" => "downscaled by more than a factor of four by the model",
        "image-odd-size" => "outlier in size",
        "image-odd-aspect-ratio" => "outlier in aspect ratio",
        "image-grayscale" => "grayscale, while nearly all images are in color",
        other => other,
    };
    format!("{}: {what}", counted(count, "image"))
}

fn hint(rule: &Rule) -> &'static str {
    match rule.id {
        "image-shrunk" => "crop the part that the question is about, or split it into several images",
        "image-too-small" => "use the images that these were cropped from",
        _ => "inspect them in a report; drop them with `prepare --drop` and the rule's name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::LinePlace;
    use pixtune_core::spec::PIXTRAL_12B;

    fn facts(brightness: u8) -> ImageFacts {
        ImageFacts {
            pixels: 7,
            width: 640,
            height: 480,
            brightness: [0, 0, 0, brightness / 2, brightness, brightness, brightness],
            structure: 900,
            edge_width: 100,
            ..ImageFacts::default()
        }
    }

    fn place(line: u64) -> ImagePlace {
        ImagePlace { line: LinePlace { file: 0, line }, index: 0 }
    }

    #[test]
    fn keeps_the_worst_images_once_and_counts_broken_rules() {
        let mut issues = Issues::default();
        for n in 0..200u64 {
            issues.add(&PIXTRAL_12B, &facts(n as u8), place(n), u128::from(n / 2));
        }
        let dark = &issues.kinds[0];
        assert_eq!(dark.rule.id, "image-dark");
        assert_eq!(
            dark.worst.iter().map(|worst| worst.place.line.line).collect::<Vec<_>>(),
            [0, 2, 4, 6, 8, 10, 12, 14]
        );
        assert_eq!((dark.broken.count, dark.scores.iter().sum::<u64>()), (82, 200));
        let seen: Vec<_> = issues.observations().collect();
        assert_eq!((seen[0].rule.id, seen[0].count), ("image-dark", 82));
        assert_eq!(seen[0].message, "82 images: too dark");
    }

    #[test]
    fn ignores_images_that_were_not_measured() {
        let mut issues = Issues::default();
        issues.add(&PIXTRAL_12B, &ImageFacts::default(), place(1), 1);
        assert_eq!((issues.measured, issues.observations().count()), (0, 0));
    }
}
