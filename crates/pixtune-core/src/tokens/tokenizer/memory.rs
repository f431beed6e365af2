//! What encoding keeps between pieces: workspaces, and a cache of merged pieces.

use crate::tokens::bpe::{Vocabulary, Workspace};

/// Where ids go.
pub(super) trait Out {
    fn push(&mut self, id: u32);
    fn append(&mut self, ids: &[u32]);
}

impl Out for Vec<u32> {
    #[inline]
    fn push(&mut self, id: u32) {
        Vec::push(self, id);
    }
    #[inline]
    fn append(&mut self, ids: &[u32]) {
        self.extend_from_slice(ids);
    }
}

/// Counts ids instead of keeping them.
pub(super) struct Count(pub(super) usize);

impl Out for Count {
    #[inline]
    fn push(&mut self, _: u32) {
        self.0 += 1;
    }
    #[inline]
    fn append(&mut self, ids: &[u32]) {
        self.0 += ids.len();
    }
}

/// The state of an encoder between pieces.
#[derive(Default)]
pub(super) struct Memory {
    workspace: Workspace,
    remembered: Vec<Remembered>,
    /// A text as SentencePiece reads it.
    pub(super) text: String,
    /// The ids of the last piece that was not remembered.
    ids: Vec<u32>,
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
    /// Frees the memory that only a very long text needed.
    pub(super) fn shrink(&mut self) {
        const KEPT: usize = 1 << 16;
        self.workspace.shrink();
        self.text.clear();
        self.text.shrink_to(KEPT);
        self.ids.clear();
        self.ids.shrink_to(KEPT);
    }

    /// Appends the ids of a piece whose ranks begin at `offset`.
    pub(super) fn merge(&mut self, vocabulary: &Vocabulary, offset: u32, piece: &[u8], out: &mut impl Out) {
        if piece.len() > REMEMBERED_BYTES {
            return self.workspace.merge_each(vocabulary, offset, piece, out);
        }
        let ids = self.ids(piece, |workspace, ids| {
            ids.extend(workspace.merge(vocabulary, piece).iter().map(|rank| rank + offset));
        });
        out.append(ids);
    }

    /// The ids of a piece: remembered, or merged now.
    pub(super) fn ids(&mut self, piece: &[u8], merge: impl FnOnce(&mut Workspace, &mut Vec<u32>)) -> &[u32] {
        let Memory { workspace, remembered, ids, .. } = self;
        let merged = |workspace: &mut Workspace, ids: &mut Vec<u32>| {
            ids.clear();
            merge(workspace, ids);
        };
        if piece.len() > REMEMBERED_BYTES {
            merged(workspace, ids);
            return ids;
        }
        if remembered.is_empty() {
            let nothing = Remembered {
                ids: [0; REMEMBERED_IDS],
                piece: [0; REMEMBERED_BYTES],
                piece_length: 0,
                id_count: 0,
            };
            *remembered = vec![nothing; REMEMBERED_PIECES];
        }
        let known = &mut remembered[hash(piece) % REMEMBERED_PIECES];
        if &known.piece[..usize::from(known.piece_length)] == piece {
            return &known.ids[..usize::from(known.id_count)];
        }
        merged(workspace, ids);
        if ids.len() <= REMEMBERED_IDS {
            known.piece[..piece.len()].copy_from_slice(piece);
            known.piece_length = piece.len() as u8;
            known.id_count = ids.len() as u8;
            known.ids[..ids.len()].copy_from_slice(ids);
        }
        ids
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
