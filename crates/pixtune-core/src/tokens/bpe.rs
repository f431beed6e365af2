//! Byte-pair encoding: a vocabulary as tables, and the merging of one piece of text.
//!
//! A piece that is a token is that token. Any other starts as single bytes, and the adjacent pair that makes the
//! token of the lowest rank is joined, the leftmost of equals first, until no pair makes a token.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Ranks are kept in 21 bits so that two parts and what they make fit in one word.
pub(super) const MAX_RANKS: usize = 1 << 21;

const NONE: u32 = u32::MAX;

/// Every usable token, findable by its bytes and by the two parts that make it.
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    /// Where each rank's bytes begin, and where the last one's end.
    starts: Vec<u32>,
    short: ShortTable,
    long: LongTable,
    /// What two single bytes make, by `first << 8 | second`.
    byte_pairs: Vec<u32>,
    pairs: PairTable,
}

/// Two ranks hold the same bytes.
#[derive(Debug)]
pub(super) struct Duplicate {
    pub(super) first: u32,
    pub(super) second: u32,
}

impl Vocabulary {
    /// The vocabulary in which rank `r` is `bytes[starts[r]..starts[r + 1]]`; ranks 0 to 255 are the single
    /// bytes, no token is empty and there are at most [`MAX_RANKS`].
    pub(super) fn new(bytes: Vec<u8>, starts: Vec<u32>) -> Result<Vocabulary, Duplicate> {
        let ranks = starts.len() - 1;
        let short = starts.windows(2).filter(|ends| ends[1] - ends[0] <= 8).count();
        let mut vocabulary = Vocabulary {
            short: ShortTable::with_room_for(short),
            long: LongTable::with_room_for(ranks - short),
            byte_pairs: vec![NONE; 1 << 16],
            pairs: PairTable::with_room_for(2 * ranks),
            bytes,
            starts,
        };
        let mut filter = Filter::with_room_for(ranks);
        for rank in 0..ranks as u32 {
            let token = span(&vocabulary.bytes, &vocabulary.starts, rank);
            filter.insert(token, 0, token.len());
            let earlier = if token.len() <= 8 {
                vocabulary.short.insert(load(token, 0, token.len()), token.len(), rank)
            } else {
                let same = |other| span(&vocabulary.bytes, &vocabulary.starts, other) == token;
                vocabulary.long.insert(hash_long(token), rank, same)
            };
            if let Some(first) = earlier {
                return Err(Duplicate { first, second: rank });
            }
        }
        vocabulary.find_pairs(&filter);
        Ok(vocabulary)
    }

    /// Finds every way to cut a token in two tokens. The prefixes of a token that are tokens are its longest one,
    /// that one's longest one, and so on, and likewise its suffixes: two short chains instead of all cuts.
    fn find_pairs(&mut self, filter: &Filter) {
        let ranks = self.len() as u32;
        let (mut prefixes, mut suffixes) = (vec![NONE; self.len()], vec![NONE; self.len()]);
        for rank in 0..ranks {
            let token = self.token(rank);
            let known = |start, end| {
                filter.may_have(token, start, end).then(|| self.rank_within(token, start, end)).flatten()
            };
            prefixes[rank as usize] = (1..token.len()).rev().find_map(|cut| known(0, cut)).unwrap_or(NONE);
            suffixes[rank as usize] =
                (1..token.len()).find_map(|cut| known(cut, token.len())).unwrap_or(NONE);
        }
        let lengths: Vec<u32> = self.starts.windows(2).map(|ends| ends[1] - ends[0]).collect();
        let mut tails = Vec::new();
        for rank in 0..ranks {
            let length = lengths[rank as usize];
            if let &[first, second] = self.token(rank) {
                self.byte_pairs[usize::from(first) << 8 | usize::from(second)] = rank;
                continue;
            }
            // The longest prefix needs the shortest suffix: that chain is gone through from its end.
            tails.clear();
            let mut right = suffixes[rank as usize];
            while right != NONE {
                tails.push(right);
                right = suffixes[right as usize];
            }
            let mut left = prefixes[rank as usize];
            while left != NONE {
                let rest = length - lengths[left as usize];
                while tails.pop_if(|right| lengths[*right as usize] < rest).is_some() {}
                if let Some(&right) = tails.last().filter(|&&right| lengths[right as usize] == rest) {
                    self.pairs.insert(left, right, rank);
                }
                left = prefixes[left as usize];
            }
        }
    }

    /// How many ranks there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The bytes of a rank below [`Vocabulary::len`].
    pub(super) fn token(&self, rank: u32) -> &[u8] {
        span(&self.bytes, &self.starts, rank)
    }

    /// The rank of `text[start..end]`, which is not empty.
    #[inline]
    pub(super) fn rank_within(&self, text: &[u8], start: usize, end: usize) -> Option<u32> {
        let length = end - start;
        if length <= 8 {
            return self.short.find(load(text, start, length), length);
        }
        let token = &text[start..end];
        self.long.find(hash_long(token), |rank| self.token(rank) == token)
    }

    fn byte_pair(&self, first: u8, second: u8) -> u32 {
        self.byte_pairs[usize::from(first) << 8 | usize::from(second)]
    }
}

fn span<'a>(bytes: &'a [u8], starts: &[u32], rank: u32) -> &'a [u8] {
    &bytes[starts[rank as usize] as usize..starts[rank as usize + 1] as usize]
}

/// The bytes `text[start..start + length]`, at most eight, as a number.
#[inline]
fn load(text: &[u8], start: usize, length: usize) -> u64 {
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
fn hash_long(token: &[u8]) -> u64 {
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

/// Which bytes are surely no token, in a table small enough to stay in the cache. Most questions asked while the pairs
/// are found are about such bytes.
struct Filter {
    bits: Vec<u64>,
}

impl Filter {
    fn with_room_for(entries: usize) -> Filter {
        Filter { bits: vec![0; (entries / 8).next_power_of_two()] }
    }

    fn place(&self, text: &[u8], start: usize, end: usize) -> (usize, u64) {
        let hash = match end - start {
            length @ ..=8 => hash_short(load(text, start, length), length),
            _ => hash_long(&text[start..end]),
        };
        ((hash >> 26) as usize & (self.bits.len() - 1), 1 << (hash >> 20 & 63))
    }

    fn insert(&mut self, text: &[u8], start: usize, end: usize) {
        let (word, bit) = self.place(text, start, end);
        self.bits[word] |= bit;
    }

    fn may_have(&self, text: &[u8], start: usize, end: usize) -> bool {
        let (word, bit) = self.place(text, start, end);
        self.bits[word] & bit != 0
    }
}

/// Tokens of at most eight bytes: the bytes themselves are the key.
struct ShortTable {
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
    fn with_room_for(entries: usize) -> ShortTable {
        let slots = slots(entries);
        let empty = ShortSlot { word: 0, rank_and_length: NONE };
        ShortTable { slots: vec![empty; slots], shift: 64 - slots.trailing_zeros() }
    }

    #[inline]
    fn home(&self, word: u64, length: usize) -> usize {
        (hash_short(word, length) >> self.shift) as usize
    }

    /// The rank that has the same bytes, if there is one already.
    fn insert(&mut self, word: u64, length: usize, rank: u32) -> Option<u32> {
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
    fn find(&self, word: u64, length: usize) -> Option<u32> {
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

/// Longer tokens: part of a hash leads to a rank, whose bytes are compared.
struct LongTable {
    slots: Vec<(u32, u32)>,
    shift: u32,
}

impl LongTable {
    fn with_room_for(entries: usize) -> LongTable {
        let slots = slots(entries);
        LongTable { slots: vec![(0, NONE); slots], shift: 64 - slots.trailing_zeros() }
    }

    /// The rank that has the same bytes, if there is one already.
    fn insert(&mut self, hash: u64, rank: u32, same: impl Fn(u32) -> bool) -> Option<u32> {
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
    fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
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

/// What two adjacent parts make: left, right and result in 21 bits each of one word.
struct PairTable {
    slots: Vec<u64>,
    shift: u32,
    entries: usize,
}

impl PairTable {
    fn with_room_for(entries: usize) -> PairTable {
        let slots = slots(entries);
        PairTable { slots: vec![u64::MAX; slots], shift: 64 - slots.trailing_zeros(), entries: 0 }
    }

    #[inline]
    fn key(left: u32, right: u32) -> u64 {
        u64::from(left) << 21 | u64::from(right)
    }

    fn insert(&mut self, left: u32, right: u32, result: u32) {
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
    fn find(&self, left: u32, right: u32) -> u32 {
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

/// Pieces up to this many bytes are merged in two small arrays, looked through from end to end.
const SMALL: usize = 96;

/// Most pieces are this short, and clearing longer arrays for them would cost as much as merging.
const TINY: usize = 20;

/// Longer ones go through a heap, in windows of this many bytes, so that memory does not grow with the piece.
const WINDOW: usize = 8192;

/// How many tokens at the end of a window are made again with what follows them.
const TAIL: usize = 16;

/// Memory for merging that is used again for the next piece.
#[derive(Default)]
pub(super) struct Workspace {
    ranks: Vec<u32>,
    parts: Vec<Part>,
    heap: BinaryHeap<Reverse<u64>>,
}

#[derive(Clone, Copy)]
struct Part {
    /// The rank of this part; `NONE` once it was joined to the one before.
    rank: u32,
    /// What this part and the next one make.
    pair: u32,
    previous: u32,
    next: u32,
}

impl Workspace {
    /// Gives back what only an endless piece needed.
    pub(super) fn shrink(&mut self) {
        self.ranks.clear();
        self.ranks.shrink_to(WINDOW);
    }

    /// The ranks a piece of at least one byte consists of, when it is no token itself.
    pub(super) fn merge(&mut self, vocabulary: &Vocabulary, piece: &[u8]) -> &[u32] {
        self.ranks.clear();
        if piece.len() <= TINY {
            merge_small::<TINY>(vocabulary, piece, &mut self.ranks);
        } else if piece.len() <= SMALL {
            merge_small::<SMALL>(vocabulary, piece, &mut self.ranks);
        } else if piece.len() <= WINDOW {
            self.merge_in_heap(vocabulary, piece);
        } else {
            self.merge_in_windows(vocabulary, piece);
        }
        &self.ranks
    }

    /// Appends the ranks of `piece`, in n log n time.
    fn merge_in_heap(&mut self, vocabulary: &Vocabulary, piece: &[u8]) {
        let Workspace { ranks, parts, heap } = self;
        parts.clear();
        heap.clear();
        for (at, &byte) in piece.iter().enumerate() {
            let pair = piece.get(at + 1).map_or(NONE, |&second| vocabulary.byte_pair(byte, second));
            let at = at as u32;
            parts.push(Part { rank: u32::from(byte), pair, previous: at.wrapping_sub(1), next: at + 1 });
            if pair != NONE {
                heap.push(Reverse(u64::from(pair) << 32 | u64::from(at)));
            }
        }
        let end = parts.len() as u32;
        while let Some(Reverse(best)) = heap.pop() {
            let (rank, at) = ((best >> 32) as u32, best as u32);
            let part = parts[at as usize];
            if part.pair != rank || part.rank == NONE {
                continue;
            }
            let after = parts[part.next as usize].next;
            parts[part.next as usize].rank = NONE;
            parts[at as usize].rank = rank;
            parts[at as usize].next = after;
            let mut pair_up = |left: u32, right: u32, parts: &mut Vec<Part>| {
                let pair = vocabulary.pairs.find(parts[left as usize].rank, parts[right as usize].rank);
                parts[left as usize].pair = pair;
                if pair != NONE {
                    heap.push(Reverse(u64::from(pair) << 32 | u64::from(left)));
                }
            };
            if after < end {
                parts[after as usize].previous = at;
                pair_up(at, after, parts);
            } else {
                parts[at as usize].pair = NONE;
            }
            if part.previous != NONE {
                pair_up(part.previous, at, parts);
            }
        }
        let mut at = 0;
        while at < end {
            ranks.push(parts[at as usize].rank);
            at = parts[at as usize].next;
        }
    }

    /// Appends the ranks of a piece of any length in memory for one window.
    ///
    /// A row of tokens is the encoding of its bytes exactly when every two neighbours are the encoding of theirs.
    /// So a window is encoded, its last tokens are dropped because what follows may change them, and the next
    /// window begins behind those kept. The two neighbours at the seam are checked; where they would have merged
    /// differently the seam moves back and the window grows.
    fn merge_in_windows(&mut self, vocabulary: &Vocabulary, piece: &[u8]) {
        let (mut start, mut window) = (0, WINDOW);
        loop {
            let kept = self.ranks.len();
            let end = piece.len().min(start + window);
            self.merge_in_heap(vocabulary, &piece[start..end]);
            if kept > 0 && !self.fits(vocabulary, kept) {
                let back = kept.min(16 * TAIL);
                self.ranks.truncate(kept);
                for rank in self.ranks.drain(kept - back..) {
                    start -= vocabulary.token(rank).len();
                }
                window *= 2;
                continue;
            }
            if end == piece.len() {
                return;
            }
            let keep = self.ranks.len().saturating_sub(TAIL).max(kept + 1);
            self.ranks.truncate(keep);
            start += self.ranks[kept..].iter().map(|&rank| vocabulary.token(rank).len()).sum::<usize>();
            window = WINDOW;
        }
    }

    /// Whether the tokens before and behind the seam at `seam` stay apart when encoded together.
    fn fits(&self, vocabulary: &Vocabulary, seam: usize) -> bool {
        let neighbours = &self.ranks[seam - 1..=seam];
        let bytes = [vocabulary.token(neighbours[0]), vocabulary.token(neighbours[1])].concat();
        let mut ranks = Vec::new();
        let mut workspace = Workspace::default();
        if bytes.len() <= SMALL {
            merge_small::<SMALL>(vocabulary, &bytes, &mut ranks);
        } else {
            workspace.merge_in_heap(vocabulary, &bytes);
            ranks = workspace.ranks;
        }
        ranks == neighbours
    }
}

/// Appends the ranks of a piece of at most `N` bytes.
fn merge_small<const N: usize>(vocabulary: &Vocabulary, piece: &[u8], ranks: &mut Vec<u32>) {
    let mut parts = [0_u32; N];
    let mut pairs = [NONE; N];
    let mut count = piece.len();
    for (at, &byte) in piece.iter().enumerate() {
        parts[at] = u32::from(byte);
    }
    for (at, bytes) in piece.windows(2).enumerate() {
        pairs[at] = vocabulary.byte_pair(bytes[0], bytes[1]);
    }
    while count > 1 {
        let (mut best, mut at) = (NONE, 0);
        for (index, &pair) in pairs[..count - 1].iter().enumerate() {
            if pair < best {
                (best, at) = (pair, index);
            }
        }
        if best == NONE {
            break;
        }
        parts.copy_within(at + 2..count, at + 1);
        pairs.copy_within(at + 1..count, at);
        count -= 1;
        parts[at] = best;
        pairs[at] = if at + 1 < count { vocabulary.pairs.find(best, parts[at + 1]) } else { NONE };
        if at > 0 {
            pairs[at - 1] = vocabulary.pairs.find(parts[at - 1], best);
        }
    }
    ranks.extend_from_slice(&parts[..count]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes and a few tokens whose merges depend on what stands far to their left.
    fn vocabulary() -> Vocabulary {
        let mut bytes: Vec<u8> = (0..=255).collect();
        let mut starts: Vec<u32> = (0..=256).collect();
        for token in
            ["bc", "ab", "cd", "aa", "abc", "aaaa", "bcd", "abcd", "dd", "ddd", "aaa", "abab", "ca", "bca"]
        {
            bytes.extend_from_slice(token.as_bytes());
            starts.push(bytes.len() as u32);
        }
        Vocabulary::new(bytes, starts).unwrap()
    }

    fn rank(vocabulary: &Vocabulary, token: &[u8]) -> Option<u32> {
        vocabulary.rank_within(token, 0, token.len())
    }

    /// The definition, step by step.
    fn merge_slowly(vocabulary: &Vocabulary, piece: &[u8]) -> Vec<u32> {
        let mut parts: Vec<Vec<u8>> = piece.iter().map(|&byte| vec![byte]).collect();
        loop {
            let pairs = parts.windows(2).enumerate();
            let best = pairs.filter_map(|(at, pair)| Some((rank(vocabulary, &pair.concat())?, at))).min();
            let Some((_, at)) = best else { break };
            let next = parts.remove(at + 1);
            parts[at].extend(next);
        }
        parts.iter().map(|part| rank(vocabulary, part).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn small_pieces_and_the_heap_follow_the_definition(piece in "[abcd]{1,90}") {
            let vocabulary = vocabulary();
            let expected = merge_slowly(&vocabulary, piece.as_bytes());
            let mut workspace = Workspace::default();
            prop_assert_eq!(workspace.merge(&vocabulary, piece.as_bytes()), &expected);
            workspace.ranks.clear();
            workspace.merge_in_heap(&vocabulary, piece.as_bytes());
            prop_assert_eq!(&workspace.ranks, &expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn windows_do_not_show(parts in prop::collection::vec("[abcd]{1,4}|a{1,40}|(ab){1,40}|d{1,9}", 100..3000)) {
            let (vocabulary, piece) = (vocabulary(), parts.concat());
            let (mut whole, mut windows) = (Workspace::default(), Workspace::default());
            whole.merge_in_heap(&vocabulary, piece.as_bytes());
            windows.merge_in_windows(&vocabulary, piece.as_bytes());
            prop_assert_eq!(whole.ranks, windows.ranks);
        }
    }
}
