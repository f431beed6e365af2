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

/// Bytes that are read and looked at in one go, while they are in the cache.
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
}

/// Why the reader ends: its own error has been sent, or the writer is gone and says why itself.
struct Ended;

impl Transfer<'_> {
    /// Writes every file into a directory and tells `progress` after every block how many bytes it had. Returns what is not
    /// finite in the output.
    pub fn run(
        &self,
        directory: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<NotFinite>, ConvertError> {
        thread::scope(|scope| {
            let (to_writer, from_reader) = sync_channel(WAITING);
            let (to_reader, from_writer) = sync_channel(WAITING + 2);
            let reader = scope.spawn(move || {
                let mut stream = Stream { block: Block::empty(), out: to_writer, free: from_writer };
                let mut not_finite = Vec::new();
                // Whatever ended it early, the writer's side knows of it.
                let _: Result<(), Ended> = self.read(&mut stream, &mut not_finite);
                not_finite
            });
            let written = self.write(directory, &from_reader, &to_reader, progress);
            drop(from_reader);
            let not_finite = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.map(|()| not_finite)
        })
    }

    fn read(&self, stream: &mut Stream, not_finite: &mut Vec<NotFinite>) -> Result<(), Ended> {
        let mut scratch = Scratch::default();
        for file in self.files {
            stream.put(&file.layout.head)?;
            for (piece, place) in file.pieces.iter().zip(&file.layout.header.tensors) {
                let route = Route::new(self.source, *piece, place, self.order);
                let route = stream.unless_failed(route)?;
                let mut found = NotFinite { name: route.name().to_owned(), nan: 0, infinite: 0 };
                self.read_tensor(&route, stream, &mut scratch, &mut found)?;
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
        found: &mut NotFinite,
    ) -> Result<(), Ended> {
        if let Some((file, range)) = route.copied(self.change) {
            let mut at = range.start;
            return stream.fill(range.end - range.start, |part| {
                file.stream_at(&mut scratch.reader.window, part, at)?;
                at += part.len() as u64;
                count_not_finite(route.target(), part, found);
                Ok(())
            });
        }
        for chunk in route.chunks() {
            let made = route.read(chunk, scratch).and_then(|()| route.apply(self.change, chunk, scratch));
            stream.unless_failed(made)?;
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

    /// Hands the block over, full or not, and takes another.
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
