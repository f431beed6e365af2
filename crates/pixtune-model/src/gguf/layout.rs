//! The files to write: their heads, their tensors, and where each comes from.

use super::metadata::{Entry, Metadata, aligned, head};
use crate::weights::TensorName;

/// A file to write.
#[derive(Debug)]
pub(super) struct PlannedFile {
    pub name: String,
    pub head: Vec<u8>,
    pub pieces: Vec<Piece>,
}

/// A tensor to write.
#[derive(Debug)]
pub(super) struct Piece {
    pub entry: Entry,
    /// The tensor it is made of.
    pub from: TensorName,
    /// The only row of it, if it is one.
    pub row: Option<usize>,
}

impl PlannedFile {
    /// Bytes of the file. Every tensor is followed by zeros up to the alignment, as the reference writes them.
    pub fn length(&self) -> u64 {
        let data: u64 = self.pieces.iter().map(|piece| aligned(piece.entry.bytes())).sum();
        self.head.len() as u64 + data
    }
}

/// A file of these tensors.
pub(super) fn planned(name: String, keys: &Metadata, pieces: Vec<Piece>) -> PlannedFile {
    let entries: Vec<Entry> = pieces.iter().map(|piece| piece.entry.clone()).collect();
    PlannedFile { name, head: head(keys, &entries), pieces }
}
