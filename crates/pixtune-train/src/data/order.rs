//! The order of samples and how they share batches, a function of their lengths and the seed. A resumed run computes it
//! again.

use pixtune_core::random::SplitMix64;

use super::Entry;

/// How samples are packed into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Maximum tokens per batch.
    pub batch_tokens: u32,
    /// Batches per step.
    pub accumulate: u32,
    /// Seed of the order.
    pub seed: u64,
}

/// One pass over all samples, split into steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    packing: Packing,
    order: Vec<u32>,
    /// For each step, its end in `order`.
    ends: Vec<u32>,
}

impl Epoch {
    /// The epoch of this number: every sample once, in a random order. No sample is truncated; each has to fit into a batch.
    pub fn new(entries: &[Entry], packing: Packing, number: u64) -> Epoch {
        let count = u32::try_from(entries.len()).expect("an index names its samples with 32 bits");
        let order = SplitMix64::stream(packing.seed, number).permutation(count);
        Epoch::of(entries, order, packing)
    }

    /// All samples once, in the order of the files, for evaluation.
    pub fn in_file_order(entries: &[Entry], batch_tokens: u32) -> Epoch {
        let count = u32::try_from(entries.len()).expect("an index names its samples with 32 bits");
        Epoch::of(entries, (0..count).collect(), Packing { batch_tokens, accumulate: 1, seed: 0 })
    }

    fn of(entries: &[Entry], order: Vec<u32>, packing: Packing) -> Epoch {
        let mut ends = Vec::new();
        let mut bins = Bins::new(packing);
        for (place, &sample) in (0..).zip(&order) {
            let tokens = entries[sample as usize].tokens;
            if bins.place(tokens).is_none() {
                ends.push(place);
                bins = Bins::new(packing);
                bins.place(tokens);
            }
        }
        if !order.is_empty() {
            ends.push(order.len() as u32);
        }
        Epoch { packing, order, ends }
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.ends.len()
    }

    /// The samples of a step.
    pub fn samples(&self, step: usize) -> &[u32] {
        let start = step.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.order[start as usize..self.ends[step] as usize]
    }

    /// The batches of a step, balanced by tokens so that none needs more memory or time than necessary.
    pub fn batches(&self, entries: &[Entry], step: usize) -> Vec<Vec<u32>> {
        let samples = self.samples(step);
        let tokens = |sample: u32| entries[sample as usize].tokens;
        let mut longest_first = samples.to_vec();
        longest_first.sort_by_key(|&sample| std::cmp::Reverse(tokens(sample)));
        // Longest first, each into the emptiest batch, is nearly balanced, but may exceed a limit that the order of arrival
        // did not.
        let balanced = Bins::fill(self.packing, &longest_first, tokens);
        let bins = balanced.or_else(|| Bins::fill(self.packing, samples, tokens));
        let mut bins = bins.expect("a step ends before a sample that does not fit");
        bins.retain(|bin| !bin.is_empty());
        bins
    }
}

/// The batches of a step while they are being filled.
struct Bins {
    loads: Vec<u32>,
    batch_tokens: u32,
}

impl Bins {
    fn new(packing: Packing) -> Bins {
        Bins { loads: vec![0; packing.accumulate.max(1) as usize], batch_tokens: packing.batch_tokens }
    }

    /// Puts a sample into the emptiest bin and returns which; if it does not fit there, it fits nowhere.
    fn place(&mut self, tokens: u32) -> Option<usize> {
        let (bin, load) = self.loads.iter_mut().enumerate().min_by_key(|(_, load)| **load)?;
        let after = load.checked_add(tokens)?;
        (after <= self.batch_tokens || *load == 0).then(|| {
            *load = after;
            bin
        })
    }

    fn fill(packing: Packing, samples: &[u32], tokens: impl Fn(u32) -> u32) -> Option<Vec<Vec<u32>>> {
        let mut bins = Bins::new(packing);
        let mut filled = vec![Vec::new(); bins.loads.len()];
        for &sample in samples {
            filled[bins.place(tokens(sample))?].push(sample);
        }
        Some(filled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(tokens: &[u32]) -> Vec<Entry> {
        tokens.iter().map(|&tokens| Entry { tokens, ..Entry::default() }).collect()
    }

    proptest! {
        #[test]
        fn every_sample_comes_once_and_no_batch_exceeds_its_limit(
            tokens in prop::collection::vec(1_u32..100, 0..200),
            accumulate in 1_u32..5,
            seed: u64,
        ) {
            let (entries, packing) = (entries(&tokens), Packing { batch_tokens: 100, accumulate, seed });
            let epoch = Epoch::new(&entries, packing, 3);
            let mut seen = Vec::new();
            for step in 0..epoch.steps() {
                let batches = epoch.batches(&entries, step);
                prop_assert!(!batches.is_empty() && batches.len() <= accumulate as usize);
                for batch in batches {
                    let load: u32 = batch.iter().map(|&sample| tokens[sample as usize]).sum();
                    prop_assert!(load <= 100 && !batch.is_empty());
                    seen.extend(batch);
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..tokens.len() as u32).collect::<Vec<_>>());
            prop_assert_eq!(&epoch, &Epoch::new(&entries, packing, 3));
        }
    }

    #[test]
    fn batches_of_a_step_are_balanced() {
        let entries = entries(&[90, 10, 80, 20, 70, 30, 60, 40]);
        let epoch = Epoch::in_file_order(&entries, 1000);
        assert_eq!((epoch.steps(), epoch.batches(&entries, 0).len()), (1, 1));
        let packing = Packing { batch_tokens: 1000, accumulate: 4, seed: 0 };
        let epoch = Epoch::new(&entries, packing, 0);
        let load = |batch: Vec<u32>| batch.iter().map(|&sample| entries[sample as usize].tokens).sum::<u32>();
        let loads: Vec<u32> = epoch.batches(&entries, 0).into_iter().map(load).collect();
        assert_eq!(loads, [100, 100, 100, 100]);
    }

    #[test]
    fn epochs_have_different_orders() {
        let entries = entries(&[1; 100]);
        let packing = Packing { batch_tokens: 10, accumulate: 1, seed: 0 };
        let order = |number| Epoch::new(&entries, packing, number).order;
        assert_ne!(order(0), order(1));
    }

    #[test]
    fn no_samples_make_no_steps() {
        let packing = Packing { batch_tokens: 10, accumulate: 2, seed: 0 };
        assert_eq!(Epoch::new(&[], packing, 0).steps(), 0);
    }
}
