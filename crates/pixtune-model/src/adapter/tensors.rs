//! The tensors of an adapter, in one or several files, pickled or not, as peft stores them.
//!
//! The files' bytes have one range of offsets, one file after the other, so that a [`TensorInfo`] is enough to find a tensor.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::error::AdapterError;
use crate::weights::pickled::PickledFile;
use crate::weights::safetensors::{SafetensorsFile, TensorInfo};

/// An open file.
#[derive(Debug)]
enum Source {
    Safetensors(SafetensorsFile),
    Pickled(PickledFile),
}

/// The tensors of an adapter.
#[derive(Debug)]
pub struct Tensors {
    path: PathBuf,
    /// The first offset of each file, in rising order.
    files: Vec<(u64, Source)>,
    infos: Vec<TensorInfo>,
    /// Names of matrices that are stored transposed.
    transposed: HashSet<String>,
}

impl Tensors {
    /// Opens files by their names: pickled ones end in `.bin`, `.pt` or `.pth`.
    pub fn open(paths: &[PathBuf]) -> Result<Tensors, AdapterError> {
        let path = paths.first().cloned().unwrap_or_default();
        let mut tensors = Tensors { path, files: Vec::new(), infos: Vec::new(), transposed: HashSet::new() };
        let mut start = 0u64;
        for path in paths {
            start = tensors.add(path, start)?;
        }
        Ok(tensors)
    }

    /// Adds a file from an offset on; the offset after its last byte.
    fn add(&mut self, path: &Path, start: u64) -> Result<u64, AdapterError> {
        let is_pickled =
            path.extension().is_some_and(|end| ["bin", "pt", "pth"].iter().any(|own| end == *own));
        let mut end = start;
        let mut place = |mut info: TensorInfo| {
            // Files have less than 63 bits of bytes, and there are few of them.
            info.range = start.saturating_add(info.range.start)..start.saturating_add(info.range.end);
            end = end.max(info.range.end);
            info
        };
        let source = if is_pickled {
            let file = PickledFile::open(path).map_err(|source| AdapterError::Pickled {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
            for found in &file.tensors {
                if found.transposed {
                    self.transposed.insert(found.info.name.clone());
                }
                self.infos.push(place(found.info.clone()));
            }
            Source::Pickled(file)
        } else {
            let file = SafetensorsFile::open(path)?;
            self.infos.extend(file.header().tensors.iter().cloned().map(place));
            Source::Safetensors(file)
        };
        self.files.push((start, source));
        Ok(end)
    }

    /// The file, or the first of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors, in the order of the files.
    pub fn all(&self) -> &[TensorInfo] {
        &self.infos
    }

    /// Keeps some of the tensors.
    pub fn retain(&mut self, keep: impl Fn(&TensorInfo) -> bool) {
        self.infos.retain(keep);
    }

    /// Gives every tensor another name, and transposes it if it is a matrix.
    pub fn rename_transposed(&mut self, rename: impl Fn(&TensorInfo) -> String) {
        let before = std::mem::take(&mut self.transposed);
        for info in &mut self.infos {
            let name = rename(info);
            if let [rows, columns] = info.shape[..] {
                info.shape = vec![columns, rows];
                if !before.contains(&info.name) {
                    self.transposed.insert(name.clone());
                }
            }
            info.name = name;
        }
    }

    /// Fills `bytes` with the elements of a tensor from the element `first` on.
    pub fn read(&self, tensor: &TensorInfo, first: usize, bytes: &mut [u8]) -> Result<(), AdapterError> {
        let size = tensor.dtype.size();
        let [rows, columns] = match tensor.shape[..] {
            [rows, columns] if self.transposed.contains(&tensor.name) => [rows, columns],
            _ => return self.read_at(bytes, tensor.range.start + (first * size) as u64),
        };
        // Low-rank factors are narrow: reading one as a whole costs less than many short reads.
        let mut stored = vec![0; usize::try_from(tensor.bytes()).unwrap_or(usize::MAX)];
        self.read_at(&mut stored, tensor.range.start)?;
        for (index, element) in bytes.chunks_exact_mut(size).enumerate() {
            let (row, column) = ((first + index) / columns, (first + index) % columns);
            let at = (column * rows + row) * size;
            element.copy_from_slice(&stored[at..at + size]);
        }
        Ok(())
    }

    /// Fills `bytes` from an offset on.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), AdapterError> {
        let after = self.files.partition_point(|(start, _)| *start <= offset);
        let Some((start, source)) = after.checked_sub(1).map(|index| &self.files[index]) else {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(AdapterError::Io { path: self.path.clone(), source });
        };
        match source {
            Source::Safetensors(file) => Ok(file.read_at(bytes, offset - start)?),
            Source::Pickled(file) => file
                .read_at(bytes, offset - start)
                .map_err(|source| AdapterError::Io { path: file.path().to_owned(), source }),
        }
    }
}
