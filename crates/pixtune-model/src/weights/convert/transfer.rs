//! The bytes: read, changed where needed, written. One thread reads and changes, another writes; between them go a few
//! blocks, so that memory does not depend on the model.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use pixtune_files::direct::{Block, BlockWriter};

use super::layout::PlannedFile;
use super::output::write_error;
use super::route::{Route, Scratch};
use super::{Change, ConvertError};
use crate::weights::dtype::Dtype;
use crate::weights::{Checkpoint, RowOrder};

/// Blocks between the threads, beside the one that is filled and the one that is written.
const WAITING: usize = 2;

/// Bytes that are read and checked at once, while they are in the cache.
const READ: usize = 512 << 10;

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

/// The reader ends: it has sent its error, or the writer has ended with an error of its own.
struct Ended;

impl Transfer<'_> {
    /// Writes every file into a directory. `progress` is called after every block with its number of bytes.
    pub fn run(&self, directory: &Path, progress: &mut dyn FnMut(u64)) -> Result<Transferred, ConvertError> {
        thread::scope(|scope| {
            let (to_writer, from_reader) = sync_channel(WAITING);
            let (to_reader, from_writer) = sync_channel(WAITING + 2);
            let reader = scope.spawn(move || {
                let mut stream = Stream { block: Block::empty(), out: to_writer, free: from_writer };
                let mut transferred = Transferred::default();
                // Whatever ended it early, the writer has the error.
                let _: Result<(), Ended> = self.read(&mut stream, &mut transferred);
                transferred
            });
            let written = self.write(directory, &from_reader, &to_reader, progress);
            drop(from_reader);
            let transferred = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.map(|()| transferred)
        })
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

    fn write(
        &self,
        directory: &Path,
        blocks: &Receiver<Result<Block, ConvertError>>,
        free: &SyncSender<Block>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), ConvertError> {
        for planned in self.files {
            let path = directory.join(&planned.name);
            let error = |source| write_error(&path, source);
            let mut left = planned.layout.file_length();
            let mut file = BlockWriter::create(&path, left).map_err(error)?;
            while left > 0 {
                // The reader only ends early after it has sent its error.
                let block = blocks.recv().map_err(|_| error(std::io::ErrorKind::UnexpectedEof.into()))??;
                let bytes = block.bytes().len() as u64;
                file.write(block.bytes()).map_err(error)?;
                left = left.saturating_sub(bytes);
                progress(bytes);
                let _ = free.try_send(block);
            }
            file.sync().map_err(error)?;
        }
        Ok(())
    }
}

/// The reader's end: bytes go into a block, and full blocks to the writer.
struct Stream {
    block: Block,
    out: SyncSender<Result<Block, ConvertError>>,
    free: Receiver<Block>,
}

impl Stream {
    /// Appends bytes.
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Ended> {
        self.fill(bytes.len() as u64, |part| {
            let (now, later) = bytes.split_at(part.len());
            part.copy_from_slice(now);
            bytes = later;
            Ok(())
        })
    }

    /// Appends what `read` fills into the parts it is given, `bytes` in all.
    fn fill(
        &mut self,
        bytes: u64,
        mut read: impl FnMut(&mut [u8]) -> Result<(), ConvertError>,
    ) -> Result<(), Ended> {
        let mut left = bytes;
        while left > 0 {
            let room = self.block.free();
            let part = room.len().min(READ).min(usize::try_from(left).unwrap_or(READ));
            let filled = read(&mut room[..part]);
            self.unless_failed(filled)?;
            self.block.advance(part);
            left -= part as u64;
            if self.block.free().is_empty() {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Sends the block, full or not, and continues with another.
    fn send(&mut self) -> Result<(), Ended> {
        if self.block.bytes().is_empty() {
            return Ok(());
        }
        let mut next = self.free.try_recv().unwrap_or_else(|_| Block::empty());
        next.clear();
        let full = std::mem::replace(&mut self.block, next);
        self.out.send(Ok(full)).map_err(|_| Ended)
    }

    /// Sends an error to the writer, who returns it.
    fn unless_failed<T>(&self, result: Result<T, ConvertError>) -> Result<T, Ended> {
        result.map_err(|error| {
            let _ = self.out.send(Err(error));
            Ended
        })
    }
}

/// Counts NaNs and infinities. The first pass over a buffer only asks whether there are any, which takes no time beside
/// reading it.
fn count_not_finite(dtype: Dtype, bytes: &[u8], found: &mut NotFinite) {
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
