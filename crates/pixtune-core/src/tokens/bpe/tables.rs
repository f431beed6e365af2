//! Hash tables of tokens by their bytes and by their parts.

use super::MAX_RANKS;

/// No rank.
pub(super) const NONE: u32 = u32::MAX;

/// The bytes `text[start..start + length]`, at most eight, as a number.
#[inline]
pub(super) fn load(text: &[u8], start: usize, length: usize) -> u64 {
    if let Some(word) = text.get(start..start + 8).and_then(|bytes| bytes.try_into().ok()) {
        return u64::from_le_bytes(word) & (u64::MAX >> (64 - 8 * length));
    }
    text[start..start + length].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn mix(word: u64) -> u64 {
    let product = (word ^ (word >> 32)).wrapping_mul(MIX);
    product ^ (product >> 29)
}

#[inline]
fn hash_short(word: u64, length: usize) -> u64 {
    (word.wrapping_add(length as u64) ^ (word >> 29)).wrapping_mul(MIX)
}

#[inline]
pub(super) fn hash_long(token: &[u8]) -> u64 {
    let mut hash = token.len() as u64;
    let mut at = 0;
    while at + 8 < token.len() {
        hash = mix(hash ^ load(token, at, 8)).rotate_left(5);
        at += 8;
    }
    mix(hash ^ load(token, token.len() - 8, 8))
}

fn slots(entries: usize) -> usize {
    (entries * 2).next_power_of_two().max(16)
}

/// A filter for bytes that are not a token, small enough to stay in the cache: most lookups are for such bytes.
pub(super) struct Filter {
    bits: Vec<u64>,
}

impl Filter {
    pub(super) fn with_room_for(entries: usize) -> Filter {
        Filter { bits: vec![0; (entries / 8).next_power_of_two()] }
    }

    fn place(&self, text: &[u8], start: usize, end: usize) -> (usize, u64) {
        let hash = match end - start {
            length @ ..=8 => hash_short(load(text, start, length), length),
            _ => hash_long(&text[start..end]),
        };
        ((hash >> 26) as usize & (self.bits.len() - 1), 1 << (hash >> 20 & 63))
    }

    pub(super) fn insert(&mut self, text: &[u8], start: usize, end: usize) {
        let (word, bit) = self.place(text, start, end);
        self.bits[word] |= bit;
    }

    pub(super) fn may_have(&self, text: &[u8], start: usize, end: usize) -> bool {
        let (word, bit) = self.place(text, start, end);
        self.bits[word] & bit != 0
    }
}

/// Tokens of at most eight bytes: the bytes themselves are the key.
pub(super) struct ShortTable {
    slots: Vec<ShortSlot>,
    shift: u32,
}

#[derive(Clone, Copy)]
struct ShortSlot {
    word: u64,
    /// The rank and, in the low four bits, the length; `NONE` in an empty slot.
    rank_and_length: u32,
}

impl ShortTable {
    pub(super) fn with_room_for(entries: usize) -> ShortTable {
        let slots = slots(entries);
        let empty = ShortSlot { word: 0, rank_and_length: NONE };
        ShortTable { slots: vec![empty; slots], shift: 64 - slots.trailing_zeros() }
    }

    #[inline]
    fn home(&self, word: u64, length: usize) -> usize {
        (hash_short(word, length) >> self.shift) as usize
    }

    /// The rank with the same bytes, if any.
    pub(super) fn insert(&mut self, word: u64, length: usize, rank: u32) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(word, length);
        while self.slots[at].rank_and_length != NONE {
            if self.slots[at].word == word && self.slots[at].rank_and_length & 15 == length as u32 {
                return Some(self.slots[at].rank_and_length >> 4);
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = ShortSlot { word, rank_and_length: rank << 4 | length as u32 };
        None
    }

    #[inline]
    pub(super) fn find(&self, word: u64, length: usize) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(word, length);
        loop {
            let slot = self.slots[at & mask];
            if slot.rank_and_length == NONE {
                return None;
            }
            if slot.word == word && slot.rank_and_length & 15 == length as u32 {
                return Some(slot.rank_and_length >> 4);
            }
            at += 1;
        }
    }
}

/// Longer tokens: part of a hash selects a rank, whose bytes are compared.
pub(super) struct LongTable {
    slots: Vec<(u32, u32)>,
    shift: u32,
}

impl LongTable {
    pub(super) fn with_room_for(entries: usize) -> LongTable {
        let slots = slots(entries);
        LongTable { slots: vec![(0, NONE); slots], shift: 64 - slots.trailing_zeros() }
    }

    /// The rank with the same bytes, if any.
    pub(super) fn insert(&mut self, hash: u64, rank: u32, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = (hash >> self.shift) as usize;
        while self.slots[at].1 != NONE {
            if self.slots[at].0 == hash as u32 && same(self.slots[at].1) {
                return Some(self.slots[at].1);
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = (hash as u32, rank);
        None
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = (hash >> self.shift) as usize;
        loop {
            let (tag, rank) = self.slots[at & mask];
            if rank == NONE {
                return None;
            }
            if tag == hash as u32 && same(rank) {
                return Some(rank);
            }
            at += 1;
        }
    }
}

/// Merges of two adjacent parts: left, right and result in 21 bits each of one word.
pub(super) struct PairTable {
    slots: Vec<u64>,
    shift: u32,
    entries: usize,
}

impl PairTable {
    pub(super) fn with_room_for(entries: usize) -> PairTable {
        let slots = slots(entries);
        PairTable { slots: vec![u64::MAX; slots], shift: 64 - slots.trailing_zeros(), entries: 0 }
    }

    #[inline]
    fn key(left: u32, right: u32) -> u64 {
        u64::from(left) << 21 | u64::from(right)
    }

    pub(super) fn insert(&mut self, left: u32, right: u32, result: u32) {
        if 3 * self.entries > 2 * self.slots.len() {
            self.grow();
        }
        self.put(PairTable::key(left, right) << 21 | u64::from(result));
        self.entries += 1;
    }

    fn put(&mut self, slot: u64) {
        let mask = self.slots.len() - 1;
        let mut at = ((slot >> 21).wrapping_mul(MIX) >> self.shift) as usize;
        while self.slots[at] != u64::MAX {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    fn grow(&mut self) {
        let doubled = vec![u64::MAX; 2 * self.slots.len()];
        self.shift -= 1;
        for slot in std::mem::replace(&mut self.slots, doubled) {
            if slot != u64::MAX {
                self.put(slot);
            }
        }
    }

    #[inline]
    pub(super) fn find(&self, left: u32, right: u32) -> u32 {
        let mask = self.slots.len() - 1;
        let key = PairTable::key(left, right);
        let mut at = (key.wrapping_mul(MIX) >> self.shift) as usize;
        loop {
            let slot = self.slots[at & mask];
            if slot >> 21 == key {
                return slot as u32 & (MAX_RANKS as u32 - 1);
            }
            if slot == u64::MAX {
                return NONE;
            }
            at += 1;
        }
    }
}
