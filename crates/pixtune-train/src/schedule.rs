//! The learning rate of each step: linear warmup, then cosine decay to 0.

use std::f64::consts::PI;

/// The learning rate over a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The peak learning rate, reached at the end of the warmup.
    pub peak: f64,
    /// Warmup steps.
    pub warmup: u64,
    /// Steps of the whole run.
    pub total: u64,
}

impl Schedule {
    /// The learning rate of a step, counted from 0.
    ///
    /// As `get_cosine_schedule_with_warmup` of transformers except in the warmup: there the first step has a learning rate
    /// of 0 and is wasted, here it has the first fraction of the peak.
    pub fn learning_rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let progress = (step - self.warmup) as f64 / self.total.saturating_sub(self.warmup).max(1) as f64;
        self.peak * 0.5 * (1.0 + (PI * progress.min(1.0)).cos())
    }
}

/// The length of the warmup as the user gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warmup {
    /// A fraction of all steps, below 1.
    Fraction(f64),
    /// This many steps.
    Steps(u64),
}

impl Warmup {
    /// Warmup steps in a run of `total` steps: never all of them.
    pub fn steps(self, total: u64) -> u64 {
        let steps = match self {
            Warmup::Fraction(fraction) => (fraction * total as f64).ceil() as u64,
            Warmup::Steps(steps) => steps,
        };
        steps.min(total.saturating_sub(1))
    }
}

impl std::str::FromStr for Warmup {
    type Err = String;

    fn from_str(text: &str) -> Result<Warmup, String> {
        let wrong =
            || format!("`{text}` is neither a fraction of all steps (`0.05`) nor a number of steps (`100`)");
        match text.parse::<u64>() {
            Ok(steps) => Ok(Warmup::Steps(steps)),
            Err(_) => match text.parse::<f64>() {
                Ok(fraction) if (0.0..1.0).contains(&fraction) => Ok(Warmup::Fraction(fraction)),
                _ => Err(wrong()),
            },
        }
    }
}

impl std::fmt::Display for Warmup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warmup::Fraction(fraction) => write!(f, "{fraction}"),
            Warmup::Steps(steps) => write!(f, "{steps}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_linearly_and_decays_as_half_a_cosine() {
        let schedule = Schedule { peak: 1.0, warmup: 2, total: 6 };
        let rates: Vec<f64> = (0..7).map(|step| schedule.learning_rate(step)).collect();
        let expected = [0.5, 1.0, 1.0, 0.853_553, 0.5, 0.146_447, 0.0];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-6, "{rates:?}");
        }
    }

    #[test]
    fn short_runs_and_no_warmup_have_finite_learning_rates() {
        for (warmup, total) in [(0, 0), (0, 1), (1, 1), (5, 3)] {
            let schedule = Schedule { peak: 1.0, warmup, total };
            assert!((0..10).all(|step| (0.0..=1.0).contains(&schedule.learning_rate(step))));
        }
        assert_eq!(Schedule { peak: 2.0, warmup: 0, total: 1 }.learning_rate(0), 2.0);
    }

    #[test]
    fn warmup_is_a_fraction_or_a_number_of_steps() {
        assert_eq!("0.05".parse::<Warmup>().unwrap().steps(101), 6);
        assert_eq!("10".parse::<Warmup>().unwrap().steps(100), 10);
        assert_eq!("0".parse::<Warmup>().unwrap().steps(100), 0);
        assert_eq!(Warmup::Steps(100).steps(10), 9, "the last step is at the peak");
        assert!(["1.5", "-1", "x", "NaN", ""].iter().all(|text| text.parse::<Warmup>().is_err()));
    }
}
