//! The bytes: read, changed where needed, and sent to the writer.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::layout::PlannedFile;
use super::read_back::ReadBack;
use super::route::{Route, Scratch};
use super::stream::{Done, Ended, Stream, stream_files};
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
}

impl Transfer<'_> {
    /// Writes every file into a directory. `check`, if there is one, reads them back; it is given the hash of all tensors up to
    /// each when that was read: of the source's bytes, or of the output's where those are computed.
    pub fn run<T: Send>(
        &self,
        directory: &Path,
        check: Option<impl FnOnce(&mut ReadBack, &Receiver<blake3::Hash>) -> Result<T, ConvertError> + Send>,
        progress: &mut dyn FnMut(Done) -> ControlFlow<()>,
    ) -> Result<(Vec<NotFinite>, Option<T>), ConvertError> {
        let files: Vec<(&str, u64)> =
            self.files.iter().map(|file| (file.name.as_str(), file.layout.file_length())).collect();
        let mut not_finite = Vec::new();
        let (to_check, hashes) = channel();
        let to_check = check.is_some().then_some(to_check);
        let read = |stream: &mut Stream| self.read(stream, &mut not_finite, to_check);
        let check = check.map(|check| move |back: &mut ReadBack| check(back, &hashes));
        let checked = stream_files(directory, &files, read, check, progress)?;
        Ok((not_finite, checked))
    }

    /// Reads every tensor into the stream. `hashes` gets the hash of all tensors up to each.
    fn read(
        &self,
        stream: &mut Stream,
        not_finite: &mut Vec<NotFinite>,
        hashes: Option<Sender<blake3::Hash>>,
    ) -> Result<(), Ended> {
        let mut scratch = Scratch::default();
        let mut hasher = hashes.is_some().then(blake3::Hasher::new);
        for file in self.files {
            stream.put(&file.layout.head)?;
            for (piece, place) in file.pieces.iter().zip(&file.layout.header.tensors) {
                let route = Route::new(self.source, *piece, place, self.order);
                let route = stream.unless_failed(route)?;
                let mut found = NotFinite { name: route.name().to_owned(), nan: 0, infinite: 0 };
                self.read_tensor(&route, stream, &mut scratch, (&mut found, &mut hasher))?;
                if let (Some(hasher), Some(hashes)) = (&hasher, &hashes) {
                    // A checker that has ended found an error, which ends the writer too.
                    let _ = hashes.send(hasher.finalize());
                }
                if found.nan + found.infinite > 0 {
                    not_finite.push(found);
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
