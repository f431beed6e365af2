//! The bytes: read, changed where needed, written. One thread reads and changes, another writes; between them go a few
//! buffers, so that memory does not depend on the model.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::folder::write_error;
use super::layout::{Piece, PlannedFile};
use super::{Change, ConvertError};
use crate::weights::dtype::{self, Dtype};
use crate::weights::safetensors::{TensorInfo, Writer};
use crate::weights::{Checkpoint, RowOrder, Tensor, TensorName};

/// Bytes of a buffer: large enough for the disk, small enough for the cache.
const BUFFER: usize = 4 << 20;

/// Buffers on their way.
const BUFFERS: usize = 4;

/// No model has heads of more bytes.
const MAX_HEAD: u64 = 64 << 20;

/// How a tensor gets from the source to the output.
#[derive(Debug, Clone)]
pub struct Route<'c> {
    tensor: Tensor<'c>,
    target: Dtype,
    row_bytes: usize,
    /// Rows of a chunk; whole heads where rows move.
    rows: usize,
    head_dim: Option<usize>,
    orders: (RowOrder, RowOrder),
}

impl<'c> Route<'c> {
    /// The route of a piece into a place of a file.
    pub fn new(
        source: &'c Checkpoint,
        piece: Piece,
        place: &TensorInfo,
        to: RowOrder,
    ) -> Result<Route<'c>, ConvertError> {
        let tensor = source.tensor(piece.from).expect("pieces are made of tensors of the source");
        let orders = (source.row_order(), to);
        let head_dim = source.rotary_head_dim(piece.from.module).filter(|_| orders.0 != orders.1);
        let all_rows = tensor.shape().first().copied().unwrap_or(1).max(1);
        let row_bytes = usize::try_from(tensor.info.bytes()).map_err(|_| ConvertError::TooLarge)? / all_rows;
        let rows = match head_dim {
            Some(head_dim) => {
                let head = head_dim as u64 * row_bytes as u64;
                if head > MAX_HEAD {
                    return Err(ConvertError::HeadTooLarge { name: tensor.info.name.clone(), bytes: head });
                }
                head_dim * (BUFFER / head as usize).max(1)
            }
            None => (BUFFER / row_bytes.max(1)).max(1),
        };
        Ok(Route { tensor, target: place.dtype, row_bytes, rows, head_dim, orders })
    }

    /// The places of the chunks in the source: first row, offset and bytes.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> + use<> {
        let range = self.tensor.info.range.clone();
        let step = (self.rows * self.row_bytes).max(1);
        let (rows, total) = (self.rows, range.end - range.start);
        (0..total.div_ceil(step as u64)).map(move |index| {
            let start = index * step as u64;
            let bytes = (total - start).min(step as u64) as usize;
            Chunk { first_row: index as usize * rows, offset: range.start + start, bytes }
        })
    }

    /// Reads a chunk as it is stored.
    pub fn read(&self, chunk: Chunk, buffer: &mut Vec<u8>) -> Result<(), ConvertError> {
        buffer.resize(chunk.bytes, 0);
        Ok(self.tensor.file.read_at(buffer, chunk.offset)?)
    }

    /// Turns a chunk of the source into a chunk of the output; `spare` is room to work in.
    pub fn apply(
        &self,
        change: Option<&dyn Change>,
        chunk: Chunk,
        bytes: &mut Vec<u8>,
        spare: &mut Vec<u8>,
    ) -> Result<(), ConvertError> {
        let from = self.tensor.dtype();
        let change = change.filter(|change| change.concerns(self.tensor.name));
        if change.is_some() || from != self.target {
            let mut values = dtype::to_f32(from, bytes).expect("a checkpoint only holds bf16, f16 and f32");
            if let Some(change) = change {
                change
                    .apply(self.tensor.name, chunk.first_row, &mut values)
                    .map_err(|source| ConvertError::Change { name: self.tensor.info.name.clone(), source })?;
            }
            bytes.clear();
            dtype::extend_from_f32(self.target, &values, bytes).expect("only weight types are asked for");
        }
        if let Some(head_dim) = self.head_dim {
            let row_bytes = self.row_bytes / from.size() * self.target.size();
            spare.resize(bytes.len(), 0);
            self.orders.0.permute(self.orders.1, head_dim, row_bytes, bytes, spare);
            std::mem::swap(bytes, spare);
        }
        Ok(())
    }

    /// Whether the output can be led back to the source's very bytes.
    pub fn is_exact(&self, change: Option<&dyn Change>) -> bool {
        self.tensor.dtype() == self.target && change.is_none_or(|change| !change.concerns(self.tensor.name))
    }

    /// The same move in the other direction, for a chunk of the output.
    pub fn undo(&self, bytes: &mut Vec<u8>, spare: &mut Vec<u8>) {
        if let Some(head_dim) = self.head_dim {
            spare.resize(bytes.len(), 0);
            let row_bytes = self.row_bytes / self.tensor.dtype().size() * self.target.size();
            self.orders.1.permute(self.orders.0, head_dim, row_bytes, bytes, spare);
            std::mem::swap(bytes, spare);
        }
    }
}

/// A part of a tensor.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    first_row: usize,
    offset: u64,
    bytes: usize,
}

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
    /// Writes every file into a folder and tells `progress` after every chunk how many bytes it had. Returns what is not
    /// finite in the output.
    pub fn run(&self, folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<Vec<NotFinite>, ConvertError> {
        thread::scope(|scope| {
            let (to_writer, from_reader) = sync_channel::<Result<Vec<u8>, ConvertError>>(BUFFERS);
            let (to_reader, from_writer) = sync_channel::<Vec<u8>>(BUFFERS + 2);
            let reader = scope.spawn(move || self.read(&to_writer, &from_writer));
            let written = self.write(folder, &from_reader, &to_reader, progress);
            drop(from_reader);
            let not_finite = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.map(|()| not_finite)
        })
    }

    fn read(
        &self,
        out: &SyncSender<Result<Vec<u8>, ConvertError>>,
        free: &Receiver<Vec<u8>>,
    ) -> Vec<NotFinite> {
        let mut not_finite = Vec::new();
        let mut spare = Vec::new();
        for (file, piece) in
            self.files.iter().flat_map(|file| file.pieces.iter().enumerate().map(move |piece| (file, piece)))
        {
            let route =
                match Route::new(self.source, *piece.1, &file.layout.header.tensors[piece.0], self.order) {
                    Ok(route) => route,
                    Err(error) => {
                        let _ = out.send(Err(error));
                        return not_finite;
                    }
                };
            let mut found = NotFinite { name: route.tensor.info.name.clone(), nan: 0, infinite: 0 };
            for chunk in route.chunks() {
                let mut buffer = free.try_recv().unwrap_or_default();
                let result = route.read(chunk, &mut buffer).and_then(|()| {
                    route.apply(self.change, chunk, &mut buffer, &mut spare)?;
                    count_not_finite(route.target, &buffer, &mut found);
                    Ok(buffer)
                });
                let failed = result.is_err();
                // A writer that is gone has failed, and says why.
                if out.send(result).is_err() || failed {
                    return not_finite;
                }
            }
            if found.nan + found.infinite > 0 {
                not_finite.push(found);
            }
        }
        not_finite
    }

    fn write(
        &self,
        folder: &Path,
        chunks: &Receiver<Result<Vec<u8>, ConvertError>>,
        free: &SyncSender<Vec<u8>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), ConvertError> {
        for planned in self.files {
            let path = folder.join(&planned.name);
            let error = |source| write_error(&path, source);
            let mut writer =
                Writer::new(File::create(&path).map_err(error)?, &planned.layout).map_err(error)?;
            let mut left = planned.layout.file_length() - planned.layout.header.data_start;
            while left > 0 {
                // The reader only ends early after it has sent its error.
                let buffer = chunks.recv().map_err(|_| error(std::io::ErrorKind::UnexpectedEof.into()))??;
                writer.write(&buffer).map_err(error)?;
                left -= buffer.len() as u64;
                progress(buffer.len() as u64);
                let _ = free.try_send(buffer);
            }
            writer.finish().and_then(|file| file.sync_all()).map_err(error)?;
        }
        Ok(())
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

/// The name of the tensor a piece becomes; for messages.
pub(super) fn name_of(piece: TensorName, source: &Checkpoint) -> String {
    source.tensor(piece).map(|tensor| tensor.info.name.clone()).unwrap_or_default()
}
