//! MDS, the shards of mosaicml-streaming: a count, the offsets of the samples, a description of the columns, the samples.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Slot, ToJson, list, members, object, spaced};
use pixtune_io::manifest::OutputFile;

use super::output::HashedFile;
use super::{Encode, Piece, Store, marked_json};
use crate::row::Exported;

/// Columns in the order of their names, which is the order in a sample, and how they are encoded.
const COLUMNS: [(&str, &str); 2] = [("images", "list[jpeg]"), ("sample", "json")];

/// A shard is written at once, because its offsets come first.
pub(crate) const LARGEST_SHARD: u64 = 256 << 20;

/// Encodes a sample: the size of each column, then the columns. A list of images is a zero, a count, their sizes, their
/// bytes; all numbers are 32-bit and little-endian. `list[jpeg]` opens whatever Pillow opens.
#[derive(Debug)]
pub(crate) struct MdsSamples;

impl Encode for MdsSamples {
    fn encode(&self, sample: Exported) -> io::Result<Piece> {
        let json = marked_json(&sample);
        let bytes: usize = sample.images.iter().map(|image| image.bytes.len()).sum();
        let images = 8 + 4 * sample.images.len() + bytes;
        let mut out = Vec::with_capacity(8 + images + json.len());
        for size in [images, json.len(), 0, sample.images.len()] {
            out.extend_from_slice(&number(size)?);
        }
        for image in &sample.images {
            out.extend_from_slice(&number(image.bytes.len())?);
        }
        sample.images.iter().for_each(|image| out.extend_from_slice(&image.bytes));
        out.extend_from_slice(&json);
        Ok(Piece::Bytes(out))
    }
}

fn number(size: usize) -> io::Result<[u8; 4]> {
    let size =
        u32::try_from(size).map_err(|_| io::Error::other("a sample is too large for MDS: 4 GiB or more"))?;
    Ok(size.to_le_bytes())
}

/// Shards of one split in a directory of its own, and their index.
#[derive(Debug)]
pub(crate) struct Mds {
    root: PathBuf,
    split: String,
    max_bytes: u64,
    waiting: Vec<u8>,
    /// Where each waiting sample ends.
    ends: Vec<usize>,
    done: Vec<OutputFile>,
}

impl Mds {
    /// Shards of one split behind those that are finished.
    pub(crate) fn new(root: &Path, split: &str, max_bytes: u64, done: Vec<OutputFile>) -> Mds {
        Mds { root: root.to_owned(), split: split.to_owned(), max_bytes, waiting: vec![], ends: vec![], done }
    }

    fn close(&mut self) -> io::Result<()> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let config = json::text(spaced(Columns { max_bytes: self.max_bytes }));
        let start = 4 + 4 * (self.ends.len() + 1) + config.len();
        let mut file = HashedFile::create(&self.root, format!("{}/{}", self.split, shard(self.done.len())))?;
        file.write_all(&number(self.ends.len())?)?;
        for end in std::iter::once(0).chain(self.ends.iter().copied()) {
            file.write_all(&number(start + end)?)?;
        }
        file.write_all(config.as_bytes())?;
        file.write_all(&self.waiting)?;
        self.done.push(file.close(self.ends.len() as u64)?);
        self.waiting.clear();
        self.ends.clear();
        Ok(())
    }
}

fn shard(index: usize) -> String {
    format!("shard.{index:05}.mds")
}

impl Store for Mds {
    fn append(&mut self, piece: Piece) -> io::Result<bool> {
        let bytes = piece.into_bytes();
        // The library counts an offset with each sample.
        if (self.waiting.len() + bytes.len() + 4 * self.ends.len()) as u64 > self.max_bytes {
            self.close()?;
        }
        self.waiting.extend_from_slice(&bytes);
        self.ends.push(self.waiting.len());
        Ok(self.ends.len() == 1)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.close()
    }

    fn files(&self) -> &[OutputFile] {
        &self.done
    }

    fn publish(&mut self, root: &Path) -> io::Result<()> {
        let shards = self.done.iter().enumerate();
        let index = json::text(spaced(object(|index| {
            index.field(
                "shards",
                list(shards.map(|(at, file)| Shard { at, file, max_bytes: self.max_bytes })),
            );
            index.field("version", 2_u64);
        })));
        let mut file = HashedFile::create(root, format!("{}/index.json", self.split))?;
        file.write_all(index.as_bytes())?;
        let index = file.close(1)?;
        self.done.push(index);
        Ok(())
    }
}

/// What a shard and the index say about the columns.
#[derive(Debug, Clone, Copy)]
struct Columns {
    max_bytes: u64,
}

impl Columns {
    fn describe(self, out: &mut json::Object<'_>) {
        out.field("column_encodings", list(COLUMNS.map(|(_, encoding)| encoding)));
        out.field("column_names", list(COLUMNS.map(|(name, _)| name)));
        out.field("column_sizes", list(COLUMNS.map(|_| None::<u64>)));
        out.field("compression", None::<&str>).field("format", "mds");
        out.field("hashes", list(Vec::<&str>::new()));
    }
}

impl ToJson for Columns {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|out| {
            self.describe(out);
            out.field("size_limit", self.max_bytes).field("version", 2_u64);
        });
    }
}

struct Shard<'f> {
    at: usize,
    file: &'f OutputFile,
    max_bytes: u64,
}

impl ToJson for Shard<'_> {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|out| {
            Columns { max_bytes: self.max_bytes }.describe(out);
            let none = members(Vec::<(&str, &str)>::new());
            let name = shard(self.at);
            out.field(
                "raw_data",
                object(|raw| {
                    raw.field("basename", &name).field("bytes", self.file.bytes).field("hashes", none);
                }),
            );
            out.field("samples", self.file.lines).field("size_limit", self.max_bytes);
            out.field("version", 2_u64).field("zip_data", None::<&str>);
        });
    }
}
