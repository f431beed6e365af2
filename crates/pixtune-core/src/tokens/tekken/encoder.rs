//! Encoding of text to ids, with a cache of merged pieces.

use std::sync::PoisonError;

use super::Tekken;
use crate::tokens::bpe::{Vocabulary, Workspace};
use crate::tokens::scan::piece_end;

/// Encodes texts and caches the pieces that needed merging.
pub struct Encoder<'t> {
    pub(super) tekken: &'t Tekken,
    pub(super) memory: Memory,
}

impl Encoder<'_> {
    /// Appends the ids of a text.
    pub fn encode_into(&mut self, text: &str, ids: &mut Vec<u32>) {
        self.pieces(text, ids);
    }

    /// The number of ids of a text.
    pub fn count(&mut self, text: &str) -> usize {
        let mut count = Count(0);
        self.pieces(text, &mut count);
        count.0
    }

    fn pieces(&mut self, text: &str, out: &mut impl Out) {
        let vocabulary = self.tekken.vocabulary();
        let offset = self.tekken.special_tokens.len() as u32;
        let mut start = 0;
        while start < text.len() {
            let end = piece_end(text, start);
            match vocabulary.rank_within(text.as_bytes(), start, end) {
                Some(rank) => out.push(rank + offset),
                None => self.memory.merge(vocabulary, offset, &text.as_bytes()[start..end], out),
            }
            start = end;
        }
    }
}

impl Drop for Encoder<'_> {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        memory.workspace.shrink();
        self.tekken.resting.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

trait Out {
    fn push(&mut self, id: u32);
    fn extend(&mut self, ids: &[u32]);
}

impl Out for Vec<u32> {
    #[inline]
    fn push(&mut self, id: u32) {
        Vec::push(self, id);
    }
    #[inline]
    fn extend(&mut self, ids: &[u32]) {
        self.extend_from_slice(ids);
    }
}

struct Count(usize);

impl Out for Count {
    #[inline]
    fn push(&mut self, _: u32) {
        self.0 += 1;
    }
    #[inline]
    fn extend(&mut self, ids: &[u32]) {
        self.0 += ids.len();
    }
}

/// The state of an encoder between pieces.
#[derive(Default)]
pub(super) struct Memory {
    workspace: Workspace,
    remembered: Vec<Remembered>,
}

/// A piece and its ids, in one cache line; a new piece replaces an old one with the same hash.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Remembered {
    ids: [u32; REMEMBERED_IDS],
    piece: [u8; REMEMBERED_BYTES],
    piece_length: u8,
    id_count: u8,
}

const REMEMBERED_IDS: usize = 8;
const REMEMBERED_BYTES: usize = 30;
const REMEMBERED_PIECES: usize = 16_384;

impl Memory {
    fn merge(&mut self, vocabulary: &Vocabulary, offset: u32, piece: &[u8], out: &mut impl Out) {
        if piece.len() > REMEMBERED_BYTES {
            return self.workspace.merge_each(vocabulary, offset, piece, out);
        }
        if self.remembered.is_empty() {
            let nothing = Remembered {
                ids: [0; REMEMBERED_IDS],
                piece: [0; REMEMBERED_BYTES],
                piece_length: 0,
                id_count: 0,
            };
            self.remembered = vec![nothing; REMEMBERED_PIECES];
        }
        let slot = hash(piece) % REMEMBERED_PIECES;
        let known = &mut self.remembered[slot];
        if &known.piece[..usize::from(known.piece_length)] == piece {
            return out.extend(&known.ids[..usize::from(known.id_count)]);
        }
        let ranks = self.workspace.merge(vocabulary, piece);
        if ranks.len() <= REMEMBERED_IDS {
            known.piece[..piece.len()].copy_from_slice(piece);
            known.piece_length = piece.len() as u8;
            known.id_count = ranks.len() as u8;
            for (id, rank) in known.ids.iter_mut().zip(ranks) {
                *id = rank + offset;
            }
            return out.extend(&known.ids[..ranks.len()]);
        }
        ranks.iter().for_each(|rank| out.push(rank + offset));
    }
}

fn hash(piece: &[u8]) -> usize {
    let mut hash = piece.len() as u64;
    for bytes in piece.chunks(8) {
        let word = bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        hash = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (hash >> 40) as usize
}

impl Workspace {
    fn merge_each(&mut self, vocabulary: &Vocabulary, offset: u32, piece: &[u8], out: &mut impl Out) {
        self.merge(vocabulary, piece).iter().for_each(|rank| out.push(rank + offset));
    }
}
