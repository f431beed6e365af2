//! Where each hash occurs first: 33 bytes per sample and 21 per image, besides unused table entries, because a file may
//! have a hundred million lines.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::read::LinePlace;

/// The first place of each hash.
#[derive(Debug, Default)]
pub(crate) struct HashIndex(Table<Packed>);

/// Values by their hashes. A table that grows exists twice for a moment: several small ones do not grow together.
#[derive(Debug)]
struct Table<V>(Vec<Part<V>>);

type Part<V> = HashMap<Key, V, BuildHasherDefault<Itself>>;

/// A power of two.
const PARTS: usize = 64;

impl<V> Default for Table<V> {
    fn default() -> Table<V> {
        Table((0..PARTS).map(|_| Part::default()).collect())
    }
}

impl<V> Table<V> {
    // The third word has no part in the hash of a key.
    fn part(&self, key: &Key) -> &Part<V> {
        &self.0[key.0[2] as usize % PARTS]
    }

    fn entry(&mut self, key: Key) -> Entry<'_, Key, V> {
        self.0[key.0[2] as usize % PARTS].entry(key)
    }

    fn get(&self, key: &Key) -> Option<&V> {
        self.part(key).get(key)
    }

    fn len(&self) -> usize {
        self.0.iter().map(HashMap::len).sum()
    }
}

impl HashIndex {
    /// The first place of this hash, unless it is this one.
    pub(crate) fn add(&mut self, hash: u128, place: LinePlace) -> Option<LinePlace> {
        let here = Packed::from(place);
        let first = *self.0.entry(Key::from(hash)).or_insert(here);
        (first != here).then(|| first.into())
    }

    /// How many hashes there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first place of this hash.
    pub(crate) fn first(&self, hash: u128) -> Option<LinePlace> {
        self.0.get(&Key::from(hash)).copied().map(LinePlace::from)
    }
}

/// Samples by their prompts: most have a prompt of their own, so that one lookup in one table shows that a sample is new.
#[derive(Debug, Default)]
pub(crate) struct SampleIndex {
    /// The first sample with each prompt.
    by_prompt: Table<(Key, Packed)>,
    /// All others.
    more: HashIndex,
}

/// How a sample relates to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Its prompt is new.
    New,
    /// It is the sample at this place.
    Repeats(LinePlace),
    /// It is new, and the sample at this place has the same prompt with another response.
    Contradicts(LinePlace),
}

impl SampleIndex {
    /// Looks up samples before they are added: a large table is rarely in the CPU's cache, and consecutive lookups wait for
    /// memory together.
    pub(crate) fn prefetch(&self, prompts: impl Iterator<Item = u128>) {
        let known = prompts.filter(|prompt| self.by_prompt.get(&Key::from(*prompt)).is_some()).count();
        std::hint::black_box(known);
    }

    /// Adds a sample by the hashes of all of it and of its prompt.
    pub(crate) fn add(&mut self, sample: u128, prompt: u128, place: LinePlace) -> Relation {
        let (key, here) = (Key::from(sample), Packed::from(place));
        match self.by_prompt.entry(Key::from(prompt)) {
            Entry::Vacant(vacant) => {
                vacant.insert((key, here));
                Relation::New
            }
            Entry::Occupied(first) => match *first.get() {
                (same, place) if same == key => Relation::Repeats(place.into()),
                (_, other) => match self.more.add(sample, place) {
                    Some(place) => Relation::Repeats(place),
                    None => Relation::Contradicts(other.into()),
                },
            },
        }
    }
}

/// 96 bits of a 128-bit hash: among a hundred million hashes, two are equal by chance in one of ten trillion runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key([u32; 3]);

impl From<u128> for Key {
    fn from(hash: u128) -> Key {
        Key([hash as u32, (hash >> 32) as u32, (hash >> 64) as u32])
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.0[0]) | u64::from(self.0[1]) << 32);
    }
}

/// Hashes are their own hashes.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }
}

/// A line of 40 bits and a file of 24, in halves so that alignment wastes no space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packed([u32; 2]);

const LINE_BITS: u32 = 40;

impl From<LinePlace> for Packed {
    fn from(place: LinePlace) -> Packed {
        let line = place.line.min((1 << LINE_BITS) - 1);
        let packed = u64::from(place.file) << LINE_BITS | line;
        Packed([packed as u32, (packed >> 32) as u32])
    }
}

impl From<Packed> for LinePlace {
    fn from(packed: Packed) -> LinePlace {
        let packed = u64::from(packed.0[0]) | u64::from(packed.0[1]) << 32;
        LinePlace { file: (packed >> LINE_BITS) as u32, line: packed & ((1 << LINE_BITS) - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_first_place_of_a_hash() {
        let mut seen = HashIndex::default();
        let place = |file, line| LinePlace { file, line };
        let hash = u128::MAX / 3;
        assert_eq!(seen.first(hash), None);
        assert_eq!(seen.add(hash, place(1, 7)), None);
        assert_eq!(seen.add(hash, place(2, (1 << 40) - 1)), Some(place(1, 7)));
        assert_eq!(seen.add(hash ^ 1 << 90, place(70_000, 1 << 39)), None);
        assert_eq!(seen.first(hash ^ 1 << 90), Some(place(70_000, 1 << 39)));
        assert_eq!(seen.first(hash), Some(place(1, 7)));
        assert_eq!([size_of::<(Key, Packed)>(), size_of::<(Key, (Key, Packed))>()], [20, 32]);
    }

    #[test]
    fn distinguishes_duplicates_from_contradictions() {
        let mut seen = SampleIndex::default();
        let place = |line| LinePlace { file: 0, line };
        let mut add = |sample, prompt, line| seen.add(sample, prompt, place(line));
        assert_eq!(add(11, 1, 1), Relation::New);
        assert_eq!(add(11, 1, 2), Relation::Repeats(place(1)));
        assert_eq!(add(12, 1, 3), Relation::Contradicts(place(1)));
        assert_eq!(add(13, 1, 4), Relation::Contradicts(place(1)));
        assert_eq!(add(12, 1, 5), Relation::Repeats(place(3)));
        assert_eq!(add(21, 2, 6), Relation::New);
    }
}
