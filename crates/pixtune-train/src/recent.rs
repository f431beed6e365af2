//! The mean loss at the end of a run.

use std::collections::VecDeque;

/// The losses of the last steps.
pub(crate) struct RecentLosses {
    losses: VecDeque<f64>,
    max: usize,
}

impl RecentLosses {
    pub(crate) fn new(total_steps: u64) -> RecentLosses {
        RecentLosses { losses: VecDeque::new(), max: (total_steps / 10).clamp(1, 100) as usize }
    }

    pub(crate) fn push(&mut self, loss: f64) {
        if self.losses.len() == self.max {
            self.losses.pop_front();
        }
        self.losses.push_back(loss);
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (!self.losses.is_empty()).then(|| self.losses.iter().sum::<f64>() / self.losses.len() as f64)
    }
}
