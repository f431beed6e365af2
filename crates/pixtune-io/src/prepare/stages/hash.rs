//! BLAKE3 of a file in blocks that are hashed independently.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use pixtune_core::json::{self, Value, object};

use super::number;

/// Bytes of a block: a power of two, so that a block is a subtree of the file's hash.
pub(super) const BLOCK: u64 = 64 << 20;

/// A block of a file of the dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Whether it is the whole file.
    is_whole: bool,
}

impl Block {
    /// The blocks of a file.
    pub(super) fn all_of(file: &str, bytes: u64, block: u64) -> Vec<Block> {
        let offsets = (0..bytes.div_ceil(block).max(1)).map(|index| index * block);
        let blocks = offsets.map(|offset| {
            let length = block.min(bytes - offset);
            Block { file: file.to_owned(), offset, length, is_whole: length == bytes }
        });
        blocks.collect()
    }

    pub(super) fn to_json(&self) -> String {
        json::text(object(|out| {
            out.field("file", self.file.as_str()).field("offset", self.offset).field("length", self.length);
            out.field("whole", self.is_whole);
        }))
    }

    pub(super) fn of_value(value: &Value<'_>) -> Option<Block> {
        let file = value.text("file").filter(|name| !name.contains(['/', '\\']))?.to_owned();
        let is_whole = value.get("whole")? == &Value::Bool(true);
        Some(Block { file, offset: number(value, "offset")?, length: number(value, "length")?, is_whole })
    }

    /// The hash of the file if the block is all of it, else that of a subtree; hexadecimal.
    pub(super) fn hash(&self, directory: &Path) -> io::Result<String> {
        let mut file = File::open(directory.join(&self.file))?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut hasher = blake3::Hasher::new();
        if !self.is_whole {
            hasher.set_input_offset(self.offset);
        }
        let mut buffer = vec![0; 1 << 20];
        let mut left = self.length;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            file.read_exact(&mut buffer[..wanted])?;
            hasher.update(&buffer[..wanted]);
            left -= wanted as u64;
        }
        Ok(match self.is_whole {
            true => hasher.finalize(),
            false => blake3::Hash::from(hasher.finalize_non_root()),
        }
        .to_hex()
        .to_string())
    }
}

/// The hash of a file from those of its blocks.
pub(super) fn merged(blocks: &[String]) -> Option<String> {
    let hashes: Option<Vec<[u8; 32]>> =
        blocks.iter().map(|hash| Some(*blake3::Hash::from_hex(hash).ok()?.as_bytes())).collect();
    let hashes = hashes?;
    match hashes.as_slice() {
        [] => None,
        [whole] => Some(blake3::Hash::from(*whole).to_hex().to_string()),
        several => {
            let (left, right) = several.split_at(left_blocks(several.len()));
            let root = merge_subtrees_root(&subtree(left)?, &subtree(right)?, Mode::Hash);
            Some(root.to_hex().to_string())
        }
    }
}

fn subtree(blocks: &[[u8; 32]]) -> Option<[u8; 32]> {
    match blocks {
        [] => None,
        [one] => Some(*one),
        several => {
            let (left, right) = several.split_at(left_blocks(several.len()));
            Some(merge_subtrees_non_root(&subtree(left)?, &subtree(right)?, Mode::Hash))
        }
    }
}

/// The largest power of two below a number of blocks: the left subtree is full.
fn left_blocks(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_the_hash_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let block = 4096;
        for bytes in [0, 1, 1024, 4095, 4096, 4097, 8192, 12_000, 16_384, 20_481, 65_536, 70_000] {
            let content: Vec<u8> = (0..bytes).map(|at| (at * 31 % 251) as u8).collect();
            std::fs::write(directory.path().join("file"), &content).unwrap();
            let blocks = Block::all_of("file", bytes, block);
            let hashes: Vec<String> = blocks
                .iter()
                .map(|block| {
                    let again = Block::of_value(&json::parse(&block.to_json()).unwrap().value).unwrap();
                    assert_eq!(&again, block);
                    again.hash(directory.path()).unwrap()
                })
                .collect();
            assert_eq!(merged(&hashes).unwrap(), blake3::hash(&content).to_hex().to_string(), "{bytes}");
        }
    }
}
