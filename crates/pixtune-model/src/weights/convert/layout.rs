//! Which tensor goes into which file: decided before a byte is read.

use std::collections::BTreeMap;

use pixtune_core::json::{self, members, object};

use super::ConvertError;
use crate::weights::dtype::Dtype;
use crate::weights::names::{Module, TensorName};
use crate::weights::safetensors::{Layout, TensorSpec};
use crate::weights::{Checkpoint, Format};

/// A tensor of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The tensor of the source that it is made of.
    pub from: TensorName,
    /// Which tensor it becomes: the same, or the head made of a tied embedding.
    pub to: TensorName,
}

/// A file of weights to be written.
#[derive(Debug, Clone)]
pub struct PlannedFile {
    /// Its name.
    pub name: String,
    /// Its header and places.
    pub layout: Layout,
    /// Its tensors, in the order of their bytes.
    pub pieces: Vec<Piece>,
}

/// What the files are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The format.
    pub format: Format,
    /// The type of every tensor; each keeps its own without it.
    pub dtype: Option<Dtype>,
    /// Most bytes of tensors in one file; one file for all without it.
    pub shard_bytes: Option<u64>,
    /// Whether a tied head gets a tensor of its own.
    pub untie: bool,
    /// Rows of embedding and head, if they are more than in the source.
    pub vocabulary: Option<usize>,
}

/// Distributes the tensors of a checkpoint over files, in the order in which they lie in the source.
pub fn plan(source: &Checkpoint, shape: Shape) -> Result<Vec<PlannedFile>, ConvertError> {
    let places: BTreeMap<&str, TensorName> =
        source.tensors().map(|tensor| (tensor.info.name.as_str(), tensor.name)).collect();
    let stored = source.files().iter().flat_map(|file| &file.header().tensors);
    let mut pieces: Vec<Piece> = Vec::new();
    for info in stored {
        let Some(&name) = places.get(info.name.as_str()) else { continue };
        pieces.push(Piece { from: name, to: name });
        if name == Module::Embedding.weight() && source.config().tied && shape.untie {
            pieces.push(Piece { from: name, to: Module::Head.weight() });
        }
    }
    let specs = pieces.iter().map(|piece| spec(source, *piece, shape));
    let mut planned: Vec<(Piece, TensorSpec)> = pieces.iter().copied().zip(specs).collect();
    // Wide types first, so that every tensor begins at a multiple of its elements; the sort keeps the order otherwise.
    planned.sort_by_key(|(_, spec)| std::cmp::Reverse(spec.dtype.size()));
    let shards = split(planned, shape.shard_bytes);
    let total = shards.len();
    let file = |(index, shard): (usize, Vec<(Piece, TensorSpec)>)| {
        let (pieces, specs): (Vec<Piece>, Vec<TensorSpec>) = shard.into_iter().unzip();
        let layout = Layout::new(&specs).ok_or(ConvertError::TooLarge)?;
        Ok(PlannedFile { name: shard_name(shape.format, index + 1, total), layout, pieces })
    };
    shards.into_iter().enumerate().map(file).collect()
}

fn spec(source: &Checkpoint, piece: Piece, shape: Shape) -> TensorSpec {
    let tensor = source.tensor(piece.from).expect("pieces are made of tensors of the source");
    let mut sides = tensor.shape().to_vec();
    if let (Some(rows), Module::Embedding | Module::Head) = (shape.vocabulary, piece.to.module) {
        sides[0] = rows;
    }
    TensorSpec {
        name: piece.to.path(shape.format.spelling()),
        dtype: shape.dtype.unwrap_or(tensor.dtype()),
        shape: sides,
    }
}

fn bytes_of(spec: &TensorSpec) -> u64 {
    spec.shape.iter().fold(spec.dtype.size() as u64, |bytes, side| bytes.saturating_mul(*side as u64))
}

/// Fills one shard after the other; a tensor that is larger than a shard has one for itself.
fn split(planned: Vec<(Piece, TensorSpec)>, most: Option<u64>) -> Vec<Vec<(Piece, TensorSpec)>> {
    let most = most.unwrap_or(u64::MAX);
    let mut shards = vec![Vec::new()];
    let mut filled = 0u64;
    for (piece, spec) in planned {
        let bytes = bytes_of(&spec);
        if filled > 0 && filled.saturating_add(bytes) > most {
            shards.push(Vec::new());
            filled = 0;
        }
        filled = filled.saturating_add(bytes);
        shards.last_mut().expect("there is always a shard").push((piece, spec));
    }
    shards
}

fn shard_name(format: Format, number: usize, total: usize) -> String {
    match total {
        1 => format!("{}.safetensors", format.stem()),
        _ => format!("{}-{number:05}-of-{total:05}.safetensors", format.stem()),
    }
}

/// The index of a set of shards; none where one file holds everything.
pub fn index(files: &[PlannedFile]) -> Option<String> {
    if files.len() < 2 {
        return None;
    }
    let mut map = BTreeMap::new();
    let (mut bytes, mut parameters) = (0u64, 0u64);
    for file in files {
        for tensor in &file.layout.header.tensors {
            bytes += tensor.bytes();
            parameters += tensor.bytes() / tensor.dtype.size() as u64;
            map.insert(tensor.name.as_str(), file.name.as_str());
        }
    }
    Some(json::document(object(|index| {
        let metadata = [("total_parameters", parameters), ("total_size", bytes)];
        index.field("metadata", members(metadata)).field("weight_map", members(&map));
    })))
}

/// The name of a set's index.
pub fn index_name(format: Format) -> String {
    format!("{}.safetensors.index.json", format.stem())
}

/// How many tensors are renamed, and how many have their rows moved.
pub fn changes(source: &Checkpoint, files: &[PlannedFile], format: Format) -> (usize, usize) {
    let pieces = || files.iter().flat_map(|file| &file.pieces);
    let renamed = pieces().filter(|piece| {
        source.tensor(piece.from).is_some_and(|tensor| tensor.info.name != piece.to.path(format.spelling()))
    });
    let moves = source.row_order() != format.row_order();
    let permuted = pieces().filter(|piece| moves && piece.from.module.has_rotary_rows());
    (renamed.count(), permuted.count())
}
