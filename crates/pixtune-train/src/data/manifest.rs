//! Which files hold the data, and what the manifest beside them says they were prepared for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};

use super::DataError;

/// What `pixtune prepare` says about the data it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where it stands.
    pub path: PathBuf,
    /// The model the images were fitted to and the tokens counted for.
    pub model: String,
    /// BLAKE3 of the tokenizer file that counted; `None` for the built-in one.
    pub tokenizer: Option<String>,
    /// Name and BLAKE3 of each file it wrote.
    pub outputs: Vec<(String, String)>,
}

/// The files of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFiles {
    /// What is trained on.
    pub train: Vec<PathBuf>,
    /// What is held out; perhaps none.
    pub validation: Vec<PathBuf>,
    /// What they were prepared for, where that is written down.
    pub manifest: Option<Manifest>,
}

/// A manifest is a few kilobytes.
const LARGEST_MANIFEST: u64 = 16 << 20;

/// Finds the files of `data`: a directory that `prepare` made, or one file. `validation` replaces the directory's own.
pub fn data_files(data: &Path, validation: Option<&Path>) -> Result<DataFiles, DataError> {
    let broken = |source| DataError::Read { path: data.to_owned(), source };
    let about = fs::metadata(data).map_err(broken)?;
    let directory = if about.is_dir() { Some(data) } else { data.parent() };
    let manifest = directory.map(Manifest::beside).transpose()?.flatten();
    let given = validation.map(|path| vec![path.to_owned()]);
    if !about.is_dir() {
        let manifest = manifest.filter(|manifest| manifest.names(data));
        return Ok(DataFiles {
            train: vec![data.to_owned()],
            validation: given.unwrap_or_default(),
            manifest,
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
    Ok(DataFiles { train, validation, manifest })
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

impl Manifest {
    fn beside(directory: &Path) -> Result<Option<Manifest>, DataError> {
        let path = directory.join("manifest.json");
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(about) if about.len() > LARGEST_MANIFEST => {
                let reason = format!("it has more than {LARGEST_MANIFEST} bytes");
                return Err(DataError::Manifest { path, reason });
            }
            _ => {}
        }
        let text =
            fs::read_to_string(&path).map_err(|source| DataError::Read { path: path.clone(), source })?;
        match Manifest::parse(&path, &text) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(reason) => Err(DataError::Manifest { path, reason }),
        }
    }

    /// Reads the text of a manifest that lies at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Manifest, String> {
        let parsed = json::parse(text).map_err(|error| error.to_string())?.value;
        let plan = parsed.get("plan").ok_or("it has no `plan`")?;
        let model = plan.get("model").and_then(Value::as_str).ok_or("its plan has no `model`")?;
        let text = |value: &Value<'_>, key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let outputs = parsed.get("outputs").and_then(Value::as_array).ok_or("it has no `outputs`")?;
        Ok(Manifest {
            path: path.to_owned(),
            model: model.to_owned(),
            tokenizer: plan.get("tokenizer").and_then(|tokenizer| text(tokenizer, "blake3")),
            outputs: outputs
                .iter()
                .filter_map(|output| Some((text(output, "path")?, text(output, "blake3")?)))
                .collect(),
        })
    }

    fn names(&self, file: &Path) -> bool {
        self.hash_of(file).is_some()
    }

    /// The BLAKE3 that the file had when it was written.
    pub fn hash_of(&self, file: &Path) -> Option<&str> {
        let name = file.file_name()?.to_str()?;
        self.outputs.iter().find(|(output, _)| output == name).map(|(_, blake3)| blake3.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"plan":{"model":"pixtral-12b","tokenizer":null},
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
        fs::write(path("manifest.json"), MANIFEST).unwrap();
        let files = data_files(directory.path(), None).unwrap();
        assert_eq!(files.train, [path("train-00001-of-00002.jsonl"), path("train-00002-of-00002.jsonl")]);
        assert_eq!(files.validation, [path("validation.jsonl")]);
        assert_eq!(files.manifest.as_ref().unwrap().model, "pixtral-12b");
        let other = data_files(directory.path(), Some(&path("v.jsonl"))).unwrap();
        assert_eq!(other.validation, [path("v.jsonl")]);
    }

    #[test]
    fn a_manifest_counts_for_the_files_it_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("train.jsonl"), "").unwrap();
        fs::write(path("other.jsonl"), "").unwrap();
        fs::write(path("manifest.json"), MANIFEST).unwrap();
        assert!(data_files(&path("train.jsonl"), None).unwrap().manifest.is_some());
        assert!(data_files(&path("other.jsonl"), None).unwrap().manifest.is_none());
    }

    #[test]
    fn what_is_no_manifest_is_an_error_with_a_reason() {
        for (text, reason) in [("", "the text ends"), ("{}", "no `plan`"), (r#"{"plan":{}}"#, "no `model`")] {
            let error = Manifest::parse(Path::new("m"), text).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(data_files(directory.path(), None), Err(DataError::Missing { .. })));
        assert!(matches!(data_files(&directory.path().join("none"), None), Err(DataError::Read { .. })));
    }
}
