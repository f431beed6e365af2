//! The files of a dataset and the split of each.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_core::split::{GivenSplit, split_of_path};
use pixtune_io::manifest::{MANIFEST, Manifest, ManifestError};
use pixtune_io::provenance::PROVENANCE;

use crate::ExportError;

/// A file of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitFile {
    /// Its name in messages.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its split: that in its name, else training.
    pub split: GivenSplit,
    /// Its length when it was found.
    pub bytes: u64,
}

/// A dataset.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its files: by split, then as given.
    pub files: Vec<SplitFile>,
    /// What `prepare` wrote about it.
    pub manifest: Option<Manifest>,
}

impl Source {
    /// Finds the files of samples: in directories that `prepare` made or that hold JSON Lines, or files.
    pub fn open(given: &[PathBuf]) -> Result<Source, ExportError> {
        let mut source = Source::default();
        for path in given {
            let unreadable = |source| ExportError::Directory { path: path.clone(), source };
            let about = fs::metadata(path).map_err(unreadable)?;
            if about.is_dir() {
                source.directory(path)?;
            } else {
                source.file(path, path.display().to_string(), about.len());
                let parent = path.parent().unwrap_or(Path::new(""));
                let manifest = read_manifest(parent)?.filter(|manifest| manifest.output(path).is_some());
                source.manifest = source.manifest.or(manifest);
            }
        }
        source.files.sort_by_key(|file| file.split);
        Ok(source)
    }

    fn file(&mut self, path: &Path, name: String, bytes: u64) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let split = split_of_path(std::iter::empty(), &file).unwrap_or(GivenSplit::Train);
        self.files.push(SplitFile { name, path: path.to_owned(), split, bytes });
    }

    fn directory(&mut self, directory: &Path) -> Result<(), ExportError> {
        let unreadable = |source: io::Error| ExportError::Directory { path: directory.to_owned(), source };
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let about = fs::metadata(&path).map_err(unreadable)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if about.is_file() && holds_samples(&name) {
                found.insert(name, (path, about.len()));
            }
        }
        if found.is_empty() {
            return Err(ExportError::NoSamples { path: directory.to_owned() });
        }
        self.manifest = self.manifest.take().or(read_manifest(directory)?);
        for (name, (path, bytes)) in found {
            self.file(&path, name, bytes);
        }
        Ok(())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Whether a file of a directory holds samples, by its name: `prepare` writes others beside them.
fn holds_samples(name: &str) -> bool {
    let lines = name.ends_with(".jsonl") || name.ends_with(".ndjson");
    let beside = name == PROVENANCE
        || ["rejected", "references-", "metadata"].iter().any(|start| name.starts_with(start));
    lines && !beside
}

fn read_manifest(directory: &Path) -> Result<Option<Manifest>, ExportError> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let path = directory.join(MANIFEST);
    Manifest::read(directory).map_err(|error| match error {
        ManifestError::Io(source) => ExportError::Directory { path, source },
        error => ExportError::Manifest { path, reason: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_directory_gives_its_samples_by_split() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "validation.jsonl",
            "train-00002-of-00002.jsonl",
            "train-00001-of-00002.jsonl",
            "test.jsonl",
            "rejected.jsonl",
            "provenance.jsonl",
            "references-validation.jsonl",
            "note.txt",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let source = Source::open(&[directory.path().to_owned()]).unwrap();
        let names: Vec<_> =
            source.files.iter().map(|file| (file.name.as_str(), file.split.as_str())).collect();
        assert_eq!(
            names,
            [
                ("train-00001-of-00002.jsonl", "train"),
                ("train-00002-of-00002.jsonl", "train"),
                ("validation.jsonl", "validation"),
                ("test.jsonl", "test"),
            ]
        );
    }

    #[test]
    fn nothing_to_export_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("rejected.jsonl"), "").unwrap();
        let open = |path: &Path| Source::open(&[path.to_owned()]);
        assert!(matches!(open(directory.path()), Err(ExportError::NoSamples { .. })));
        assert!(matches!(open(&directory.path().join("none")), Err(ExportError::Directory { .. })));
    }
}
