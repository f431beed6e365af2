//! Notices that a run no longer learns: several steps without a gradient, with an exploding one, or with a loss above that
//! of guessing.

use pixtune_core::metrics::StepRecord;
use pixtune_core::text::counted;

/// Steps in a row after which a run is stopped for its gradients.
const GRADIENT_STEPS: u32 = 3;

/// Steps in a row after which a run is stopped for its loss, which depends on the samples of a step.
const LOSS_STEPS: u32 = 5;

/// A perfect fit has no gradient either.
const FITTED: f64 = 0.01;

/// How much longer than the first gradient an exploding one is. Measured on the tiny model: runs that recover stay below 20.
const EXPLODING: f64 = 1e3;

/// What is wrong with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symptom {
    /// Every gradient is zero although the loss is not.
    NoGradient,
    /// The gradient is a thousand times that of the first step.
    ExplodingGradient,
    /// The loss is above that of guessing each token at random.
    LossAboveChance,
}

impl Symptom {
    const ALL: [Symptom; 3] = [Symptom::NoGradient, Symptom::ExplodingGradient, Symptom::LossAboveChance];

    /// Its name in state.json.
    pub fn as_str(self) -> &'static str {
        match self {
            Symptom::NoGradient => "no-gradient",
            Symptom::ExplodingGradient => "exploding-gradient",
            Symptom::LossAboveChance => "loss-above-chance",
        }
    }

    /// The symptom of this name.
    pub fn parse(name: &str) -> Option<Symptom> {
        Symptom::ALL.into_iter().find(|symptom| symptom.as_str() == name)
    }

    fn limit(self) -> u32 {
        match self {
            Symptom::NoGradient | Symptom::ExplodingGradient => GRADIENT_STEPS,
            Symptom::LossAboveChance => LOSS_STEPS,
        }
    }
}

/// Steps in a row with one symptom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    /// What is wrong.
    pub symptom: Symptom,
    /// The first step that shows it.
    pub since: u64,
    /// How many steps show it.
    pub steps: u32,
    /// The loss of the latest.
    pub loss: f64,
    /// The gradient norm of the latest.
    pub grad_norm: f64,
    /// The loss of guessing.
    pub chance: f64,
}

impl std::fmt::Display for Divergence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Divergence { symptom, since, steps, loss, grad_norm, chance } = self;
        let what = match symptom {
            Symptom::NoGradient => format!("every gradient is zero, at a loss of {loss:.3}"),
            Symptom::ExplodingGradient => format!("the gradient norm is {grad_norm:.3e}"),
            Symptom::LossAboveChance => {
                format!("the loss is {loss:.3}, and guessing at random has {chance:.3}")
            }
        };
        let steps = counted(u64::from(*steps), "step");
        write!(f, "for {steps}, from step {since} on, {what}")
    }
}

/// Watches the steps of a run.
#[derive(Debug)]
pub struct Guard {
    /// The loss of a uniform guess: ln of the vocabulary.
    chance: f64,
    memory: GuardMemory,
}

/// What a guard remembers of the steps before: a resumed run continues with it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GuardMemory {
    /// Loss and gradient norm of the first step.
    pub first: Option<(f64, f64)>,
    /// The latest steps with a symptom.
    pub streak: Option<Divergence>,
}

impl Guard {
    /// A guard for a vocabulary of this size, after the steps that it remembers.
    pub fn new(vocabulary: usize, memory: GuardMemory) -> Guard {
        Guard { chance: (vocabulary.max(2) as f64).ln(), memory }
    }

    /// What it remembers.
    pub fn memory(&self) -> GuardMemory {
        self.memory
    }

    /// Checks a step. Returns what is wrong if it has lasted too long.
    pub fn step(&mut self, record: &StepRecord) -> Option<Divergence> {
        let (first_loss, first_norm) = *self.memory.first.get_or_insert((record.loss, record.grad_norm));
        let symptom = self.symptom(record, first_loss, first_norm);
        let before = self.memory.streak;
        self.memory.streak = symptom.map(|symptom| match before.filter(|streak| streak.symptom == symptom) {
            Some(streak) => Divergence {
                steps: streak.steps + 1,
                loss: record.loss,
                grad_norm: record.grad_norm,
                ..streak
            },
            None => Divergence {
                symptom,
                since: record.step,
                steps: 1,
                loss: record.loss,
                grad_norm: record.grad_norm,
                chance: self.chance,
            },
        });
        self.memory.streak.filter(|streak| streak.steps >= streak.symptom.limit())
    }

    /// Whether the latest step had a symptom: its adapter is not worth a checkpoint.
    pub fn is_suspicious(&self) -> bool {
        self.memory.streak.is_some()
    }

    /// The first of the latest steps with a symptom.
    pub fn since(&self) -> Option<u64> {
        self.memory.streak.map(|streak| streak.since)
    }

    /// What is wrong at the end of a run: without a gradient its adapter is of no use, however few steps show it.
    pub fn at_end(&self) -> Option<Divergence> {
        self.memory.streak.filter(|streak| streak.symptom == Symptom::NoGradient)
    }

    fn symptom(&self, record: &StepRecord, first_loss: f64, first_norm: f64) -> Option<Symptom> {
        if record.trained_tokens == 0 {
            return None;
        }
        if record.grad_norm == 0.0 && record.loss > FITTED {
            return Some(Symptom::NoGradient);
        }
        if first_norm > 0.0 && record.grad_norm > EXPLODING * first_norm.max(1.0) {
            return Some(Symptom::ExplodingGradient);
        }
        // A model that starts above the loss of guessing, such as one of random weights, has to get much worse.
        let bar =
            if first_loss < 0.9 * self.chance { self.chance } else { 1.5 * first_loss.max(self.chance) };
        (record.loss > bar).then_some(Symptom::LossAboveChance)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn record(step: u64, loss: f64, grad_norm: f64) -> StepRecord {
        let (learning_rate, tokens, trained_tokens, seconds) = (1.0, 10, 5, 0.1);
        StepRecord {
            step,
            loss,
            learning_rate,
            grad_norm,
            tokens,
            trained_tokens,
            seconds,
            peak_memory_bytes: None,
        }
    }

    /// The step at which a run of these losses and gradient norms is stopped.
    fn stopped(steps: &[(f64, f64)]) -> Option<Divergence> {
        let mut guard = Guard::new(400, GuardMemory::default());
        (1..).zip(steps).find_map(|(step, (loss, norm))| guard.step(&record(step, *loss, *norm)))
    }

    #[test]
    fn stops_after_several_steps_without_a_gradient() {
        let found = stopped(&[(7.2, 5.6), (6.5, 12.0), (5.99, 0.0), (5.99, 0.0), (5.99, 0.0)]).unwrap();
        assert_eq!((found.symptom, found.since, found.steps), (Symptom::NoGradient, 3, 3));
        assert_eq!(stopped(&[(7.2, 5.6), (6.5, 0.0), (5.9, 0.0), (5.9, 1.0), (5.9, 0.0), (5.9, 0.0)]), None);
        assert_eq!(
            stopped(&[(7.2, 5.6), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)]),
            None,
            "a perfect fit"
        );
    }

    #[test]
    fn a_resumed_guard_continues_to_count() {
        let mut guard = Guard::new(400, GuardMemory::default());
        for (step, norm) in [(1, 5.6), (2, 0.0), (3, 0.0)] {
            assert_eq!(guard.step(&record(step, 6.0, norm)), None);
        }
        let mut resumed = Guard::new(400, guard.memory());
        let found = resumed.step(&record(4, 6.0, 0.0)).unwrap();
        assert_eq!((found.since, found.steps), (2, 3));
    }

    #[test]
    fn few_steps_without_a_gradient_count_at_the_end() {
        let mut guard = Guard::new(400, GuardMemory::default());
        assert_eq!(guard.step(&record(1, 7.2, 5.6)).or(guard.at_end()), None);
        assert_eq!(guard.step(&record(2, 6.0, 0.0)), None);
        assert_eq!(guard.at_end().map(|found| found.since), Some(2));
    }

    #[test]
    fn stops_at_exploding_gradients() {
        let found = stopped(&[(1.2, 2.0), (1.1, 3e3), (1.1, 4e4), (1.1, 5e5)]).unwrap();
        assert_eq!((found.symptom, found.since), (Symptom::ExplodingGradient, 2));
        assert_eq!(stopped(&[(7.2, 5.6), (6.1, 70.0), (6.1, 90.0), (6.1, 70.0)]), None);
    }

    #[test]
    fn stops_at_a_loss_above_chance() {
        let steps = [(1.5, 1.0), (6.1, 1.0), (7.0, 1.0), (6.2, 1.0), (6.5, 1.0), (6.3, 1.0)];
        assert_eq!(stopped(&steps).unwrap().symptom, Symptom::LossAboveChance);
        assert_eq!(stopped(&steps[..5]), None);
        let random: Vec<(f64, f64)> = (0..50).map(|step| (7.0 + f64::from(step % 3) * 0.5, 5.0)).collect();
        assert_eq!(stopped(&random), None, "a random model starts there");
    }
}
