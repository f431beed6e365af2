//! Byte-pair encoding: a vocabulary as tables, and the merging of one piece of text.
//!
//! A piece that is a token is that token. Any other starts as single bytes, and the adjacent pair that makes the
//! token of the lowest rank is joined, the leftmost of equals first, until no pair makes a token.

mod merge;
mod tables;

pub(super) use merge::Workspace;
use tables::{Filter, LongTable, NONE, PairTable, ShortTable, hash_long, load};

/// Ranks have 21 bits, so that two parts and their merge fit into one word.
pub(super) const MAX_RANKS: usize = 1 << 21;

/// Every token, indexed by its bytes and by the two parts it is merged from.
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    /// Where the bytes of each rank begin, and the end of the last.
    starts: Vec<u32>,
    short: ShortTable,
    long: LongTable,
    /// The merge of two single bytes, by `first << 8 | second`.
    byte_pairs: Vec<u32>,
    pairs: PairTable,
}

/// Two ranks have the same bytes.
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

    /// The number of ranks.
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
