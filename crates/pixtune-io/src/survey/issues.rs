//! How good the images of a set are: the scores of each, by `pixtune_core::curate::issues`, and the worst of them.

use pixtune_core::curate::ImageFacts;
use pixtune_core::curate::issues::{Outlier, Score, judge, scores};
use pixtune_core::diagnostic::Rule;
use pixtune_core::quality::{Kept, Location, Observation};
use pixtune_core::spec::ModelSpec;

use super::ImagePlace;

/// Scores from 0 to 1 are counted in so many fields.
pub const FIELDS: usize = 20;
/// So many of the worst are kept of each kind.
const WORST: usize = 8;

/// One kind of issue over a whole set.
#[derive(Debug, Clone)]
pub struct Issue {
    /// The rule that a low score breaks.
    pub rule: &'static Rule,
    /// Below this it is broken.
    pub threshold: f64,
    /// How many images score how much, in fields of equal width from 0 to 1.
    pub scores: [u64; FIELDS],
    /// Those that break the rule.
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

/// The scores of a set.
#[derive(Debug, Clone, Default)]
pub struct Issues {
    /// Images that were measured.
    pub measured: u64,
    /// Every kind, in the order of `quality::scores`.
    pub kinds: Vec<Issue>,
    /// What is odd in this set, by rule: told in the end.
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

    /// Counts what is unlike most of the set.
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

    /// What is worth knowing, with the first places of each.
    pub(super) fn observations(&self) -> impl Iterator<Item = Observation> + '_ {
        let kinds = self.kinds.iter().map(|kind| (kind.rule, &kind.broken));
        let all = kinds.chain(self.odd.iter().map(|(rule, kept)| (*rule, kept)));
        all.filter(|(_, kept)| kept.count > 0).map(|(rule, kept)| Observation {
            rule,
            message: told(rule, kept.count),
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
        // A full score has nothing to show.
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
        Location { file: self.line.file, line: self.line.line, message: u32::MAX }
    }
}

fn told(rule: &Rule, count: u64) -> String {
    let noun = if count == 1 { "image" } else { "images" };
    let what = match rule.id {
        "image-dark" => "dark as a whole",
        "image-light" => "over-exposed",
        "image-low-information" => "next to empty",
        "image-blurry" => "sharp nowhere",
        "image-too-small" => "a few patches at most",
        "image-shrunk" => "shrunk more than four times by the model's limit",
        "image-odd-size" => "far smaller or larger than the others",
        "image-odd-aspect-ratio" => "far more elongated than the others",
        "image-grayscale" => "gray where most are colored",
        other => other,
    };
    format!("{count} {noun}: {what}")
}

fn hint(rule: &Rule) -> &'static str {
    match rule.id {
        "image-shrunk" => "cut out the part that the question is about, or give it in several images",
        "image-too-small" => "use the images these were cut from",
        _ => "look at them in a report; `prepare --drop` with the rule's name leaves them out",
    }
}

#[cfg(test)]
mod tests {
    use super::super::LinePlace;
    use super::*;
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
    fn the_worst_are_kept_once_each_and_the_broken_are_counted() {
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
        assert_eq!(seen[0].message, "82 images: dark as a whole");
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let mut issues = Issues::default();
        issues.add(&PIXTRAL_12B, &ImageFacts::default(), place(1), 1);
        assert_eq!((issues.measured, issues.observations().count()), (0, 0));
    }
}
