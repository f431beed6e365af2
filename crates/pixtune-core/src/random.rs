//! Seeded random numbers that are the same on every machine and in every release.

/// SplitMix64 (Steele, Lea and Flood 2014): a counter put through a mixer, so any state is a good one.
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The stream of a seed.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// An independent stream for each pair of seed and purpose.
    pub fn stream(seed: u64, purpose: u64) -> SplitMix64 {
        let mut random = SplitMix64::new(seed);
        random.state = random.bits().wrapping_add(purpose);
        random.state = random.bits();
        random
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below 1, with the 53 bits that a double holds.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number below `bound`: the high half of a product (Lemire 2019), whose bias of less than `bound / 2^64` is
    /// negligible.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// The numbers below `count` in random order (Fisher and Yates).
    pub fn permutation(&mut self, count: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_published_algorithm() {
        // The first values of the seed 1234567, as Rosetta Code lists them.
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(
            [random.bits(), random.bits(), random.bits()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn unit_is_below_one() {
        let mut random = SplitMix64::new(3);
        assert!((0..10_000).map(|_| random.unit()).all(|number| (0.0..1.0).contains(&number)));
    }

    #[test]
    fn permutation_holds_every_number_once_and_follows_seed_and_purpose() {
        let order = |seed, purpose| SplitMix64::stream(seed, purpose).permutation(1000);
        let mut sorted = order(7, 0);
        assert_ne!(sorted, (0..1000).collect::<Vec<_>>());
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_eq!(order(7, 1), order(7, 1));
        assert_ne!(order(7, 1), order(7, 2));
        assert_ne!(order(8, 1), order(7, 1));
        assert!(SplitMix64::new(0).permutation(0).is_empty());
    }
}
