//! Merging one piece.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Vocabulary;
use super::tables::NONE;

/// Pieces of up to this many bytes are merged in two small arrays by linear search.
const SMALL: usize = 96;

/// Most pieces are this short; clearing longer arrays for them would cost as much as merging.
const TINY: usize = 20;

/// Longer ones go through a heap, in windows of this many bytes, so that memory does not grow with the piece.
const WINDOW: usize = 8192;

/// Tokens at the end of a window that are encoded again with what follows.
const TAIL: usize = 16;

/// Reusable memory for merging.
#[derive(Default)]
pub(in crate::tokens) struct Workspace {
    ranks: Vec<u32>,
    parts: Vec<Part>,
    heap: BinaryHeap<Reverse<u64>>,
}

#[derive(Clone, Copy)]
struct Part {
    /// The rank of this part; `NONE` once it was joined to the one before.
    rank: u32,
    /// The rank of this part merged with the next.
    pair: u32,
    previous: u32,
    next: u32,
}

impl Workspace {
    /// Frees the memory that only a very long piece needed.
    pub(in crate::tokens) fn shrink(&mut self) {
        self.ranks.clear();
        self.ranks.shrink_to(WINDOW);
    }

    /// The ranks of a non-empty piece that is not a token itself.
    pub(in crate::tokens) fn merge(&mut self, vocabulary: &Vocabulary, piece: &[u8]) -> &[u32] {
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
    /// A sequence of tokens is the encoding of its bytes exactly if every two neighbors are the encoding of theirs.
    /// So a window is encoded, its last tokens are dropped because what follows may change them, and the next
    /// window begins after the others. The two neighbors at the seam are checked; if they would have merged differently,
    /// the seam moves back and the window grows.
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

    /// Whether the tokens before and after the seam stay separate when encoded together.
    fn fits(&self, vocabulary: &Vocabulary, seam: usize) -> bool {
        let neighbors = &self.ranks[seam - 1..=seam];
        let bytes = [vocabulary.token(neighbors[0]), vocabulary.token(neighbors[1])].concat();
        let mut ranks = Vec::new();
        let mut workspace = Workspace::default();
        if bytes.len() <= SMALL {
            merge_small::<SMALL>(vocabulary, &bytes, &mut ranks);
        } else {
            workspace.merge_in_heap(vocabulary, &bytes);
            ranks = workspace.ranks;
        }
        ranks == neighbors
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

    /// The bytes and a few tokens whose merges depend on distant bytes to their left.
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
