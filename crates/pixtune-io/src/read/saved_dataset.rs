//! Directories that `save_to_disk` of `datasets` writes: Arrow files and the lists of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};

use super::ReadError;

/// The Arrow files of a saved dataset, or of all splits of a dictionary of datasets; `None` for another directory.
pub(super) fn files(directory: &Path) -> Result<Option<Vec<PathBuf>>, ReadError> {
    let Some(splits) = names(&directory.join("dataset_dict.json"), "splits", None)? else {
        return shards(directory);
    };
    let mut files = Vec::new();
    for split in splits {
        let split = directory.join(split);
        files.extend(shards(&split)?.ok_or_else(|| missing(split.join(STATE)))?);
    }
    Ok(Some(files))
}

const STATE: &str = "state.json";

fn shards(directory: &Path) -> Result<Option<Vec<PathBuf>>, ReadError> {
    let names = names(&directory.join(STATE), "_data_files", Some("filename"))?;
    Ok(names.map(|names| names.into_iter().map(|name| directory.join(name)).collect()))
}

/// A list of names in a JSON file, each in an object under a key where one is given; `None` where the file does not exist.
fn names(path: &Path, list: &str, key: Option<&str>) -> Result<Option<Vec<String>>, ReadError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReadError::Io { path: path.to_owned(), source }),
    };
    let invalid = |why: &str| ReadError::Malformed {
        path: path.to_owned(),
        format: "the list of a saved dataset",
        source: why.into(),
    };
    let parsed = json::parse(&text).map_err(|error| invalid(error.what))?;
    let names =
        parsed.value.get(list).and_then(Value::as_array).ok_or_else(|| invalid("it has no such list"))?;
    let name = |value: &Value<'_>| match key {
        Some(key) => value.text(key).map(str::to_owned),
        None => value.as_str().map(str::to_owned),
    };
    // A name is that of a file in the directory, never a path out of it.
    let is_name = |name: &String| !name.is_empty() && name != ".." && !name.contains(['/', '\\']);
    let names = names.iter().map(|value| name(value).filter(is_name));
    names
        .collect::<Option<Vec<_>>>()
        .map(Some)
        .ok_or_else(|| invalid("a name in the list is not that of a file"))
}

fn missing(path: PathBuf) -> ReadError {
    ReadError::Io { path, source: io::ErrorKind::NotFound.into() }
}
