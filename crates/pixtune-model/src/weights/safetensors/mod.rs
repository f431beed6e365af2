//! safetensors files: a strict reader of headers and a streaming writer.
//!
//! A header is only accepted when it describes its file exactly: every byte of the data belongs to one tensor, no tensor
//! leaves the file, sizes follow from types and shapes, no name stands twice. What is read from a [`TensorInfo`] needs
//! no further check.

mod header;
mod write;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;
use pixtune_files::direct::{DirectFile, Window};

use crate::weights::substitute::Substitute;

pub use header::{Header, HeaderError, MAX_HEADER, TensorInfo};
pub use write::{Layout, TensorSpec, Writer};

/// Why a safetensors file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SafetensorsError {
    /// The file cannot be opened or read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is another kind of file.
    #[error("`{}` is {found}, not safetensors", path.display())]
    Other {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: Substitute,
    },
    /// Its header is wrong.
    #[error("`{}` is damaged: {source}", path.display())]
    Header {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: HeaderError,
    },
}

/// An open safetensors file whose header has been checked. Data is read with [`read_at`](SafetensorsFile::read_at) into
/// a buffer, or borrowed from a memory map that is made on first use.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    file: DirectFile,
    header: Header,
    map: OnceLock<Mmap>,
}

impl SafetensorsFile {
    /// Opens a file and reads its header, nothing else.
    pub fn open(path: &Path) -> Result<SafetensorsFile, SafetensorsError> {
        let io = |source| SafetensorsError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        if !about.is_file() {
            return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
        }
        let file = DirectFile::new(file);
        let header = Header::read(&file, about.len()).map_err(io)?;
        let header = header.map_err(|source| match Substitute::of_file(path) {
            Some(found) => SafetensorsError::Other { path: path.to_owned(), found },
            None => SafetensorsError::Header { path: path.to_owned(), source },
        })?;
        Ok(SafetensorsFile { path: path.to_owned(), file, header, map: OnceLock::new() })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Fills `buffer` from a place in the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), SafetensorsError> {
        self.file
            .read_at(buffer, offset)
            .map_err(|source| SafetensorsError::Io { path: self.path.clone(), source })
    }

    /// Fills `buffer` from an offset of the file, past the page cache where the bytes are not in it.
    pub fn stream_at(
        &self,
        window: &mut Window,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), SafetensorsError> {
        self.file
            .stream_at(window, buffer, offset)
            .map_err(|source| SafetensorsError::Io { path: self.path.clone(), source })
    }

    /// The bytes of a tensor of this file, from a memory map. The map's pages count as resident memory as they are read;
    /// what streams through a checkpoint uses
    /// [`stream_at`](SafetensorsFile::stream_at).
    pub fn bytes(&self, tensor: &TensorInfo) -> Result<&[u8], SafetensorsError> {
        let io = |source| SafetensorsError::Io { path: self.path.clone(), source };
        let map = match self.map.get() {
            Some(map) => map,
            None => {
                // SAFETY: the map is read-only. Another process that cuts the file while it is mapped would end this one
                // with SIGBUS; that cannot be prevented, and is the same for every reader that maps weights.
                let map = unsafe { Mmap::map(self.file.file()) }.map_err(io)?;
                self.map.get_or_init(|| map)
            }
        };
        let cut = || io(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while being read"));
        let range = usize::try_from(tensor.range.start).ok().zip(usize::try_from(tensor.range.end).ok());
        range.and_then(|(start, end)| map.get(start..end)).ok_or_else(cut)
    }
}
