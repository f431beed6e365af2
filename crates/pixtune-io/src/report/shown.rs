//! The samples that a page shows: some by chance, and the first of each problem.

use std::collections::{BTreeMap, BTreeSet};

use super::problems::Problem;
use crate::read::LinePlace;
use crate::survey::{ImagePlace, Survey};

/// So many samples of a problem are shown, and so many for all problems together.
const OF_A_PROBLEM: usize = 4;
const OF_PROBLEMS: usize = 60;

/// The samples of a page, in the order of the files.
#[derive(Debug, Default)]
pub(super) struct ShownSamples {
    pub(super) places: Vec<ImagePlace>,
    numbers: BTreeMap<LinePlace, usize>,
    problems: BTreeMap<LinePlace, BTreeSet<usize>>,
}

impl ShownSamples {
    /// The random selection and the first samples of each problem; nothing if nothing was selected.
    pub(super) fn new(chance: Vec<ImagePlace>, problems: &[Problem], found: &Survey) -> ShownSamples {
        if chance.is_empty() || found.lines.is_empty() {
            return ShownSamples::default();
        }
        let mut lines: BTreeSet<LinePlace> = chance.iter().map(|place| place.line).collect();
        let mut more = 0;
        // A line that is no sample cannot be shown as one.
        let of_samples = |problem: &&Problem| !found.refused.contains_key(problem.rule);
        for problem in problems.iter().filter(of_samples) {
            for place in problem.places.iter().filter_map(|spot| spot.place).take(OF_A_PROBLEM) {
                if more < OF_PROBLEMS && lines.insert(place.line) {
                    more += 1;
                }
            }
        }
        let mut by_line: BTreeMap<LinePlace, BTreeSet<usize>> = BTreeMap::new();
        for (index, problem) in problems.iter().enumerate() {
            for place in problem.places.iter().filter_map(|spot| spot.place) {
                by_line.entry(place.line).or_default().insert(index);
            }
        }
        ShownSamples {
            numbers: lines.iter().enumerate().map(|(number, line)| (*line, number)).collect(),
            problems: by_line,
            places: lines.into_iter().map(|line| ImagePlace { line, index: 0 }).collect(),
        }
    }

    /// The number of a sample on the page, if it is there.
    pub(super) fn number(&self, line: LinePlace) -> Option<usize> {
        self.numbers.get(&line).copied()
    }

    /// The problems of a sample, as far as their places are known, by their index.
    pub(super) fn problems(&self, line: LinePlace) -> impl Iterator<Item = usize> + '_ {
        self.problems.get(&line).into_iter().flatten().copied()
    }
}
