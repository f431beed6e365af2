//! Encoding of text to ids, with a cache of merged pieces.

use std::sync::PoisonError;

use super::Tokenizer;
use super::memory::{Count, Memory, Out};
use super::sentencepiece::Pieces;
use crate::tokens::scan::piece_end;

/// Encodes texts and caches the pieces that needed merging.
pub struct Encoder<'t> {
    pub(super) tokenizer: &'t Tokenizer,
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
        let Some(vocabulary) = self.tokenizer.tekken() else {
            return Pieces::embedded().encode(text, &mut self.memory, out);
        };
        let offset = self.tokenizer.special_tokens.len() as u32;
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
        memory.shrink();
        self.tokenizer.resting.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}
