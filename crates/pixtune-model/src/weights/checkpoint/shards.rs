//! Which files hold the weights of a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pixtune_core::json::Value;

use super::Format;
use crate::weights::config::{Note, read_json};
use crate::weights::error::{Problems, WeightsError};
use crate::weights::found::{Found, Wanted};
use crate::weights::safetensors::SafetensorsFile;

/// The format of a directory.
pub fn detect(directory: &Path) -> Result<Format, WeightsError> {
    match formats(directory)?.as_slice() {
        [format] => Ok(*format),
        [] => Err(no_checkpoint(directory)),
        _ => Err(WeightsError::BothFormats { path: directory.to_owned() }),
    }
}

/// The formats of which a directory holds weights.
pub fn formats(directory: &Path) -> Result<Vec<Format>, WeightsError> {
    let names = file_names(directory)?;
    let has = |format: &Format| {
        let stem = format.stem();
        names.contains(&format!("{stem}.safetensors"))
            || names.contains(&index_name(*format))
            || names.iter().any(|name| Numbered::parse(name, stem).is_some())
    };
    Ok([Format::Hf, Format::Mistral].into_iter().filter(has).collect())
}

/// Opens the files with the weights in this format, in the order of their names.
pub fn open(directory: &Path, format: Format) -> Result<Vec<SafetensorsFile>, WeightsError> {
    let names = file_names(directory)?;
    let single = format!("{}.safetensors", format.stem());
    let index = index_name(format);
    let numbered: Vec<Numbered> =
        names.iter().filter_map(|name| Numbered::parse(name, format.stem())).collect();
    let second =
        names.contains(&index).then(|| index.clone()).or(numbered.first().map(|shard| shard.name.clone()));
    match (names.contains(&single), second) {
        (true, Some(second)) => {
            Err(WeightsError::TwoSets { path: directory.to_owned(), files: [single, second] })
        }
        (true, None) => Ok(vec![SafetensorsFile::open(&directory.join(single))?]),
        (false, _) if names.contains(&index) => open_indexed(directory, &directory.join(index)),
        // Without an index Hugging Face's loaders find nothing; vLLM reads Mistral's shards by their names.
        (false, Some(_)) => open_numbered(directory, numbered),
        (false, None) => Err(no_checkpoint(directory)),
    }
}

fn open_indexed(directory: &Path, index: &Path) -> Result<Vec<SafetensorsFile>, WeightsError> {
    let map = read_index(index)?;
    let shards: BTreeSet<&String> = map.values().collect();
    let mut files = Vec::new();
    let mut problems = Problems::default();
    let mut missing = map.clone();
    for shard in shards {
        let path = directory.join(shard);
        if !path.exists() {
            problems.0.push(format!("`{shard}` is not there"));
            continue;
        }
        let file = SafetensorsFile::open(&path)?;
        for tensor in &file.header().tensors {
            match map.get(&tensor.name) {
                None => problems.0.push(format!("`{}` of `{shard}` is not in the index", tensor.name)),
                Some(place) if place != shard => {
                    problems.0.push(format!("`{}` is in `{shard}`, and should be in `{place}`", tensor.name));
                }
                Some(_) => {
                    missing.remove(&tensor.name);
                }
            }
        }
        files.push(file);
    }
    for (name, shard) in missing {
        if files.iter().any(|file| file.path().ends_with(&shard)) {
            problems.0.push(format!("`{name}` is not in `{shard}`"));
        }
    }
    match problems.0.is_empty() {
        true => Ok(files),
        false => Err(WeightsError::IndexDisagrees { index: index.to_owned(), problems }),
    }
}

/// The files of the tensors, as the index has them.
fn read_index(index: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    parse_index(index, &read_json(index)?)
}

/// The file of each tensor, as the index of a set of shards has it: names of files, none of which leads elsewhere. `index` is
/// for messages.
pub fn parse_index(index: &Path, value: &Value<'_>) -> Result<BTreeMap<String, String>, WeightsError> {
    let no_map = || WeightsError::Index { index: index.to_owned() };
    let members = value.get("weight_map").and_then(Value::as_object).ok_or_else(no_map)?;
    let mut map = BTreeMap::new();
    for (name, shard) in members {
        let shard = shard.as_str().ok_or_else(no_map)?;
        if !is_plain(shard) {
            return Err(WeightsError::ShardName { index: index.to_owned(), name: shard.to_owned() });
        }
        if map.insert(name.to_string(), shard.to_owned()).is_some() {
            return Err(WeightsError::IndexDuplicate { index: index.to_owned(), name: name.to_string() });
        }
    }
    Ok(map)
}

/// A file name and nothing else: no directory, nothing that leads out of the checkpoint.
fn is_plain(name: &str) -> bool {
    let path = Path::new(name);
    name.ends_with(".safetensors")
        && !name.contains(['/', '\\', '\0', ':'])
        && path.file_name().is_some_and(|only| only == path.as_os_str())
}

fn open_numbered(directory: &Path, numbered: Vec<Numbered>) -> Result<Vec<SafetensorsFile>, WeightsError> {
    let total = numbered.iter().map(|shard| shard.total).max().unwrap_or(0);
    let missing = |missing| WeightsError::ShardMissing { path: directory.to_owned(), missing };
    for (number, shard) in (1..).zip(&numbered) {
        if shard.number != number || shard.total != total {
            return Err(missing(format!("number {number} of {total}")));
        }
    }
    if numbered.len() as u32 != total {
        return Err(missing(format!("number {} of {total}", numbered.len() + 1)));
    }
    numbered.iter().map(|shard| Ok(SafetensorsFile::open(&directory.join(&shard.name))?)).collect()
}

/// A file of a set: `model-00001-of-00003.safetensors`.
struct Numbered {
    name: String,
    number: u32,
    total: u32,
}

impl Numbered {
    fn parse(name: &str, stem: &str) -> Option<Numbered> {
        let middle = name.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(".safetensors")?;
        let (number, total) = middle.split_once("-of-")?;
        Some(Numbered { name: name.to_owned(), number: number.parse().ok()?, total: total.parse().ok()? })
    }
}

fn index_name(format: Format) -> String {
    format!("{}.safetensors.index.json", format.stem())
}

fn file_names(directory: &Path) -> Result<BTreeSet<String>, WeightsError> {
    let io = |source| WeightsError::Io { path: directory.to_owned(), source };
    if !directory.metadata().map_err(io)?.is_dir() {
        let found = Found::at_file(directory, Wanted::Model);
        return Err(WeightsError::NotADirectory { path: directory.to_owned(), found });
    }
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        names.insert(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn no_checkpoint(directory: &Path) -> WeightsError {
    let found = Found::at_directory(directory, Wanted::Model);
    WeightsError::NoCheckpoint { path: directory.to_owned(), found }
}

/// What to know about the files beside the weights of a directory, or that are missing there.
pub fn notes(directory: &Path, format: Format, files: usize) -> Vec<Note> {
    let note = |text: String| Note { damage: false, text };
    let index = index_name(format);
    let no_index = format == Format::Hf && files > 1 && !directory.join(&index).exists();
    let beside = directory.join("adapter_config.json").exists();
    let no_index = no_index.then(|| {
        note(format!(
            "`{index}` is missing: transformers finds no weights without it, and vLLM loads the shards by their names; \
             `pixtune convert` writes it"
        ))
    });
    let beside = beside.then(|| {
        note(
            "an adapter lies beside the weights: transformers loads the base that adapter_config.json names, with the adapter, \
             and vLLM the weights here; move the adapter to a directory of its own"
                .to_owned(),
        )
    });
    no_index.into_iter().chain(beside).collect()
}
