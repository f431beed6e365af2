//! Files that are written while their content is made: one thread reads and changes, another writes, two more read back and
//! compare; between them go a few blocks, so that memory does not depend on the model.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use pixtune_files::direct::{Block, BlockWriter};

use super::ConvertError;
use super::output::write_error;
use super::read_back::{Arrived, ReadBack};

/// Blocks between the threads, beside the one that is filled and the one that is written.
const WAITING: usize = 2;

/// Bytes that are read and checked at once, while they are in the cache.
const READ: usize = 512 << 10;

/// The reader ends: it has sent its error, or the writer has ended with an error of its own.
pub(crate) struct Ended;

/// What was done with some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// So many more were written.
    Written(u64),
    /// So many more were read back.
    ReadBack(u64),
}

/// Writes files of known lengths into a directory, one after the other. `read` puts their bytes into the stream, and sends
/// the last block of each file. `check`, if there is one, reads them back on a thread of its own while they are written; its
/// error ends the writing. `progress` is called after every block that is written, and for what is read back after the last; it can
/// end the run.
pub(crate) fn stream_files<T: Send>(
    directory: &Path,
    files: &[(&str, u64)],
    read: impl FnOnce(&mut Stream) -> Result<(), Ended> + Send,
    check: Option<impl FnOnce(&mut ReadBack) -> Result<T, ConvertError> + Send>,
    progress: &mut dyn FnMut(Done) -> ControlFlow<()>,
) -> Result<Option<T>, ConvertError> {
    thread::scope(|scope| {
        let (to_writer, from_reader) = sync_channel(WAITING);
        let (to_reader, from_writer) = sync_channel(WAITING + 2);
        let reader = scope.spawn(move || {
            let mut stream = Stream { block: Block::empty(), out: to_writer, free: from_writer };
            // Whatever ended it early, the writer has the error.
            let _: Result<(), Ended> = read(&mut stream);
        });
        let (to_check, arrivals) = channel();
        let (read_back, checked_bytes) = channel();
        let is_checked = check.is_some();
        let checker = check.map(|check| {
            let mut back = ReadBack::start(scope, directory, files, arrivals, read_back);
            scope.spawn(move || check(&mut back))
        });
        let arrived = |arrived| !is_checked || to_check.send(arrived).is_ok();
        let written = write(directory, files, (&from_reader, &to_reader), arrived, progress);
        drop((from_reader, to_check));
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What was written before is read back meanwhile, so there is little left to end.
        let is_interrupted = checked_bytes
            .iter()
            .fold(false, |ended, bytes| ended | progress(Done::ReadBack(bytes)).is_break());
        let checked =
            checker.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        written?;
        match is_interrupted {
            true => Err(ConvertError::Interrupted),
            false => checked.transpose(),
        }
    })
}

/// Writes the blocks that arrive. `arrived` is given what is on the disk; where it returns false, the checker has ended with an
/// error and nothing more is written.
fn write(
    directory: &Path,
    files: &[(&str, u64)],
    (blocks, free): (&Receiver<Result<Block, ConvertError>>, &SyncSender<Block>),
    arrived: impl Fn(Arrived) -> bool,
    progress: &mut dyn FnMut(Done) -> ControlFlow<()>,
) -> Result<(), ConvertError> {
    for (index, (name, length)) in files.iter().enumerate() {
        let path = directory.join(name);
        let error = |source| write_error(&path, source);
        let mut written = 0;
        let mut file = BlockWriter::create(&path, *length).map_err(error)?;
        while written < *length {
            // The reader only ends early after it has sent its error.
            let block = blocks.recv().map_err(|_| error(std::io::ErrorKind::UnexpectedEof.into()))??;
            let bytes = block.bytes().len() as u64;
            file.write(block.bytes()).map_err(error)?;
            written += bytes;
            if !arrived(Arrived { file: index, bytes: written }) {
                return Ok(());
            }
            if progress(Done::Written(bytes)).is_break() {
                return Err(ConvertError::Interrupted);
            }
            let _ = free.try_send(block);
        }
        file.sync().map_err(error)?;
    }
    Ok(())
}

/// The reader's end: bytes go into a block, and full blocks to the writer.
pub(crate) struct Stream {
    block: Block,
    out: SyncSender<Result<Block, ConvertError>>,
    free: Receiver<Block>,
}

impl Stream {
    /// Appends bytes.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> Result<(), Ended> {
        self.fill(bytes.len() as u64, |part| {
            let (now, later) = bytes.split_at(part.len());
            part.copy_from_slice(now);
            bytes = later;
            Ok(())
        })
    }

    /// Appends what `read` fills into the parts it is given, `bytes` in all.
    pub(crate) fn fill(
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
    pub(crate) fn send(&mut self) -> Result<(), Ended> {
        if self.block.bytes().is_empty() {
            return Ok(());
        }
        let mut next = self.free.try_recv().unwrap_or_else(|_| Block::empty());
        next.clear();
        let full = std::mem::replace(&mut self.block, next);
        self.out.send(Ok(full)).map_err(|_| Ended)
    }

    /// Sends an error to the writer, who returns it.
    pub(crate) fn unless_failed<T>(&self, result: Result<T, ConvertError>) -> Result<T, Ended> {
        result.map_err(|error| {
            let _ = self.out.send(Err(error));
            Ended
        })
    }
}
