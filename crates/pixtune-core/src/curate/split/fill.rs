//! Fills a validation split of a given size, with an equal share of every stratum.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::curate::sorted::{List, Sorted, Space, fixed};

fixed! {
    /// Rows that must be in the same split.
    pub(super) Component {
        stratum: u64,
        key: u64,
        first: u32,
        rows: u32,
        bytes: u64,
    }
}

/// The size of the validation split.
pub(super) struct Budget {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// What is in the validation split.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) rows: u64,
    pub(super) strata: u64,
    /// Strata with a row in it.
    pub(super) used_strata: u64,
}

/// Moves components to the validation split until no more fits, each time from the stratum with the smallest share so far;
/// within a stratum in the order of the keys. `hold_out` is called with the first row of each.
pub(super) fn fill<S: Space>(
    space: &S,
    components: &Sorted<Component, S::Scratch>,
    mut budget: Budget,
    mut hold_out: impl FnMut(u32),
) -> Result<Filled, S::Error> {
    let mut parts = List::new(space);
    let mut strata: Vec<Stratum> = Vec::new();
    let mut last = None;
    components.each(|part| {
        let next = parts.len();
        if last != Some(part.stratum) {
            last = Some(part.stratum);
            strata.push(Stratum { next, end: next, rows: 0, given: 0 });
        }
        if let Some(stratum) = strata.last_mut() {
            stratum.end = next + 1;
            stratum.rows += u64::from(part.rows);
        }
        parts.push(part)
    })?;
    let mut filled = Filled { strata: strata.len() as u64, ..Filled::default() };
    let mut queue: BinaryHeap<_> = strata.into_iter().map(Reverse).collect();
    while let Some(Reverse(mut stratum)) = queue.pop() {
        if budget.rows == 0 || budget.bytes == 0 {
            break;
        }
        let part = parts.get(stratum.next)?;
        let rows = u64::from(part.rows);
        stratum.next += 1;
        if rows <= budget.rows && part.bytes <= budget.bytes {
            budget.rows -= rows;
            budget.bytes -= part.bytes;
            filled.used_strata += u64::from(stratum.given == 0);
            stratum.given += rows;
            filled.rows += rows;
            hold_out(part.first);
        }
        if stratum.next < stratum.end {
            queue.push(Reverse(stratum));
        }
    }
    Ok(filled)
}

/// The remaining components `next..end` of one stratum. Ordered by the exact share that it would have with one more row.
#[derive(PartialEq, Eq)]
struct Stratum {
    next: usize,
    end: usize,
    rows: u64,
    given: u64,
}

impl Ord for Stratum {
    fn cmp(&self, other: &Stratum) -> std::cmp::Ordering {
        let share = |one: &Stratum, other: &Stratum| u128::from(one.given + 1) * u128::from(other.rows);
        share(self, other).cmp(&share(other, self)).then(self.next.cmp(&other.next))
    }
}

impl PartialOrd for Stratum {
    fn partial_cmp(&self, other: &Stratum) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
