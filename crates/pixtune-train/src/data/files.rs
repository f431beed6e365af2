//! The files of a run, and the manifest of the dataset they are from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_io::manifest::{MANIFEST, Manifest, ManifestError};

use super::DataError;

/// The files of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFiles {
    /// What is trained on.
    pub train: Vec<PathBuf>,
    /// What is held out; perhaps none.
    pub validation: Vec<PathBuf>,
    /// How they were prepared, if a manifest lists them.
    pub manifest: Option<Manifest>,
    /// Where the manifest is.
    pub manifest_path: PathBuf,
}

/// Finds the files of `data`: a directory that `prepare` made, or one file. `validation` replaces the directory's own.
pub fn data_files(data: &Path, validation: Option<&Path>) -> Result<DataFiles, DataError> {
    let broken = |source| DataError::Read { path: data.to_owned(), source };
    let about = fs::metadata(data).map_err(broken)?;
    let directory = if about.is_dir() { Some(data) } else { data.parent() };
    let manifest = directory.map(read_manifest).transpose()?.flatten();
    let manifest_path = directory.unwrap_or(data).join(MANIFEST);
    let given = validation.map(|path| vec![path.to_owned()]);
    if !about.is_dir() {
        let manifest = manifest.filter(|manifest| manifest.output(data).is_some());
        return Ok(DataFiles {
            train: vec![data.to_owned()],
            validation: given.unwrap_or_default(),
            manifest,
            manifest_path,
        });
    }
    let train = shards(data, "train").map_err(broken)?;
    if train.is_empty() {
        return Err(DataError::Missing { path: data.to_owned(), what: "train.jsonl" });
    }
    let validation = match given {
        Some(given) => given,
        None => shards(data, "validation").map_err(broken)?,
    };
    Ok(DataFiles { train, validation, manifest, manifest_path })
}

/// `NAME.jsonl`, or `NAME-00001-of-00003.jsonl` and what follows it.
fn shards(directory: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let whole = directory.join(format!("{name}.jsonl"));
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let middle = file.strip_prefix(name).and_then(|rest| rest.strip_suffix(".jsonl"));
        if middle.is_some_and(|middle| middle.starts_with('-') && middle.contains("-of-")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The manifest in a directory, if there is one.
fn read_manifest(directory: &Path) -> Result<Option<Manifest>, DataError> {
    let path = directory.join(MANIFEST);
    Manifest::read(directory).map_err(|error| match error {
        ManifestError::Io(source) => DataError::Read { path, source },
        error => DataError::Manifest { path, reason: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"plan":{"model":"pixtral-12b","tokenizer":null},
        "outputs":[{"path":"train.jsonl","bytes":1,"lines":1,"blake3":"ab"}]}"#;

    #[test]
    fn a_directory_gives_its_files_and_what_they_are_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in
            ["train-00002-of-00002.jsonl", "train-00001-of-00002.jsonl", "validation.jsonl", "trainer.jsonl"]
        {
            fs::write(path(name), "").unwrap();
        }
        fs::write(path(MANIFEST), TEXT).unwrap();
        let files = data_files(directory.path(), None).unwrap();
        assert_eq!(files.train, [path("train-00001-of-00002.jsonl"), path("train-00002-of-00002.jsonl")]);
        assert_eq!(files.validation, [path("validation.jsonl")]);
        assert_eq!(files.manifest.as_ref().unwrap().model(), "pixtral-12b");
        let other = data_files(directory.path(), Some(&path("v.jsonl"))).unwrap();
        assert_eq!(other.validation, [path("v.jsonl")]);
    }

    #[test]
    fn a_manifest_counts_for_the_files_it_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("train.jsonl"), "").unwrap();
        fs::write(path("other.jsonl"), "").unwrap();
        fs::write(path(MANIFEST), TEXT).unwrap();
        assert!(data_files(&path("train.jsonl"), None).unwrap().manifest.is_some());
        assert!(data_files(&path("other.jsonl"), None).unwrap().manifest.is_none());
    }

    #[test]
    fn rejects_other_manifests_and_missing_files() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(data_files(directory.path(), None), Err(DataError::Missing { .. })));
        fs::write(directory.path().join(MANIFEST), "{}").unwrap();
        assert!(matches!(data_files(directory.path(), None), Err(DataError::Manifest { .. })));
        assert!(matches!(data_files(&directory.path().join("none"), None), Err(DataError::Read { .. })));
    }
}
