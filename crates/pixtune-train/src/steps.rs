//! The steps of a run in order, over as many epochs as they take.

use std::sync::Arc;

use crate::data::{Entry, Epoch, Packing};

/// A step to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPlan {
    /// The epoch it belongs to.
    pub epoch: u64,
    /// Its index in the epoch.
    pub in_epoch: u64,
    /// The samples of each batch.
    pub batches: Vec<Vec<u32>>,
}

/// Iterates over the steps from any of them on. Cloning it is cheap: the order of the epoch is shared.
#[derive(Debug, Clone)]
pub struct Steps<'d> {
    entries: &'d [Entry],
    packing: Packing,
    epoch: u64,
    next: u64,
    remaining: u64,
    current: Option<Arc<Epoch>>,
}

impl<'d> Steps<'d> {
    /// `count` steps, starting with step `in_epoch` of `epoch`.
    pub fn new(entries: &'d [Entry], packing: Packing, epoch: u64, in_epoch: u64, count: u64) -> Steps<'d> {
        let current = Some(Arc::new(Epoch::new(entries, packing, epoch)));
        Steps { entries, packing, epoch, next: in_epoch, remaining: count, current }
    }
}

impl Iterator for Steps<'_> {
    type Item = StepPlan;

    fn next(&mut self) -> Option<StepPlan> {
        if self.remaining == 0 || self.entries.is_empty() {
            return None;
        }
        let steps = self.current.as_ref().map_or(0, |epoch| epoch.steps() as u64);
        if self.next >= steps {
            self.epoch += 1;
            self.next = 0;
            self.current = Some(Arc::new(Epoch::new(self.entries, self.packing, self.epoch)));
        }
        let in_epoch = self.next;
        self.next += 1;
        self.remaining -= 1;
        let batches = self.current.as_ref()?.batches(self.entries, in_epoch as usize);
        Some(StepPlan { epoch: self.epoch, in_epoch, batches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_takes_the_same_steps() {
        let entries: Vec<Entry> =
            (1..=7).map(|tokens| Entry { tokens: tokens * 10, ..Entry::default() }).collect();
        let packing = Packing { batch_tokens: 70, accumulate: 2, seed: 9 };
        let whole: Vec<StepPlan> = Steps::new(&entries, packing, 0, 0, 12).collect();
        assert_eq!(whole.len(), 12);
        assert!(whole.last().unwrap().epoch > 1, "there are several epochs");
        for taken in 0..12 {
            // As a checkpoint has it: the step after the last finished one.
            let (epoch, in_epoch) = match taken {
                0 => (0, 0),
                _ => (whole[taken - 1].epoch, whole[taken - 1].in_epoch + 1),
            };
            let rest: Vec<StepPlan> =
                Steps::new(&entries, packing, epoch, in_epoch, 12 - taken as u64).collect();
            assert_eq!(rest, whole[taken..]);
        }
        assert_eq!(Steps::new(&[], packing, 0, 0, 12).count(), 0);
    }
}
