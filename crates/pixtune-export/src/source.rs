//! The files of a dataset and the split of each.

use std::path::{Path, PathBuf};

use pixtune_core::split::{GivenSplit, split_of_path};
use pixtune_io::manifest::{MANIFEST, Manifest, ManifestError};
use pixtune_io::read::discover::conversation_files;

use crate::ExportError;

/// A file of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitFile {
    /// Its name in messages: as given, or its name in the directory that was given.
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
    /// A note for the user about each file that was given and is passed over.
    pub notes: Vec<String>,
    /// What `prepare` wrote about it.
    pub manifest: Option<Manifest>,
}

impl Source {
    /// Finds the files of samples: in directories that `prepare` made or that hold JSON Lines, or files.
    pub fn open(given: &[PathBuf]) -> Result<Source, ExportError> {
        let found = conversation_files(given)?;
        let mut source = Source { notes: found.notes, ..Source::default() };
        for path in found.files {
            let name = match given.contains(&path) {
                true => path.display().to_string(),
                false => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            };
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let split = split_of_path(std::iter::empty(), &file).unwrap_or(GivenSplit::Train);
            let bytes = path.metadata().map_or(0, |about| about.len());
            if source.manifest.is_none() {
                source.manifest = manifest_of(&path)?;
            }
            source.files.push(SplitFile { name, path, split, bytes });
        }
        source.files.sort_by_key(|file| file.split);
        Ok(source)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// The manifest beside a file that lists it.
fn manifest_of(file: &Path) -> Result<Option<Manifest>, ExportError> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path = directory.join(MANIFEST);
    let manifest = Manifest::read(directory).map_err(|error| match error {
        ManifestError::Io(source) => ExportError::Directory { path, source },
        error => ExportError::Manifest { path, reason: error.to_string() },
    })?;
    Ok(manifest.filter(|manifest| manifest.output(file).is_some()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_prepared_directory_gives_its_samples_by_split() {
        let directory = tempfile::tempdir().unwrap();
        let names = [
            "validation.jsonl",
            "train-00002-of-00002.jsonl",
            "train-00001-of-00002.jsonl",
            "test.jsonl",
            "rejected.jsonl",
            "provenance.jsonl",
            "references-validation.jsonl",
            "note.txt",
        ];
        for name in names {
            fs::write(directory.path().join(name), "{}\n").unwrap();
        }
        let source = Source::open(&[directory.path().to_owned()]).unwrap();
        let found: Vec<_> =
            source.files.iter().map(|file| (file.name.as_str(), file.split.as_str())).collect();
        let expected = [
            ("train-00001-of-00002.jsonl", "train"),
            ("train-00002-of-00002.jsonl", "train"),
            ("validation.jsonl", "validation"),
            ("test.jsonl", "test"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_to_export_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("rejected.jsonl"), "").unwrap();
        assert!(matches!(Source::open(&[directory.path().to_owned()]), Err(ExportError::Read(_))));
    }
}
