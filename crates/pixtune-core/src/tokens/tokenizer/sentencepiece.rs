//! The SentencePiece vocabulary v7m1 of Pixtral Large.
//!
//! A text is its words with a space before each, one in front of the text included. Where no token ends in a space that
//! belongs to the next word, and none does, words can be merged one by one, so that the merging of Tekken's pieces serves here
//! too: a character that is no single byte is first merged from its bytes, and one without a token ends as its bytes.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::memory::{Memory, Out};
use crate::tokens::bpe::Vocabulary;

/// The pieces of `mistral_instruct_tokenizer_241114.model.v7m1` in mistral-common 1.13.1, packed by
/// `scripts/pack_sentencepiece.py`, which checks what is constant here.
static PACKED: &[u8] = include_bytes!("../sentencepiece_v7m1.bin");
const PACKED_BYTES: usize = 1 << 20;

/// Ids of `<unk>` and control tokens end here; user-defined tokens follow, which are found in texts.
const CONTROL: usize = 749;
/// The ids of the 256 bytes begin here.
const BYTES: usize = 771;
/// The ids of all other pieces begin here.
const NORMAL: usize = BYTES + 256;
/// How the pieces write a space.
const SPACE: &str = "\u{2581}";
/// Spaces in the longest piece of nothing else.
const LONGEST_RUN: usize = 16;
/// The rank of a partial character.
const NO_ID: u32 = u32::MAX;

/// The vocabulary, with every space as one byte.
pub(super) struct Pieces {
    vocabulary: Vocabulary,
    /// Ids by rank.
    ids: Vec<u32>,
    /// Which bytes are next to each other in a piece.
    neighbors: Neighbors,
    /// The ids of runs of spaces, by their length.
    runs: [u32; LONGEST_RUN + 1],
    /// The texts of all ids.
    texts: Vec<Box<[u8]>>,
}

/// The names of control tokens, by id.
pub(super) fn control_tokens() -> Vec<String> {
    unpack().split('\n').take(CONTROL).map(str::to_owned).collect()
}

fn unpack() -> String {
    let text = miniz_oxide::inflate::decompress_to_vec_with_limit(PACKED, PACKED_BYTES)
        .expect("the packed vocabulary is a part of the program");
    String::from_utf8(text).expect("the packed vocabulary is text")
}

impl Pieces {
    /// The one vocabulary, unpacked on first use.
    pub(super) fn embedded() -> &'static Pieces {
        static EMBEDDED: OnceLock<Pieces> = OnceLock::new();
        EMBEDDED.get_or_init(|| Pieces::new(&unpack()))
    }

    fn new(listed: &str) -> Pieces {
        let mut texts: Vec<Box<[u8]>> =
            listed.split('\n').map(|piece| piece.replace(SPACE, " ").into_bytes().into()).collect();
        for byte in 0..=255 {
            texts[BYTES + usize::from(byte)] = [byte].into();
        }
        let is_run = |text: &[u8]| text.iter().all(|&byte| byte == b' ');
        let is_character =
            |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| text.chars().count() == 1);
        let mut runs = [NO_ID; LONGEST_RUN + 1];
        let mut ids: Vec<u32> = (0..256).map(|byte| (BYTES + byte) as u32).collect();
        let mut ranks = Ranks { bytes: (0..=255).collect(), starts: (0..=256).collect() };
        let mut partials = HashSet::new();
        let normal = || (NORMAL..texts.len()).map(|id| (id as u32, &*texts[id]));
        for (id, text) in normal().filter(|(_, text)| is_run(text)) {
            runs[text.len()] = id;
        }
        ids[usize::from(b' ')] = runs[1];
        for (id, text) in normal().filter(|(_, text)| !is_run(text) && is_character(text)) {
            if let [byte] = text {
                ids[usize::from(*byte)] = id;
                continue;
            }
            for partial in (2..text.len()).map(|length| &text[..length]) {
                if partials.insert(partial) {
                    ranks.push(partial);
                    ids.push(NO_ID);
                }
            }
            ranks.push(text);
            ids.push(id);
        }
        for (id, text) in normal().filter(|(_, text)| !is_run(text) && !is_character(text)) {
            ranks.push(text);
            ids.push(id);
        }
        let neighbors = Neighbors::of(texts[NORMAL..].iter().map(|text| &**text));
        let vocabulary =
            Vocabulary::new(ranks.bytes, ranks.starts).expect("the packed vocabulary has no duplicates");
        Pieces { vocabulary, ids, neighbors, runs, texts }
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// The text of an id; `None` for control tokens and unknown ids.
    pub(super) fn text(&self, id: u32) -> Option<&[u8]> {
        self.texts.get(id as usize).filter(|_| id as usize >= CONTROL).map(|text| &**text)
    }

    /// Appends the ids of a text.
    pub(super) fn encode(&self, text: &str, memory: &mut Memory, out: &mut impl Out) {
        if text.is_empty() {
            return;
        }
        let mut spaced = std::mem::take(&mut memory.text);
        spaced.clear();
        spaced.push(' ');
        let mut rest = text;
        while let Some(at) = memchr::memmem::find(rest.as_bytes(), SPACE.as_bytes()) {
            spaced.push_str(&rest[..at]);
            spaced.push(' ');
            rest = &rest[at + SPACE.len()..];
        }
        spaced.push_str(rest);
        let mut start = 0;
        for at in memchr::memchr_iter(b'[', spaced.as_bytes()) {
            if let Some(id) = self.user_defined(&spaced.as_bytes()[at..]) {
                self.words(&spaced.as_bytes()[start..at], memory, out);
                out.push(id);
                start = at + self.texts[id as usize].len();
            }
        }
        self.words(&spaced.as_bytes()[start..], memory, out);
        memory.text = spaced;
    }

    /// The user-defined token that a text begins with. None is the beginning of another.
    fn user_defined(&self, text: &[u8]) -> Option<u32> {
        (CONTROL..BYTES).find(|&id| text.starts_with(&self.texts[id])).map(|id| id as u32)
    }

    fn words(&self, mut text: &[u8], memory: &mut Memory, out: &mut impl Out) {
        while !text.is_empty() {
            let spaces = text.iter().take_while(|&&byte| byte == b' ').count();
            let end = memchr::memchr(b' ', &text[spaces..]).map_or(text.len(), |at| spaces + at);
            // The last space may belong to the word.
            let word = &text[spaces.saturating_sub(1)..end];
            if end == spaces {
                self.run(spaces, out);
            } else if spaces <= 1 {
                self.word(word, memory, out);
            } else {
                let first = &word[..self.neighbors.end_of_first(word)];
                let ids = memory
                    .ids(first, |workspace, ids| self.merge(workspace.merge(&self.vocabulary, first), ids));
                let own = ids.first() == Some(&self.runs[1]);
                let ids = ids.to_vec();
                self.run(if own { spaces } else { spaces - 1 }, out);
                out.append(&ids[usize::from(own)..]);
                self.word(&word[first.len()..], memory, out);
            }
            text = &text[end..];
        }
    }

    /// A word, in parts that are never merged with each other: fewer different ones occur, and most are pieces.
    fn word(&self, mut word: &[u8], memory: &mut Memory, out: &mut impl Out) {
        while !word.is_empty() {
            let (part, rest) = word.split_at(self.neighbors.end_of_first(word));
            match self.vocabulary.rank_within(part, 0, part.len()).map(|rank| self.ids[rank as usize]) {
                Some(id) if id != NO_ID => out.push(id),
                _ => {
                    let merged = memory.ids(part, |workspace, ids| {
                        self.merge(workspace.merge(&self.vocabulary, part), ids);
                    });
                    out.append(merged);
                }
            }
            word = rest;
        }
    }

    /// The ids of merged ranks: a character without a token becomes its bytes.
    fn merge(&self, ranks: &[u32], ids: &mut Vec<u32>) {
        for &rank in ranks {
            match self.ids[rank as usize] {
                NO_ID => {
                    let bytes = self.vocabulary.token(rank);
                    ids.extend(bytes.iter().map(|&byte| BYTES as u32 + u32::from(byte)));
                }
                id => ids.push(id),
            }
        }
    }

    /// A run of spaces, whose pieces are merged last and all have the same score: the leftmost pair first.
    fn run(&self, mut spaces: usize, out: &mut impl Out) {
        while spaces >= LONGEST_RUN {
            out.push(self.runs[LONGEST_RUN]);
            spaces -= LONGEST_RUN;
        }
        if spaces > 0 && self.runs[spaces] == NO_ID {
            out.push(self.runs[spaces - 1]);
            spaces = 1;
        }
        if spaces > 0 {
            out.push(self.runs[spaces]);
        }
    }
}

/// Pairs of bytes that are next to each other in some piece. Between two others every encoding has a border.
struct Neighbors(Box<[u64; 1 << 10]>);

impl Neighbors {
    fn of<'t>(pieces: impl Iterator<Item = &'t [u8]>) -> Neighbors {
        let mut bits = Box::new([0; 1 << 10]);
        for pair in pieces.flat_map(|piece| piece.windows(2)) {
            let (word, bit) = Neighbors::bit(pair[0], pair[1]);
            bits[word] |= bit;
        }
        Neighbors(bits)
    }

    #[inline]
    fn bit(left: u8, right: u8) -> (usize, u64) {
        (usize::from(left) << 2 | usize::from(right >> 6), 1 << (right & 63))
    }

    /// Where a text, which is not empty, has its first border.
    #[inline]
    fn end_of_first(&self, text: &[u8]) -> usize {
        let is_border = |pair: &[u8]| {
            let (word, bit) = Neighbors::bit(pair[0], pair[1]);
            self.0[word] & bit == 0
        };
        text.windows(2).position(is_border).map_or(text.len(), |at| at + 1)
    }
}

/// Tokens on their way into a vocabulary.
struct Ranks {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Ranks {
    fn push(&mut self, token: &[u8]) {
        self.bytes.extend_from_slice(token);
        self.starts.push(self.bytes.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::bpe::Workspace;

    #[test]
    fn every_piece_is_merged_from_its_bytes() {
        let pieces = Pieces::embedded();
        let mut workspace = Workspace::default();
        for id in NORMAL..pieces.len() {
            let text = &pieces.texts[id];
            if text.iter().any(|&byte| byte != b' ') {
                let mut ids = Vec::new();
                pieces.merge(workspace.merge(&pieces.vocabulary, text), &mut ids);
                assert_eq!(ids, [id as u32], "{}", String::from_utf8_lossy(text));
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_piece_crosses_a_border(word in "[a-zA-Z]{1,12}[!-~\n\t]{0,8}[a-z0-9éß中文 \u{e000}]{0,12}[!-~]{0,6}") {
            let pieces = Pieces::embedded();
            let (mut memory, mut ids, mut whole) = (Memory::default(), Vec::new(), Vec::new());
            pieces.word(word.as_bytes(), &mut memory, &mut ids);
            let mut workspace = Workspace::default();
            pieces.merge(workspace.merge(&pieces.vocabulary, word.as_bytes()), &mut whole);
            proptest::prop_assert_eq!(ids, whole);
        }
    }

    #[test]
    fn only_a_run_of_fifteen_spaces_has_no_piece() {
        let pieces = Pieces::embedded();
        let missing: Vec<_> = (1..=LONGEST_RUN).filter(|&spaces| pieces.runs[spaces] == NO_ID).collect();
        assert_eq!(missing, [LONGEST_RUN - 1]);
    }
}
