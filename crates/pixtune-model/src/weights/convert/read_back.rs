//! Files that are read back while they are written.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::thread::Scope;

use pixtune_files::direct::{Block, BlockReader};

use super::ConvertError;

/// Bytes that are read at once; blocks that are written are multiples of it.
const PIECE: usize = 4 << 20;

/// Pieces that were read and wait to be checked.
const WAITING: usize = 1;

/// How much of a file is on the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived {
    /// Which file, counted from 0.
    pub file: usize,
    /// Bytes from its beginning on.
    pub bytes: u64,
}

/// The bytes of all files, one file after the other, as they are on the disk. A thread reads ahead.
pub(crate) struct ReadBack {
    pieces: Receiver<Result<Block, ConvertError>>,
    free: SyncSender<Block>,
    piece: Option<Block>,
    /// Bytes of the piece that were given out.
    given: usize,
    progress: Sender<u64>,
}

impl ReadBack {
    /// Reads files of a directory with these lengths as they arrive. `progress` gets the bytes that were checked.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        directory: &Path,
        files: &[(&str, u64)],
        arrivals: Receiver<Arrived>,
        progress: Sender<u64>,
    ) -> ReadBack {
        let files = files.iter().map(|(name, length)| (directory.join(name), *length)).collect();
        let (to_checker, pieces) = sync_channel(WAITING);
        let (free, used) = sync_channel(WAITING + 2);
        scope.spawn(move || Ahead { files, arrivals, used, pieces: to_checker }.run());
        ReadBack { pieces, free, piece: None, given: 0, progress }
    }

    /// Passes the next bytes to `check`, in parts. Fails if they will not be written, because the writer has failed.
    pub(crate) fn each(&mut self, bytes: u64, mut check: impl FnMut(&[u8])) -> Result<(), ConvertError> {
        let mut left = bytes;
        while left > 0 {
            let piece = match self.piece.take() {
                Some(piece) => piece,
                None => self.pieces.recv().unwrap_or_else(|_| Err(never_written(Path::new(""))))?,
            };
            let rest = &piece.bytes()[self.given..];
            let part = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            check(&rest[..part]);
            (self.given, left) = (self.given + part, left - part as u64);
            if self.given < piece.bytes().len() {
                self.piece = Some(piece);
            } else {
                let _ = self.progress.send(self.given as u64);
                self.given = 0;
                let _ = self.free.try_send(piece);
            }
        }
        Ok(())
    }

    /// Fills a buffer with the next bytes.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), ConvertError> {
        self.each(buffer.len() as u64, |part| {
            let (now, later) = std::mem::take(&mut buffer).split_at_mut(part.len());
            now.copy_from_slice(part);
            buffer = later;
        })
    }
}

fn never_written(path: &Path) -> ConvertError {
    ConvertError::Read { path: path.to_owned(), source: std::io::ErrorKind::UnexpectedEof.into() }
}

/// The thread that reads ahead.
struct Ahead {
    files: Vec<(PathBuf, u64)>,
    arrivals: Receiver<Arrived>,
    used: Receiver<Block>,
    pieces: SyncSender<Result<Block, ConvertError>>,
}

impl Ahead {
    fn run(self) {
        if let Err(error) = self.read() {
            let _ = self.pieces.send(Err(error));
        }
    }

    /// Reads until the end, or until nobody wants more.
    fn read(&self) -> Result<(), ConvertError> {
        let mut arrived = Arrived { file: 0, bytes: 0 };
        for (file, (path, length)) in self.files.iter().enumerate() {
            let error = |source| ConvertError::Read { path: path.clone(), source };
            let mut reader = None;
            let mut read = 0;
            while read < *length {
                let end = (read + PIECE as u64).min(*length);
                while arrived.file < file || arrived.file == file && arrived.bytes < end {
                    arrived = self.arrivals.recv().map_err(|_| never_written(path))?;
                }
                let reader = match &mut reader {
                    Some(reader) => reader,
                    none => none.insert(BlockReader::open(path).map_err(error)?),
                };
                let mut piece = self.used.try_recv().unwrap_or_else(|_| Block::with_room(PIECE));
                piece.clear();
                reader.read(&mut piece).map_err(error)?;
                if piece.bytes().len() as u64 != end - read {
                    return Err(never_written(path));
                }
                read = end;
                if self.pieces.send(Ok(piece)).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
