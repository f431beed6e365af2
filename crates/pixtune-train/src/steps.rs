//! The steps of a run, one after the other, through as many epochs as it takes.

use std::sync::Arc;

use crate::data::{Entry, Epoch, Packing};

/// A step to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPlan {
    /// The epoch it belongs to.
    pub epoch: u64,
    /// Its number in the epoch, from 0.
    pub in_epoch: u64,
    /// The samples of each batch.
    pub batches: Vec<Vec<u32>>,
}

/// Goes through the steps from a place on. Cloning it is cheap: the epoch's order is shared.
#[derive(Debug, Clone)]
pub struct Steps<'d> {
    entries: &'d [Entry],
    packing: Packing,
    epoch: u64,
    next: u64,
    left: u64,
    current: Option<Arc<Epoch>>,
}

impl<'d> Steps<'d> {
    /// `count` steps from this place on.
    pub fn new(entries: &'d [Entry], packing: Packing, epoch: u64, in_epoch: u64, count: u64) -> Steps<'d> {
        let current = Some(Arc::new(Epoch::new(entries, packing, epoch)));
        Steps { entries, packing, epoch, next: in_epoch, left: count, current }
    }
}

impl Iterator for Steps<'_> {
    type Item = StepPlan;

    fn next(&mut self) -> Option<StepPlan> {
        if self.left == 0 || self.entries.is_empty() {
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
        self.left -= 1;
        let batches = self.current.as_ref()?.batches(self.entries, in_epoch as usize);
        Some(StepPlan { epoch: self.epoch, in_epoch, batches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_found_again_in_the_middle_goes_on_as_it_would_have() {
        let entries: Vec<Entry> =
            (1..=7).map(|tokens| Entry { tokens: tokens * 10, ..Entry::default() }).collect();
        let packing = Packing { batch_tokens: 70, accumulate: 2, seed: 9 };
        let whole: Vec<StepPlan> = Steps::new(&entries, packing, 0, 0, 12).collect();
        assert_eq!(whole.len(), 12);
        assert!(whole.last().unwrap().epoch > 1, "it goes through several epochs");
        for taken in 0..12 {
            // The place is told as a checkpoint tells it: by the step taken last.
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
