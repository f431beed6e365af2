//! Summaries of a stream of any length in bounded memory: a histogram, the most frequent items, the number of distinct items.
//! Each reports whether it is exact.

use std::collections::{BTreeMap, HashMap};

/// Values below this have a count each, which covers every context length in use.
const EXACT: u64 = 1 << 18;

/// A histogram of whole numbers. Below 262,144 every value has a count; above, values within 3 % share one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    exact: Vec<u64>,
    above: BTreeMap<u64, u64>,
    count: u64,
    sum: u128,
    min: Option<u64>,
    max: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        self.count += 1;
        self.sum += u128::from(value);
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = self.max.max(value);
        if value < EXACT {
            let index = value as usize;
            if self.exact.len() <= index {
                self.exact.resize(index + 1, 0);
            }
            self.exact[index] += 1;
        } else {
            let shift = value.ilog2() - 5;
            *self.above.entry(value >> shift << shift).or_default() += 1;
        }
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Histogram) {
        if other.count == 0 {
            return;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = Some(self.min.map_or(other.min(), |min| min.min(other.min())));
        self.max = self.max.max(other.max);
        if self.exact.len() < other.exact.len() {
            self.exact.resize(other.exact.len(), 0);
        }
        self.exact.iter_mut().zip(&other.exact).for_each(|(to, more)| *to += more);
        other.above.iter().for_each(|(value, count)| *self.above.entry(*value).or_default() += count);
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u128 {
        self.sum
    }

    /// The minimum; 0 without values.
    pub fn min(&self) -> u64 {
        self.min.unwrap_or(0)
    }

    /// The maximum; 0 without values.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean; 0 without values.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// A quantile: with 0.5 the (upper) median, as sorting would give it.
    pub fn quantile(&self, share: f64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let rank = ((self.count as f64 * share) as u64).min(self.count - 1);
        let mut seen = 0;
        for (value, count) in self.bars() {
            seen += count;
            if seen > rank {
                return value.clamp(self.min(), self.max);
            }
        }
        self.max
    }

    /// The number of values above `limit`.
    pub fn above(&self, limit: u64) -> u64 {
        self.bars().filter(|(value, _)| *value > limit).map(|(_, count)| count).sum()
    }

    /// Every value, or the lower end of values that share a count, with its count.
    pub fn bars(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let exact = self.exact.iter().enumerate().map(|(value, count)| (value as u64, *count));
        exact.filter(|(_, count)| *count > 0).chain(self.above.iter().map(|(value, count)| (*value, *count)))
    }
}

/// The most frequent items, each with extra data. Exact for up to `capacity` distinct items; beyond, counts are lower bounds
/// with the error [`Top::error`] (Misra and Gries, 1982).
#[derive(Debug, Clone)]
pub struct Top<Extra> {
    capacity: usize,
    entries: HashMap<u64, Entry<Extra>>,
    error: u64,
}

/// A frequent item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<Extra> {
    /// The start of its text.
    pub text: String,
    /// Its count.
    pub count: u64,
    /// Its extra data.
    pub extra: Extra,
}

impl<Extra: Default> Top<Extra> {
    /// Creates a summary of at most this many items.
    pub fn new(capacity: usize) -> Top<Extra> {
        Top { capacity, entries: HashMap::new(), error: 0 }
    }

    /// Counts an item by its hash and returns its extra data, unless the item is too rare to be kept.
    pub fn add(&mut self, hash: u64, text: &str) -> Option<&mut Extra> {
        if !self.entries.contains_key(&hash) && self.entries.len() >= self.capacity {
            self.error += 1;
            self.entries.retain(|_, entry| {
                entry.count -= 1;
                entry.count > 0
            });
            return None;
        }
        let fresh = || Entry { text: text.to_owned(), count: 0, extra: Extra::default() };
        let entry = self.entries.entry(hash).or_insert_with(fresh);
        entry.count += 1;
        Some(&mut entry.extra)
    }

    /// The most frequent items, in descending order, equal ones by their text.
    pub fn most(&self, number: usize) -> Vec<&Entry<Extra>> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by(|(left_hash, left), (right_hash, right)| {
            (right.count, &left.text, *left_hash).cmp(&(left.count, &right.text, *right_hash))
        });
        entries.into_iter().take(number).map(|(_, entry)| entry).collect()
    }

    /// The maximum error of a count; 0 if all are exact.
    pub fn error(&self) -> u64 {
        self.error
    }
}

/// Registers of the estimate, for a standard error of 0.8 %.
const REGISTERS: usize = 1 << 14;
/// Maximum distinct hashes that are kept themselves.
const KEPT: usize = 1 << 16;

/// The number of distinct items: exact up to 65,536, beyond an estimate (HyperLogLog, standard error 0.8 %).
#[derive(Debug, Clone)]
pub struct Distinct {
    kept: Option<std::collections::HashSet<u64>>,
    registers: Vec<u8>,
}

impl Default for Distinct {
    fn default() -> Distinct {
        Distinct { kept: Some(std::collections::HashSet::new()), registers: vec![0; REGISTERS] }
    }
}

impl Distinct {
    /// Adds an item by its hash.
    pub fn add(&mut self, hash: u64) {
        let register = (hash >> 50) as usize;
        let rank = (hash << 14).leading_zeros().min(50) as u8 + 1;
        self.registers[register] = self.registers[register].max(rank);
        if let Some(kept) = &mut self.kept {
            kept.insert(hash);
            if kept.len() > KEPT {
                self.kept = None;
            }
        }
    }

    /// Whether [`Distinct::count`] is exact.
    pub fn is_exact(&self) -> bool {
        self.kept.is_some()
    }

    /// The number of distinct items.
    pub fn count(&self) -> u64 {
        if let Some(kept) = &self.kept {
            return kept.len() as u64;
        }
        let m = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|&rank| 2f64.powi(-i32::from(rank))).sum();
        (0.7213 / (1.0 + 1.079 / m) * m * m / sum).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        twox_hash::XxHash3_64::oneshot(&number.to_le_bytes())
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut values: Vec<u64> = (0..999).map(|n| hash(n) % 5000).collect();
        let mut histogram = Histogram::default();
        values.iter().for_each(|&value| histogram.add(value));
        values.sort_unstable();
        for share in [0.0, 0.25, 0.5, 0.99, 1.0] {
            let index = ((values.len() as f64 * share) as usize).min(values.len() - 1);
            assert_eq!(histogram.quantile(share), values[index], "{share}");
        }
        assert_eq!(histogram.above(values[900]), values.iter().filter(|v| **v > values[900]).count() as u64);
        assert_eq!((histogram.min(), histogram.max()), (values[0], values[998]));
    }

    #[test]
    fn merging_equals_adding() {
        let (mut one, mut other, mut both) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for n in 0..500 {
            let value = hash(n) % 600_000;
            if n % 3 == 0 {
                one.add(value);
            } else {
                other.add(value);
            }
            both.add(value);
        }
        one.merge(&other);
        one.merge(&Histogram::default());
        assert_eq!(one, both);
    }

    #[test]
    fn large_values_stay_within_three_percent() {
        let mut histogram = Histogram::default();
        histogram.add(1);
        histogram.add(300_007);
        histogram.add(u64::MAX);
        let near = histogram.quantile(0.5) as f64;
        assert!((near / 300_007.0 - 1.0).abs() < 0.032, "{near}");
        assert_eq!(histogram.quantile(1.0) >> 58, u64::MAX >> 58);
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }

    #[test]
    fn frequent_items_survive_rare_ones() {
        let mut top: Top<()> = Top::new(50);
        for number in 0..5000 {
            top.add(hash(number), "rare");
            if number % 4 == 0 {
                top.add(7, "frequent");
            }
        }
        let first = top.most(1)[0];
        assert_eq!(first.text, "frequent");
        assert!(first.count <= 1250 && first.count + top.error() >= 1250, "{} {}", first.count, top.error());
    }

    #[test]
    fn few_items_are_counted_exactly() {
        let mut top: Top<()> = Top::new(10);
        for text in ["b", "a", "b", "c", "b", "a"] {
            top.add(twox_hash::XxHash3_64::oneshot(text.as_bytes()), text);
        }
        let counts: Vec<(&str, u64)> = top.most(9).iter().map(|e| (e.text.as_str(), e.count)).collect();
        assert_eq!((counts, top.error()), (vec![("b", 3), ("a", 2), ("c", 1)], 0));
    }

    #[test]
    fn distinct_items_are_counted_then_estimated() {
        let mut distinct = Distinct::default();
        (0..60_000).chain(0..60_000).for_each(|n| distinct.add(hash(n)));
        assert_eq!((distinct.count(), distinct.is_exact()), (60_000, true));
        (0..400_000).for_each(|n| distinct.add(hash(n)));
        let off = distinct.count() as f64 / 400_000.0 - 1.0;
        assert!(!distinct.is_exact() && off.abs() < 0.03, "{off}");
    }
}
