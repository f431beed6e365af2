//! The bytes: read, changed where needed, and sent to the writer.

use std::ops::ControlFlow;
use std::path::Path;

use super::layout::PlannedFile;
use super::route::{Route, Scratch};
use super::stream::{Ended, Stream, stream_files};
use super::{Change, ConvertError};
use crate::weights::dtype::Dtype;
use crate::weights::{Checkpoint, RowOrder};

/// Something in the weights that no training means to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFinite {
    /// The tensor, as the source names it.
    pub name: String,
    /// Elements that are no number.
    pub nan: u64,
    /// Elements that are infinite.
    pub infinite: u64,
}

/// What is read from where, and written to where.
pub struct Transfer<'t> {
    /// The source.
    pub source: &'t Checkpoint,
    /// The files to write.
    pub files: &'t [PlannedFile],
    /// The order of rows in them.
    pub order: RowOrder,
    /// What is changed on the way.
    pub change: Option<&'t dyn Change>,
    /// Whether to hash what is written, for reading it back.
    pub hash: bool,
}

/// What was learned while writing.
#[derive(Debug, Default)]
pub struct Transferred {
    /// What is not finite in the output.
    pub not_finite: Vec<NotFinite>,
    /// The hash of all tensors up to each, if it was requested: of the source's bytes, or of the output's where those are
    /// computed.
    pub hashes: Vec<blake3::Hash>,
}

impl Transfer<'_> {
    /// Writes every file into a directory. `progress` is called after every block with its number of bytes, and can end the
    /// run.
    pub fn run(
        &self,
        directory: &Path,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Transferred, ConvertError> {
        let files = self.files.iter().map(|file| (file.name.as_str(), file.layout.file_length()));
        let mut transferred = Transferred::default();
        stream_files(directory, files, |stream| self.read(stream, &mut transferred), progress)?;
        Ok(transferred)
    }

    fn read(&self, stream: &mut Stream, transferred: &mut Transferred) -> Result<(), Ended> {
        let mut scratch = Scratch::default();
        let mut hasher = self.hash.then(blake3::Hasher::new);
        for file in self.files {
            stream.put(&file.layout.head)?;
            for (piece, place) in file.pieces.iter().zip(&file.layout.header.tensors) {
                let route = Route::new(self.source, *piece, place, self.order);
                let route = stream.unless_failed(route)?;
                let mut found = NotFinite { name: route.name().to_owned(), nan: 0, infinite: 0 };
                self.read_tensor(&route, stream, &mut scratch, (&mut found, &mut hasher))?;
                transferred.hashes.extend(hasher.as_ref().map(blake3::Hasher::finalize));
                if found.nan + found.infinite > 0 {
                    transferred.not_finite.push(found);
                }
            }
            stream.send()?;
        }
        Ok(())
    }

    fn read_tensor(
        &self,
        route: &Route<'_>,
        stream: &mut Stream,
        scratch: &mut Scratch,
        (found, hasher): (&mut NotFinite, &mut Option<blake3::Hasher>),
    ) -> Result<(), Ended> {
        let mut hash = |bytes: &[u8]| _ = hasher.as_mut().map(|hasher| hasher.update(bytes));
        if let Some((file, range)) = route.copied(self.change) {
            let mut at = range.start;
            return stream.fill(range.end - range.start, |part| {
                file.stream_at(&mut scratch.reader.window, part, at)?;
                at += part.len() as u64;
                count_not_finite(route.target(), part, found);
                hash(part);
                Ok(())
            });
        }
        let exact = route.is_exact(self.change);
        for chunk in route.chunks() {
            let read = route.read(chunk, scratch);
            stream.unless_failed(read)?;
            if exact {
                hash(&scratch.bytes);
            }
            let made = route.apply(self.change, chunk, scratch);
            stream.unless_failed(made)?;
            if !exact {
                hash(&scratch.bytes);
            }
            count_not_finite(route.target(), &scratch.bytes, found);
            stream.put(&scratch.bytes)?;
        }
        Ok(())
    }
}

/// Counts NaNs and infinities. The first pass over a buffer only asks whether there are any, which takes no time beside
/// reading it.
pub(crate) fn count_not_finite(dtype: Dtype, bytes: &[u8], found: &mut NotFinite) {
    let exponent: u32 = match dtype {
        Dtype::BF16 => 0x7f80,
        Dtype::F16 => 0x7c00,
        _ => 0x7f80_0000,
    };
    let mut count = |magnitude: u32| {
        found.infinite += u64::from(magnitude == exponent);
        found.nan += u64::from(magnitude > exponent);
    };
    if dtype == Dtype::F32 {
        let values = || bytes.as_chunks().0.iter().map(|four| u32::from_le_bytes(*four) & 0x7fff_ffff);
        if values().fold(0, u32::max) >= exponent {
            values().for_each(count);
        }
    } else {
        let values = || bytes.as_chunks().0.iter().map(|two| u16::from_le_bytes(*two) & 0x7fff);
        if values().fold(0, u16::max) >= exponent as u16 {
            values().for_each(|value| count(u32::from(value)));
        }
    }
}
