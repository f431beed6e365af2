//! Files that samples of one split go to: one store per layout.

mod image_files;
mod lines;
mod mds;
mod output;
mod parquet;
mod shards;
mod tar;

use std::fmt::Debug;
use std::io;
use std::path::Path;

use pixtune_io::manifest::OutputFile;
use pixtune_io::write::{MarkWriter, SampleWriter as _};

use crate::row::Exported;

pub(crate) use image_files::ImageFiles;
pub(crate) use lines::Lines;
pub(crate) use mds::{LARGEST_SHARD, Mds, MdsSamples};
pub(crate) use output::Numbered;
pub(crate) use parquet::{Columns, ParquetFiles, ParquetRows};
pub(crate) use shards::Shards;
pub(crate) use tar::{END as TAR_END, TarMembers};

/// What one sample becomes in a store.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes that follow each other in the file.
    Bytes(Vec<u8>),
    /// A row of a columnar file.
    Row(Box<parquet::ParquetRow>),
}

impl Piece {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Piece::Bytes(bytes) => bytes,
            Piece::Row(_) => Vec::new(),
        }
    }
}

/// Makes the pieces of a store, on any thread.
pub(crate) trait Encode: Debug + Sync {
    /// The piece of a sample.
    fn encode(&self, sample: Exported) -> io::Result<Piece>;
}

/// The files of one split. Pieces come in order; an export that was stopped goes on behind the last file that was finished.
pub(crate) trait Store: Send {
    /// Adds a sample. True if all before it are in finished files, so that a stopped export can go on from it.
    fn append(&mut self, piece: Piece) -> io::Result<bool>;

    /// Finishes the last file.
    fn finish(&mut self) -> io::Result<()>;

    /// The files that were finished, with their names relative to the export.
    fn files(&self) -> &[OutputFile];

    /// Gives the files the names that they have in the export, which can depend on their number.
    fn publish(&mut self, _root: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// The sample as a line of JSON that has marks where images are.
fn marked_json(sample: &Exported) -> Vec<u8> {
    let mut line = Vec::new();
    MarkWriter.write(&sample.sample, &[], &mut line);
    line
}
