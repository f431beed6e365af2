//! The learning rate of each step: a linear warm-up, then half a cosine down to nothing.

use std::f64::consts::PI;

/// How the learning rate goes over a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The highest learning rate, reached at the end of the warm-up.
    pub peak: f64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps of the whole run.
    pub total: u64,
}

impl Schedule {
    /// The learning rate of a step, counted from 0.
    ///
    /// As `get_cosine_schedule_with_warmup` of transformers, but for the warm-up: there the first step has a rate of 0 and
    /// so is lost, here it has the first share of the peak.
    pub fn learning_rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let progress = (step - self.warmup) as f64 / self.total.saturating_sub(self.warmup).max(1) as f64;
        self.peak * 0.5 * (1.0 + (PI * progress.min(1.0)).cos())
    }
}

/// The warm-up as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warmup {
    /// A share of all steps, below 1.
    Share(f64),
    /// So many steps.
    Steps(u64),
}

impl Warmup {
    /// Its steps in a run of `total`: never the whole run.
    pub fn steps(self, total: u64) -> u64 {
        let steps = match self {
            Warmup::Share(share) => (share * total as f64).ceil() as u64,
            Warmup::Steps(steps) => steps,
        };
        steps.min(total.saturating_sub(1))
    }
}

impl std::str::FromStr for Warmup {
    type Err = String;

    fn from_str(text: &str) -> Result<Warmup, String> {
        let wrong =
            || format!("`{text}` is neither a share of all steps (`0.05`) nor a number of steps (`100`)");
        match text.parse::<u64>() {
            Ok(steps) => Ok(Warmup::Steps(steps)),
            Err(_) => match text.parse::<f64>() {
                Ok(share) if (0.0..1.0).contains(&share) => Ok(Warmup::Share(share)),
                _ => Err(wrong()),
            },
        }
    }
}

impl std::fmt::Display for Warmup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Warmup::Share(share) => write!(f, "{share}"),
            Warmup::Steps(steps) => write!(f, "{steps}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_in_a_line_and_falls_as_half_a_cosine() {
        let schedule = Schedule { peak: 1.0, warmup: 2, total: 6 };
        let rates: Vec<f64> = (0..7).map(|step| schedule.learning_rate(step)).collect();
        let expected = [0.5, 1.0, 1.0, 0.853_553, 0.5, 0.146_447, 0.0];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-6, "{rates:?}");
        }
    }

    #[test]
    fn short_runs_and_no_warmup_have_finite_rates() {
        for (warmup, total) in [(0, 0), (0, 1), (1, 1), (5, 3)] {
            let schedule = Schedule { peak: 1.0, warmup, total };
            assert!((0..10).all(|step| (0.0..=1.0).contains(&schedule.learning_rate(step))));
        }
        assert_eq!(Schedule { peak: 2.0, warmup: 0, total: 1 }.learning_rate(0), 2.0);
    }

    #[test]
    fn a_warmup_is_a_share_or_a_number() {
        assert_eq!("0.05".parse::<Warmup>().unwrap().steps(101), 6);
        assert_eq!("10".parse::<Warmup>().unwrap().steps(100), 10);
        assert_eq!("0".parse::<Warmup>().unwrap().steps(100), 0);
        assert_eq!(Warmup::Steps(100).steps(10), 9, "the last step is at the peak");
        assert!(["1.5", "-1", "x", "NaN", ""].iter().all(|text| text.parse::<Warmup>().is_err()));
    }
}
