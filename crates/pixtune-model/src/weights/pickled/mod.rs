//! Tensors in files of `torch.save`, read without executing anything.
//!
//! Such a file is a ZIP archive with a pickle, a program for a small machine, and the bytes of each storage in a member of its
//! own. `machine` runs the few instructions that a dictionary of tensors needs and calls no function: the names that it
//! knows stand for tensors. Everything else is refused by name. Members are never compressed, so each tensor is a range of the
//! file.

mod error;
mod machine;
mod program;
mod zip;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_files::direct::DirectFile;

use super::safetensors::TensorInfo;
pub use error::PickleError;
pub use machine::{PickledTensor, run};
pub use zip::ZipError;

/// No pickle of a dictionary of tensors is longer: 16 MB are about 100,000 tensors.
const MAX_PICKLE: u64 = 16 << 20;

/// Why a file of `torch.save` cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant")]
pub enum PickledError {
    #[error("cannot read it")]
    Io(#[from] io::Error),
    #[error("it is not a file of torch.save: {0}")]
    Zip(#[from] ZipError),
    #[error("it has {found} members `data.pkl`; a file of torch.save has one")]
    NoPickle { found: usize },
    #[error("its pickle has more than 16 MB")]
    TooLong,
    #[error("its pickle is refused: {0}")]
    Pickle(#[from] PickleError),
    #[error("its numbers are big-endian")]
    BigEndian,
    #[error("the storage `{key}` of `{tensor}` is missing or too short")]
    Storage { tensor: String, key: String },
    #[error(
        "`{tensor}` is stored with gaps or in an order of axes that is not supported (strides {strides:?})"
    )]
    Strides { tensor: String, strides: Vec<usize> },
}

/// A tensor of a pickled file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickledInfo {
    /// Name, type, shape and the range of its bytes in the file.
    pub info: TensorInfo,
    /// Whether the bytes are those of the transposed matrix.
    pub transposed: bool,
}

/// An open file of `torch.save`.
#[derive(Debug)]
pub struct PickledFile {
    path: PathBuf,
    file: DirectFile,
    /// Its tensors, in the order of the dictionary.
    pub tensors: Vec<PickledInfo>,
}

impl PickledFile {
    /// Opens a file and reads its pickle, but no tensor.
    pub fn open(path: &Path) -> Result<PickledFile, PickledError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let file = DirectFile::new(file);
        let tensors = read(length, &|buffer, offset| file.read_at(buffer, offset))?;
        Ok(PickledFile { path: path.to_owned(), file, tensors })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills `buffer` from an offset in the file.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }
}

/// Fills a buffer from an offset.
pub type ReadAt<'r> = &'r dyn Fn(&mut [u8], u64) -> io::Result<()>;

/// The tensors of a file of `length` bytes.
pub fn read(length: u64, read_at: ReadAt<'_>) -> Result<Vec<PickledInfo>, PickledError> {
    let members = zip::members(length, read_at)?;
    let pickles: Vec<&zip::Member> = members.iter().filter(|member| is_named(member, "data.pkl")).collect();
    let [pickle] = pickles[..] else { return Err(PickledError::NoPickle { found: pickles.len() }) };
    if pickle.size > MAX_PICKLE {
        return Err(PickledError::TooLong);
    }
    let prefix = pickle.name.strip_suffix("data.pkl").unwrap_or_default();
    let named: HashMap<&str, &zip::Member> =
        members.iter().filter_map(|member| Some((member.name.strip_prefix(prefix)?, member))).collect();
    if let Some(order) = named.get("byteorder").filter(|order| order.size <= 16) {
        let mut text = vec![0; order.size as usize];
        read_at(&mut text, order.start(length, read_at)?)?;
        if text != b"little" {
            return Err(PickledError::BigEndian);
        }
    }
    let mut program = vec![0; pickle.size as usize];
    read_at(&mut program, pickle.start(length, read_at)?)?;
    let mut tensors = Vec::new();
    for tensor in run(&program)? {
        let member = named.get(&*format!("data/{}", tensor.storage)).ok_or_else(|| missing(&tensor))?;
        let start = member.start(length, read_at)?;
        tensors.push(place(&tensor, start, member.size)?);
    }
    Ok(tensors)
}

/// Whether a member of the archive's one directory has this name.
fn is_named(member: &zip::Member, name: &str) -> bool {
    member.name.split_once('/').is_some_and(|(_, rest)| rest == name)
}

fn missing(tensor: &PickledTensor) -> PickledError {
    let key = tensor.storage.chars().take(40).collect();
    PickledError::Storage { tensor: tensor.name.clone(), key }
}

/// Where a tensor is whose storage has `size` bytes from `start` on.
fn place(tensor: &PickledTensor, start: u64, size: u64) -> Result<PickledInfo, PickledError> {
    let transposed = match layout(&tensor.shape, &tensor.strides) {
        Some(transposed) => transposed,
        None => {
            let (tensor, strides) = (tensor.name.clone(), tensor.strides.clone());
            return Err(PickledError::Strides { tensor, strides });
        }
    };
    let width = tensor.dtype.size() as u64;
    let elements = tensor.shape.iter().try_fold(1u64, |all, side| all.checked_mul(*side as u64));
    let first = (tensor.offset as u64).checked_mul(width);
    let range = elements
        .and_then(|elements| elements.checked_mul(width))
        .zip(first)
        .and_then(|(bytes, first)| Some(first..first.checked_add(bytes)?))
        .filter(|range| range.end <= size)
        .ok_or_else(|| missing(tensor))?;
    let range = start + range.start..start + range.end;
    let info =
        TensorInfo { name: tensor.name.clone(), dtype: tensor.dtype, shape: tensor.shape.clone(), range };
    Ok(PickledInfo { info, transposed })
}

/// Whether a matrix is stored transposed; `None` if elements are not stored one after the other.
fn layout(shape: &[usize], strides: &[usize]) -> Option<bool> {
    if shape.len() != strides.len() {
        return None;
    }
    let mut step = 1usize;
    let mut in_order = true;
    for (side, stride) in shape.iter().zip(strides).rev() {
        // The stride of an axis of one element, or of a tensor without elements, has no effect.
        in_order &= *side <= 1 || *stride == step;
        step = step.checked_mul(*side)?;
    }
    match (shape, strides) {
        _ if in_order || step == 0 => Some(false),
        ([rows, _], [1, columns_apart]) if columns_apart == rows => Some(true),
        _ => None,
    }
}
