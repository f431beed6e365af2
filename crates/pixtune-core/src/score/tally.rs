//! Sums over the answers of one model to one phrasing.

use super::{Grade, Level};

/// What became of the answers, in the order of the samples, so that sums are the same for any number of threads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    /// Answers that were scored.
    pub scored: u64,
    /// Answers that could not be had: the request failed, or there is no prediction.
    pub failed: u64,
    /// Scored answers without text.
    pub empty: u64,
    /// Scored answers that ended at the token limit.
    pub cut: u64,
    /// Scored answers in which no final answer was found.
    pub unparsed: u64,
    /// Scored answers that are right by the score that counts.
    pub right: u64,
    /// Scored answers that are wrong by the score that counts, and right at a looser level.
    pub loose: u64,
    /// Scored answers whose score is that of their final answer, because the prompt asks for one.
    pub of_final: u64,
    /// How many are right at each level and at no stricter one, in the order of [`Level::ALL`].
    pub levels: [u64; 4],
    sum: f64,
    level_sums: [f64; 3],
}

impl Tally {
    /// Adds a scored answer with the score that counts.
    pub fn add(&mut self, grade: &Grade, score: f64, is_right: bool) {
        self.scored += 1;
        self.right += u64::from(is_right);
        self.loose += u64::from(!is_right && grade.level != Level::Wrong);
        self.unparsed += u64::from(!grade.is_parsed);
        self.levels[grade.level as usize] += 1;
        self.sum += score;
        for (sum, score) in self.level_sums.iter_mut().zip(grade.levels) {
            *sum += score;
        }
    }

    /// The sums of both.
    #[must_use]
    pub fn joined(mut self, other: &Tally) -> Tally {
        self.scored += other.scored;
        self.failed += other.failed;
        self.empty += other.empty;
        self.cut += other.cut;
        self.unparsed += other.unparsed;
        self.right += other.right;
        self.loose += other.loose;
        self.of_final += other.of_final;
        self.sum += other.sum;
        self.levels.iter_mut().zip(other.levels).for_each(|(sum, count)| *sum += count);
        self.level_sums.iter_mut().zip(other.level_sums).for_each(|(sum, score)| *sum += score);
        self
    }

    /// The mean score of the scored answers; `None` without any.
    pub fn score(&self) -> Option<f64> {
        self.mean(self.sum)
    }

    /// The mean score if every failed answer were wrong; 0 without any answer.
    pub fn score_with_failures(&self) -> f64 {
        let all = self.scored + self.failed;
        if all == 0 { 0.0 } else { self.sum / all as f64 }
    }

    /// The mean scores of the three levels of a [`Grade`]; `None` without scored answers.
    pub fn level_scores(&self) -> [Option<f64>; 3] {
        self.level_sums.map(|sum| self.mean(sum))
    }

    /// The share of the scored answers that are right at this level and at no stricter one.
    pub fn share(&self, level: Level) -> Option<f64> {
        self.mean(self.levels[level as usize] as f64)
    }

    /// The share of the scored answers in which no final answer was found.
    pub fn unparsed_share(&self) -> Option<f64> {
        self.mean(self.unparsed as f64)
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.scored > 0).then(|| sum / self.scored as f64)
    }
}

/// Mean, smallest and largest of some scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of some scores; `None` of none.
    pub fn of(scores: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let (mut count, mut sum, mut min, mut max) = (0u32, 0.0, f64::INFINITY, f64::NEG_INFINITY);
        for score in scores {
            (count, sum, min, max) = (count + 1, sum + score, min.min(score), max.max(score));
        }
        (count > 0).then(|| Spread { mean: sum / f64::from(count), min, max })
    }

    /// The largest minus the smallest.
    pub fn width(&self) -> f64 {
        self.max - self.min
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_apart_from_scores_and_can_count_as_wrong() {
        let mut tally = Tally::default();
        assert_eq!((tally.score(), tally.score_with_failures()), (None, 0.0));
        let grade = Grade { levels: [0.0, 1.0, 1.0], is_parsed: true, level: Level::Parsed };
        tally.add(&grade, 1.0, true);
        tally.failed += 1;
        assert_eq!((tally.score(), tally.score_with_failures()), (Some(1.0), 0.5));
        tally.add(&grade, 0.0, false);
        assert_eq!((tally.right, tally.loose), (1, 1));
        assert_eq!((tally.share(Level::Parsed), tally.unparsed_share()), (Some(1.0), Some(0.0)));
        assert_eq!(tally.joined(&Tally::default()).level_scores(), [Some(0.0), Some(1.0), Some(1.0)]);
    }

    #[test]
    fn a_spread_is_of_at_least_one_score() {
        assert_eq!(Spread::of([]), None);
        let spread = Spread::of([0.5, 1.0]).unwrap();
        assert_eq!((spread.mean, spread.width()), (0.75, 0.5));
    }
}
