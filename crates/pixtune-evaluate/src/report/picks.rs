//! Which samples a report shows: a few of each kind, the worst first.

use std::collections::BTreeMap;

use pixtune_core::score::Level;

use crate::contest::Outcome;

/// Why a sample is shown. The order is that of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    Loss,
    Wrong,
    Flips,
    ParsedOnly,
    AnywhereOnly,
    Failed,
    Win,
    Right,
}

impl Reason {
    pub(super) const ALL: [Reason; 8] = [
        Reason::Loss,
        Reason::Wrong,
        Reason::Flips,
        Reason::ParsedOnly,
        Reason::AnywhereOnly,
        Reason::Failed,
        Reason::Win,
        Reason::Right,
    ];

    pub(super) fn id(self) -> &'static str {
        match self {
            Reason::Loss => "loss",
            Reason::Wrong => "wrong",
            Reason::Flips => "flips",
            Reason::ParsedOnly => "parsed",
            Reason::AnywhereOnly => "anywhere",
            Reason::Failed => "failed",
            Reason::Win => "win",
            Reason::Right => "right",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Reason::Loss => "Losses",
            Reason::Wrong => "Wrong",
            Reason::Flips => "Changes with the phrasing",
            Reason::ParsedOnly => "Right as final answer only",
            Reason::AnywhereOnly => "Right anywhere only",
            Reason::Failed => "Failed",
            Reason::Win => "Wins",
            Reason::Right => "Right",
        }
    }

    /// The label of one sample.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Reason::Loss => "Loss",
            Reason::Win => "Win",
            other => other.label(),
        }
    }

    /// How many of this kind are shown.
    fn most(self) -> usize {
        match self {
            Reason::Wrong => 24,
            Reason::Loss | Reason::Win => 10,
            _ => 6,
        }
    }

    fn applies(self, outcome: &Outcome, base: Option<&Outcome>) -> bool {
        let both = base.filter(|base| base.score.is_some() && outcome.score.is_some());
        match self {
            Reason::Loss => both.is_some_and(|base| base.is_right && !outcome.is_right),
            Reason::Win => both.is_some_and(|base| !base.is_right && outcome.is_right),
            Reason::Wrong => outcome.score.is_some() && !outcome.is_right,
            Reason::Flips => outcome.flips,
            Reason::ParsedOnly => outcome.level == Level::Parsed as u8,
            Reason::AnywhereOnly => outcome.level == Level::Anywhere as u8,
            Reason::Failed => outcome.has_failed,
            Reason::Right => outcome.is_right,
        }
    }
}

/// The samples to show with the reasons, in the order of the page, and how many there are of each kind in all.
pub(super) struct Picks {
    pub(super) samples: Vec<(usize, Vec<Reason>)>,
    pub(super) totals: BTreeMap<Reason, u64>,
}

impl Picks {
    pub(super) fn of(outcomes: &[Outcome], base: Option<&[Outcome]>) -> Picks {
        let base = |index: usize| base.and_then(|base| base.get(index));
        let mut totals = BTreeMap::new();
        let mut picked: BTreeMap<usize, Reason> = BTreeMap::new();
        for reason in Reason::ALL {
            let applying =
                outcomes.iter().enumerate().filter(|(index, outcome)| reason.applies(outcome, base(*index)));
            let mut found: Vec<(f64, usize)> =
                applying.map(|(index, outcome)| (outcome.score.unwrap_or(0.0), index)).collect();
            totals.insert(reason, found.len() as u64);
            found.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
            for (_, index) in found.into_iter().take(reason.most()) {
                picked.entry(index).or_insert(reason);
            }
        }
        let mut samples: Vec<(Reason, usize)> =
            picked.into_iter().map(|(index, reason)| (reason, index)).collect();
        samples.sort();
        let reasons = |index: usize| {
            let applies = |reason: &Reason| reason.applies(&outcomes[index], base(index));
            Reason::ALL.into_iter().filter(applies).collect()
        };
        let samples = samples.into_iter().map(|(_, index)| (index, reasons(index))).collect();
        Picks { samples, totals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(score: f64) -> Outcome {
        let is_right = score >= 1.0;
        let level = if is_right { Level::Strict } else { Level::Wrong } as u8;
        Outcome { offset: 0, score: Some(score), is_right, flips: false, has_failed: false, level }
    }

    #[test]
    fn the_worst_come_first_and_each_sample_once() {
        let tuned = [outcome(1.0), outcome(0.5), outcome(0.0)];
        let base = [outcome(0.0), outcome(1.0), outcome(0.0)];
        let picks = Picks::of(&tuned, Some(&base));
        let order: Vec<usize> = picks.samples.iter().map(|(index, _)| *index).collect();
        assert_eq!(order, [1, 2, 0]);
        assert_eq!(picks.samples[0].1, [Reason::Loss, Reason::Wrong]);
        assert_eq!((picks.totals[&Reason::Wrong], picks.totals[&Reason::Win]), (2, 1));
    }
}
