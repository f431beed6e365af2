//! Tekken, the tokenizer of Pixtral and its successors: text to ids and back.

use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::bpe::{MAX_RANKS, Vocabulary, Workspace};
use super::scan::piece_end;
use crate::json::{self, Value};

/// The pre-tokeniser that `scan` is written for; every Tekken file published so far names this one.
pub const PATTERN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// Special tokens by id where a file has no list of its own: mistral-common 1.13.1 `tekken.py`,
/// `DEPRECATED_SPECIAL_TOKENS`. The rest up to the number of special tokens are `<SPECIAL_n>`.
const SPECIAL_TOKENS: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

/// `tekken_240911.json` of mistral-common 1.13.1, packed by `scripts/pack_tekken.py`.
static PACKED: &[u8] = include_bytes!("tekken_240911.bin");
const PACKED_RANKS: usize = 131_072 - 1_000;

/// Longer tokens are refused: the longest published one has 76 bytes, and work grows with the square of it.
const MAX_TOKEN: usize = 1024;

/// A Tekken vocabulary with its special tokens. Text never becomes a special token: those come from structure only.
pub struct Tekken {
    /// Empty until it is asked for, where it is the built-in one: to look at conversations without counting them it is
    /// not needed, and unpacking takes longer than checking a thousand lines.
    vocabulary: OnceLock<Vocabulary>,
    special_tokens: Vec<String>,
    marks: Marks,
    version: u32,
    pictures: Option<PictureConfig>,
    /// Encoders at rest, with the memory they have collected.
    resting: Mutex<Vec<Memory>>,
}

/// The ids that give a conversation its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// `<s>`, before everything.
    pub begin: u32,
    /// `</s>`, after an answer.
    pub end: u32,
    /// `[INST]`, before a user's turn.
    pub begin_user: u32,
    /// `[/INST]`, after it.
    pub end_user: u32,
    /// `[AVAILABLE_TOOLS]`.
    pub begin_tools: u32,
    /// `[/AVAILABLE_TOOLS]`.
    pub end_tools: u32,
    /// `[TOOL_CALLS]`, before the calls of an assistant's turn.
    pub tool_calls: u32,
    /// `[TOOL_RESULTS]`.
    pub begin_result: u32,
    /// `[/TOOL_RESULTS]`.
    pub end_result: u32,
    /// `[IMG]`, one patch of a picture.
    pub image: u32,
    /// `[IMG_BREAK]`, after every row but the last.
    pub image_break: u32,
    /// `[IMG_END]`, after the last row.
    pub image_end: u32,
}

/// How a tokenizer file says that pictures are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureConfig {
    /// Side of a patch in pixels.
    pub patch: u32,
    /// Longest side in pixels; larger pictures are shrunk.
    pub max_side: u32,
    /// How many patches a side one token stands for.
    pub merge: u32,
}

/// Why a tokenizer file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TekkenError {
    /// The file is not text.
    #[error("the tokenizer file is not UTF-8 text")]
    NotText(#[source] std::str::Utf8Error),
    /// The file is not JSON.
    #[error("the tokenizer file is not JSON")]
    NotJson(#[source] json::SyntaxError),
    /// A value is missing or of the wrong kind.
    #[error("the tokenizer file has no {expected} at `{pointer}`")]
    Missing {
        /// JSON pointer to where it should be.
        pointer: String,
        /// What should be there.
        expected: &'static str,
    },
    /// The file cuts text into pieces in a way this program does not know.
    #[error("the tokenizer file has an unknown pre-tokeniser pattern `{pattern}`")]
    Pattern {
        /// The pattern it names.
        pattern: String,
    },
    /// The version is none we know.
    #[error("the tokenizer file has the unknown version `{version}`")]
    Version {
        /// What it says.
        version: String,
    },
    /// The numbers of tokens contradict each other or the lists.
    #[error(
        "the tokenizer file counts {vocabulary} tokens of which {special} are special, but lists {listed}"
    )]
    Counts {
        /// `default_vocab_size`
        vocabulary: u64,
        /// `default_num_special_tokens`
        special: u64,
        /// Entries of `vocab`.
        listed: usize,
    },
    /// A list of special tokens that cannot be.
    #[error(
        "the tokenizer file gives special token {rank} the name `{name}`, which is out of range or taken"
    )]
    Special {
        /// Its rank.
        rank: u64,
        /// Its name.
        name: String,
    },
    /// A special token that conversations need is not there.
    #[error("the tokenizer file has no special token `{name}`")]
    NoSpecial {
        /// The missing one.
        name: &'static str,
    },
    /// A rank is not where it should be.
    #[error("entry {index} of the vocabulary has the rank {rank}")]
    Rank {
        /// Its place in `vocab`.
        index: usize,
        /// The rank written there.
        rank: u64,
    },
    /// A token's bytes are unreadable, empty or not the byte they must be.
    #[error("entry {index} of the vocabulary has the bytes `{bytes}`, {why}")]
    Bytes {
        /// Its place in `vocab`.
        index: usize,
        /// What is written there.
        bytes: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two entries are the same token.
    #[error("entries {first} and {second} of the vocabulary are the same bytes")]
    Duplicate {
        /// The earlier one.
        first: u32,
        /// The later one.
        second: u32,
    },
}

impl Tekken {
    /// The vocabulary of Pixtral 12B (tekken_240911), unpacked when a text is first encoded.
    pub fn embedded() -> &'static Tekken {
        static EMBEDDED: OnceLock<Tekken> = OnceLock::new();
        EMBEDDED.get_or_init(|| {
            let special_tokens = name_special_tokens(&SPECIAL_TOKENS.map(str::to_owned), 1_000);
            let pictures = Some(PictureConfig { patch: 16, max_side: 1024, merge: 1 });
            Tekken::assemble(OnceLock::new(), special_tokens, 3, pictures)
                .expect("the built-in list has every mark")
        })
    }

    /// The vocabulary of a `tekken.json`.
    pub fn from_json(file: &[u8]) -> Result<Tekken, TekkenError> {
        let text = std::str::from_utf8(file).map_err(TekkenError::NotText)?;
        let file = json::parse(text).map_err(TekkenError::NotJson)?.value;
        if text_at(&file, "/config/pattern")? != PATTERN {
            return Err(TekkenError::Pattern { pattern: text_at(&file, "/config/pattern")?.to_owned() });
        }
        let version = version_number(text_at(&file, "/config/version")?)?;
        let (ranks, special) = counts(&file)?;
        let special_tokens = special_tokens(&file, version, special)?;
        let (bytes, starts) = ranks_of(&file, ranks)?;
        let vocabulary = Vocabulary::new(bytes, starts).map_err(|duplicate| TekkenError::Duplicate {
            first: duplicate.first,
            second: duplicate.second,
        })?;
        Tekken::assemble(vocabulary.into(), special_tokens, version, pictures(&file)?)
    }

    fn assemble(
        vocabulary: OnceLock<Vocabulary>,
        special_tokens: Vec<String>,
        version: u32,
        pictures: Option<PictureConfig>,
    ) -> Result<Tekken, TekkenError> {
        let marks = Marks::find(&special_tokens)?;
        Ok(Tekken { vocabulary, special_tokens, marks, version, pictures, resting: Mutex::default() })
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.vocabulary.get_or_init(|| {
            let (bytes, starts) = unpack(PACKED);
            Vocabulary::new(bytes, starts).expect("the packed vocabulary has no duplicates")
        })
    }

    /// An encoder. Take one for many texts: it remembers what it has merged.
    pub fn encoder(&self) -> Encoder<'_> {
        let memory = self.resting.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Encoder { tekken: self, memory: memory.unwrap_or_default() }
    }

    /// The ids of a text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids);
        ids
    }

    /// Appends the ids of a text.
    pub fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        self.encoder().encode_into(text, ids);
    }

    /// How many ids a text has.
    pub fn count(&self, text: &str) -> usize {
        self.encoder().count(text)
    }

    /// The text of ids. Special tokens are left out, bytes that are no UTF-8 become U+FFFD, and so does an id
    /// that the vocabulary does not have.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.decode_with(ids, |_| {})
    }

    /// The text of ids with special tokens by their names, for people to read.
    pub fn decode_with_special_tokens(&self, ids: &[u32]) -> String {
        self.decode_with(ids, |text| text.0.push_str(text.1))
    }

    fn decode_with(&self, ids: &[u32], special: impl Fn((&mut String, &str))) -> String {
        let mut text = String::new();
        let mut bytes = Vec::new();
        for &id in ids {
            if let Some(name) = self.special_tokens.get(id as usize) {
                text.push_str(&String::from_utf8_lossy(&bytes));
                bytes.clear();
                special((&mut text, name));
            } else {
                bytes.extend_from_slice(self.token(id).unwrap_or("\u{fffd}".as_bytes()));
            }
        }
        text.push_str(&String::from_utf8_lossy(&bytes));
        text
    }

    /// The bytes of an id; `None` for special tokens and ids the vocabulary does not have.
    pub fn token(&self, id: u32) -> Option<&[u8]> {
        let rank = (id as usize).checked_sub(self.special_tokens.len())?;
        (rank < self.vocabulary().len()).then(|| self.vocabulary().token(rank as u32))
    }

    /// The id of a special token by its name, such as `[INST]`.
    pub fn special_token(&self, name: &str) -> Option<u32> {
        self.special_tokens.iter().position(|special| special == name).map(|id| id as u32)
    }

    /// The special tokens by id.
    pub fn special_tokens(&self) -> &[String] {
        &self.special_tokens
    }

    /// The ids that give a conversation its structure.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// How many ids there are, special tokens included.
    pub fn len(&self) -> usize {
        self.special_tokens.len() + self.vocabulary().len()
    }

    /// Whether there are none, which cannot be.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The version of the tokenizer, and so of the chat layout: 3 for Pixtral 12B.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// How the file says that pictures are cut, if it does.
    pub fn pictures(&self) -> Option<PictureConfig> {
        self.pictures
    }
}

impl std::fmt::Debug for Tekken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tekken(v{}, {} tokens)", self.version, self.len())
    }
}

impl Marks {
    fn find(special_tokens: &[String]) -> Result<Marks, TekkenError> {
        let id = |name: &'static str| match special_tokens.iter().position(|special| special == name) {
            Some(id) => Ok(id as u32),
            None => Err(TekkenError::NoSpecial { name }),
        };
        Ok(Marks {
            begin: id("<s>")?,
            end: id("</s>")?,
            begin_user: id("[INST]")?,
            end_user: id("[/INST]")?,
            begin_tools: id("[AVAILABLE_TOOLS]")?,
            end_tools: id("[/AVAILABLE_TOOLS]")?,
            tool_calls: id("[TOOL_CALLS]")?,
            begin_result: id("[TOOL_RESULTS]")?,
            end_result: id("[/TOOL_RESULTS]")?,
            image: id("[IMG]")?,
            image_break: id("[IMG_BREAK]")?,
            image_end: id("[IMG_END]")?,
        })
    }
}

/// Encodes text after text, remembering the pieces it had to merge.
pub struct Encoder<'t> {
    tekken: &'t Tekken,
    memory: Memory,
}

impl Encoder<'_> {
    /// Appends the ids of a text.
    pub fn encode_into(&mut self, text: &str, ids: &mut Vec<u32>) {
        self.pieces(text, ids);
    }

    /// How many ids a text has, without making them.
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

/// What an encoder keeps from piece to piece.
#[derive(Default)]
struct Memory {
    workspace: Workspace,
    remembered: Vec<Remembered>,
}

/// A piece and its ids, in one cache line; a new piece takes the place of the old one with its hash.
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

/// Rebuilds every token's bytes from the pair it is made of.
fn unpack(packed: &[u8]) -> (Vec<u8>, Vec<u32>) {
    let pairs = PACKED_RANKS - 256;
    let planes = miniz_oxide::inflate::decompress_to_vec_with_limit(packed, 6 * pairs)
        .expect("the packed vocabulary is a part of the program");
    let part = |plane: usize, index: usize| {
        let byte = |plane: usize| usize::from(planes[plane * pairs + index]);
        byte(plane) | byte(plane + 1) << 8 | byte(plane + 2) << 16
    };
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.reserve(1 << 20);
    let mut starts: Vec<u32> = (0..=256).collect();
    for index in 0..pairs {
        for rank in [part(0, index), part(3, index)] {
            let span: Range<usize> = starts[rank] as usize..starts[rank + 1] as usize;
            bytes.extend_from_within(span);
        }
        starts.push(bytes.len() as u32);
    }
    (bytes, starts)
}

fn at<'v>(file: &'v Value<'v>, pointer: &str) -> Option<&'v Value<'v>> {
    pointer
        .split('/')
        .skip(1)
        .try_fold(file, |value, key| value.get(key))
        .filter(|value| **value != Value::Null)
}

fn missing(pointer: &str, expected: &'static str) -> TekkenError {
    TekkenError::Missing { pointer: pointer.to_owned(), expected }
}

fn text_at<'v>(file: &'v Value<'v>, pointer: &str) -> Result<&'v str, TekkenError> {
    at(file, pointer).and_then(Value::as_str).ok_or_else(|| missing(pointer, "text"))
}

fn number_at(file: &Value<'_>, pointer: &str) -> Result<u64, TekkenError> {
    match at(file, pointer) {
        Some(Value::Number(number)) => number.parse().map_err(|_| missing(pointer, "whole number")),
        _ => Err(missing(pointer, "whole number")),
    }
}

fn version_number(version: &str) -> Result<u32, TekkenError> {
    match version {
        "v1" => Ok(1),
        "v2" => Ok(2),
        "v3" => Ok(3),
        "v7" => Ok(7),
        "v11" => Ok(11),
        "v13" => Ok(13),
        "v15" => Ok(15),
        _ => Err(TekkenError::Version { version: version.to_owned() }),
    }
}

/// How many ranks and how many special tokens the file asks for, both possible with what it lists.
fn counts(file: &Value<'_>) -> Result<(usize, usize), TekkenError> {
    let vocabulary = number_at(file, "/config/default_vocab_size")?;
    let special = number_at(file, "/config/default_num_special_tokens")?;
    let listed = at(file, "/vocab").and_then(Value::as_array).ok_or_else(|| missing("/vocab", "list"))?.len();
    let ranks = vocabulary.checked_sub(special).and_then(|ranks| usize::try_from(ranks).ok());
    match ranks {
        Some(ranks) if (256..=listed.min(MAX_RANKS)).contains(&ranks) && special <= MAX_RANKS as u64 => {
            Ok((ranks, special as usize))
        }
        _ => Err(TekkenError::Counts { vocabulary, special, listed }),
    }
}

fn special_tokens(file: &Value<'_>, version: u32, count: usize) -> Result<Vec<String>, TekkenError> {
    let Some(list) = at(file, "/special_tokens") else {
        // mistral-common 1.13.1 refuses a newer file without the list.
        return if version <= 7 && count >= SPECIAL_TOKENS.len() {
            Ok(name_special_tokens(&SPECIAL_TOKENS.map(str::to_owned), count))
        } else {
            Err(missing("/special_tokens", "list"))
        };
    };
    let list = list.as_array().ok_or_else(|| missing("/special_tokens", "list"))?;
    let mut names = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let name = text_at(entry, "/token_str")?;
        let rank = number_at(entry, "/rank")?;
        if rank != index as u64 || index >= count || names.iter().any(|taken| taken == name) {
            return Err(TekkenError::Special { rank, name: name.to_owned() });
        }
        names.push(name.to_owned());
    }
    Ok(name_special_tokens(&names, count))
}

fn name_special_tokens(named: &[String], count: usize) -> Vec<String> {
    let fillers = (named.len()..count).map(|id| format!("<SPECIAL_{id}>"));
    named.iter().cloned().chain(fillers).collect()
}

fn ranks_of(file: &Value<'_>, ranks: usize) -> Result<(Vec<u8>, Vec<u32>), TekkenError> {
    let list = at(file, "/vocab").and_then(Value::as_array).ok_or_else(|| missing("/vocab", "list"))?;
    let (mut bytes, mut starts) = (Vec::new(), vec![0]);
    for (index, entry) in list[..ranks].iter().enumerate() {
        let rank = number_at(entry, "/rank")
            .map_err(|_| missing(&format!("/vocab/{index}/rank"), "whole number"))?;
        if rank != index as u64 {
            return Err(TekkenError::Rank { index, rank });
        }
        let coded = text_at(entry, "/token_bytes")
            .map_err(|_| missing(&format!("/vocab/{index}/token_bytes"), "text"))?;
        let fault = |why| TekkenError::Bytes { index, bytes: coded.chars().take(80).collect(), why };
        let token = decode_base64(coded).ok_or_else(|| fault("which is no base64"))?;
        if token.is_empty() {
            return Err(fault("which is nothing"));
        }
        if token.len() > MAX_TOKEN {
            return Err(fault("which is longer than 1,024 bytes"));
        }
        if index < 256 && token != [index as u8] {
            return Err(fault("but the first 256 entries must be the single bytes"));
        }
        bytes.extend_from_slice(&token);
        starts.push(u32::try_from(bytes.len()).map_err(|_| fault("behind 4 GiB of others"))?);
    }
    Ok((bytes, starts))
}

fn pictures(file: &Value<'_>) -> Result<Option<PictureConfig>, TekkenError> {
    // `multimodal` is the older name, mistral-common 1.13.1 `tekken.py`.
    let Some(block) = ["/multimodal", "/image"].into_iter().find(|block| at(file, block).is_some()) else {
        return Ok(None);
    };
    let side = |key: &str| -> Result<u32, TekkenError> {
        let pointer = format!("{block}/{key}");
        match u32::try_from(number_at(file, &pointer)?) {
            Ok(side @ 1..=1_000_000) => Ok(side),
            _ => Err(missing(&pointer, "possible size")),
        }
    };
    let merge = if at(file, &format!("{block}/spatial_merge_size")).is_some() {
        side("spatial_merge_size")?
    } else {
        1
    };
    Ok(Some(PictureConfig { patch: side("image_patch_size")?, max_side: side("max_image_size")?, merge }))
}

/// Padded standard base64; `None` for anything else.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text[..text.len() - padding].chunks(4) {
        let mut word = 0_u32;
        for &byte in group {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(digit);
        }
        word <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}
