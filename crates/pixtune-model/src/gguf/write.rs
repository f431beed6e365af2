//! The bytes: read in chunks, permuted and encoded, and streamed to the files.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use super::element::Element;
use super::error::GgufError;
use super::header::Header;
use super::layout::{Piece, PlannedFile};
use super::metadata::aligned;
use crate::weights::convert::read_back::ReadBack;
use crate::weights::convert::stream::{Done, Ended, Stream, stream_files};
use crate::weights::convert::{ConvertError, NotFinite, count_not_finite};
use crate::weights::{Checkpoint, Dtype, Problems, Reader, RowOrder, Tensor, dtype};

/// Bytes of a chunk of the source: what is made of it stays in the second cache.
const CHUNK: usize = 512 << 10;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The files with their bytes.
    pub files: Vec<(String, u64)>,
    /// Tensors of all files.
    pub tensors: u64,
    /// How many of them are of each type.
    pub elements: Vec<(Element, u64)>,
    /// Tensors whose rows of queries and keys were permuted.
    pub permuted: u64,
    /// Tensors with values that are not finite.
    pub not_finite: Vec<NotFinite>,
    /// BLAKE3 of all files, if they were read back.
    pub verified: Option<String>,
}

/// What is read, and how it is written.
#[derive(Clone, Copy)]
pub(super) struct Job<'j> {
    /// The checkpoint.
    pub source: &'j Checkpoint,
    /// The files to write.
    pub files: &'j [PlannedFile],
    /// Whether to read everything back.
    pub verify: bool,
}

/// Buffers that are used for one chunk after the other.
#[derive(Default)]
struct Scratch {
    reader: Reader,
    source: Vec<u8>,
    values: Vec<f32>,
    moved: Vec<u8>,
    encoded: Vec<u8>,
}

/// Writes the files of a plan into a directory.
pub(super) fn write(
    job: Job<'_>,
    directory: &Path,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Written, GgufError> {
    let mut not_finite = Vec::new();
    let files: Vec<(&str, u64)> = job.files.iter().map(|file| (file.name.as_str(), file.length())).collect();
    let (to_check, hashes) = channel();
    let found = &mut not_finite;
    // Owns its sender: the checker is not to wait for a reader that has ended.
    let read = move |stream: &mut Stream| {
        let mut scratch = Scratch::default();
        for file in job.files {
            let mut hasher = job.verify.then(blake3::Hasher::new);
            put(stream, &file.head, &mut hasher)?;
            for piece in &file.pieces {
                found.extend(read_piece(job, piece, (stream, &mut hasher), &mut scratch)?);
            }
            // A checker that has ended found an error, which ends the writer too.
            let _ = hasher.map(|hasher| to_check.send(hasher.finalize()));
            stream.send()?;
        }
        Ok(())
    };
    let check = job.verify.then_some(move |back: &mut ReadBack| read_back(job.files, &hashes, back));
    let verified = stream_files(directory, &files, read, check, &mut |done| match done {
        Done::Written(bytes) => progress(bytes),
        Done::ReadBack(_) => ControlFlow::Continue(()),
    })?;
    if verified.is_some() {
        compare_headers(job.files, directory)?;
    }
    let pieces = || job.files.iter().flat_map(|file| &file.pieces);
    let count = |element| pieces().filter(|piece| piece.entry.element == element).count() as u64;
    let from = job.source.row_order();
    let moves = |piece: &&Piece| from != RowOrder::Interleaved && piece.from.module.has_rotary_rows();
    Ok(Written {
        files: job.files.iter().map(|file| (file.name.clone(), file.length())).collect(),
        tensors: pieces().count() as u64,
        elements: Element::ALL
            .into_iter()
            .map(|element| (element, count(element)))
            .filter(|(_, count)| *count > 0)
            .collect(),
        permuted: pieces().filter(moves).count() as u64,
        not_finite,
        verified,
    })
}

fn put(stream: &mut Stream, bytes: &[u8], hasher: &mut Option<blake3::Hasher>) -> Result<(), Ended> {
    if let Some(hasher) = hasher {
        hasher.update(bytes);
    }
    stream.put(bytes)
}

/// Reads the files back and compares them with what was computed; the hash of all.
fn read_back(
    files: &[PlannedFile],
    hashes: &Receiver<blake3::Hash>,
    back: &mut ReadBack,
) -> Result<String, ConvertError> {
    let mut all = blake3::Hasher::new();
    for file in files {
        let mut hasher = blake3::Hasher::new();
        back.each(file.length(), |part| _ = hasher.update(part))?;
        // Without a hash the source could not be read, which ends the run.
        if hashes.recv().is_ok_and(|expected| expected != hasher.finalize()) {
            return Err(differs(file));
        }
        all.update(hasher.finalize().as_bytes());
    }
    Ok(all.finalize().to_hex().to_string())
}

/// Reads the headers as any reader would, and compares their lists of tensors.
fn compare_headers(files: &[PlannedFile], directory: &Path) -> Result<(), GgufError> {
    for file in files {
        if Header::read(&directory.join(&file.name))?.tensors.len() != file.pieces.len() {
            return Err(differs(file).into());
        }
    }
    Ok(())
}

fn differs(file: &PlannedFile) -> ConvertError {
    ConvertError::Verify { problems: Problems(vec![format!("`{}`", file.name)]) }
}

/// Puts a tensor and the zeros behind it into the stream.
fn read_piece(
    job: Job<'_>,
    piece: &Piece,
    (stream, hasher): (&mut Stream, &mut Option<blake3::Hasher>),
    scratch: &mut Scratch,
) -> Result<Option<NotFinite>, Ended> {
    let tensor = job.source.tensor(piece.from).expect("pieces are made of tensors of the source");
    let rows = tensor.shape().first().copied().unwrap_or(1).max(1);
    let row_bytes = usize::try_from(tensor.length()).unwrap_or(usize::MAX) / rows;
    let (first, end) = piece.row.map_or((0, rows), |row| (row, row + 1));
    let head_dim = tensor.head_dim().unwrap_or(1);
    let step = (CHUNK / row_bytes.max(1)).max(1).next_multiple_of(head_dim);
    let mut found = NotFinite { name: tensor.info.name.clone(), nan: 0, infinite: 0 };
    for first in (first..end).step_by(step) {
        let count = step.min(end - first);
        let made = make(&tensor, (first, count, row_bytes), piece, scratch);
        stream.unless_failed(made)?;
        // A value can become infinite in F16; blocks hide what was not finite in the source.
        match piece.entry.element.dtype() {
            Some(dtype) => count_not_finite(dtype, &scratch.encoded, &mut found),
            None => count_not_finite(tensor.dtype(), &scratch.source, &mut found),
        }
        put(stream, &scratch.encoded, hasher)?;
    }
    let bytes = piece.entry.bytes();
    put(stream, &[0; 32][..(aligned(bytes) - bytes) as usize], hasher)?;
    Ok((found.nan + found.infinite > 0).then_some(found))
}

/// Fills `scratch.encoded` with some rows of a tensor as they are in the file.
fn make(
    tensor: &Tensor<'_>,
    (first, count, row_bytes): (usize, usize, usize),
    piece: &Piece,
    scratch: &mut Scratch,
) -> Result<(), ConvertError> {
    let Scratch { reader, source, values, moved, encoded } = scratch;
    let is_stored = piece.entry.element.dtype() == Some(tensor.dtype());
    let is_moved = tensor.head_dim().is_some() && tensor.row_order() != RowOrder::Interleaved;
    // What is written as it is, is read to where it is written from.
    let read = if is_stored && !is_moved { &mut *encoded } else { &mut *source };
    read.resize(count * row_bytes, 0);
    tensor.read_at(reader, read, (first * row_bytes) as u64)?;
    if is_stored {
        if is_moved {
            permute(tensor, row_bytes, source, encoded);
        }
        return Ok(());
    }
    values.resize(source.len() / tensor.dtype().size(), 0.0);
    dtype::read_f32(tensor.dtype(), source, values).expect("a checkpoint only holds bf16, f16 and f32");
    let float_bytes = row_bytes / tensor.dtype().size() * Dtype::F32.size();
    moved.resize(values.len() * Dtype::F32.size(), 0);
    dtype::write_f32(Dtype::F32, values, moved).expect("f32 is a type of weights");
    permute(tensor, float_bytes, moved, encoded);
    dtype::read_f32(Dtype::F32, encoded, values).expect("f32 is a type of weights");
    piece.entry.element.encode(values, encoded);
    Ok(())
}

/// Copies rows, those of queries and keys in Mistral's order.
fn permute(tensor: &Tensor<'_>, row_bytes: usize, rows: &[u8], out: &mut Vec<u8>) {
    out.resize(rows.len(), 0);
    let from = tensor.row_order();
    match tensor.head_dim().filter(|_| from != RowOrder::Interleaved) {
        Some(head_dim) => from.permute(RowOrder::Interleaved, head_dim, row_bytes, rows, out),
        None => out.copy_from_slice(rows),
    }
}
