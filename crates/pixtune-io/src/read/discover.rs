//! Finding the inputs: files, globs, image folders and standard input.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pixtune_files::{Existing, WholeFile};

use super::ReadError;
use super::array::starts_array;
use super::records::Framing;

/// One file of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in messages: the path as the user gave it, `-` for standard input.
    pub name: String,
    /// Where its bytes are.
    pub path: PathBuf,
    /// What relative images are relative to.
    pub directory: PathBuf,
    /// How its rows end.
    pub framing: Framing,
}

/// Resolves what was given on the command line, in that order; matches of a glob and files of a directory are
/// sorted by name. Standard input (`-`) is first copied to `stdin_copy`, because rows may be read again.
pub fn discover(given: &[String], stdin_copy: &Path) -> Result<Vec<Input>, ReadError> {
    let mut inputs = Vec::new();
    for name in given {
        if name == "-" {
            let path = stdin_copy.to_owned();
            let framing = sniff_framing(&path)?;
            inputs.push(Input { name: name.clone(), path, directory: PathBuf::from("."), framing });
            continue;
        }
        for path in expand(name)? {
            if path.is_dir() {
                for metadata in image_folder(&path)? {
                    inputs.push(file(metadata)?);
                }
            } else {
                inputs.push(file(path)?);
            }
        }
    }
    refuse_repeats(&inputs)?;
    Ok(inputs)
}

/// Files of conversations, in order: a directory stands for the JSON Lines in it, sorted by name, without the rows that
/// `prepare` rejected.
pub fn conversation_files(given: &[PathBuf]) -> Result<Vec<PathBuf>, ReadError> {
    let mut files = Vec::new();
    for path in given {
        if path.is_dir() {
            files.extend(conversations_in(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn conversations_in(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let broken = |source| ReadError::Io { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(broken)? {
        let path = entry.map_err(broken)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if matches!(extension(&path).as_str(), "jsonl" | "ndjson")
            && !name.starts_with("rejected")
            && path.is_file()
        {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(ReadError::NoConversations { path: directory.to_owned() });
    }
    found.sort();
    Ok(found)
}

/// Whether a file is one JSON array: it is called `.json` and starts with a bracket. In a file of another name a line that is
/// an array is a mistake of that line.
pub fn is_array(path: &Path) -> Result<bool, ReadError> {
    Ok(extension(path) == "json" && path.is_file() && starts_array(&first_bytes(path)?))
}

/// Refuses what is no directory.
pub fn refuse_all_but_directories(path: &Path) -> Result<(), ReadError> {
    let broken = |source| ReadError::Io { path: path.to_owned(), source };
    fs::read_dir(path).map(|_| ()).map_err(broken)
}

/// Refuses what is no file of lines: a table, one array, text in another encoding.
pub fn refuse_all_but_lines(path: &Path) -> Result<(), ReadError> {
    if is_table(path) {
        return Err(ReadError::Table { path: path.to_owned() });
    }
    if is_array(path)? {
        return Err(ReadError::Array { path: path.to_owned() });
    }
    refuse_other_encodings(path)
}

/// Whether a name is that of a table, which has no conversations.
pub fn is_table(path: &Path) -> bool {
    matches!(extension(path).as_str(), "csv" | "tsv" | "tab")
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase()
}

/// Copies standard input to a file, so that it can be read twice and resumed. A copy that is not whole is not kept: a
/// resumed run would take it for the input.
pub fn keep_stdin(copy: &Path) -> Result<(), ReadError> {
    let copied = || {
        copy.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = WholeFile::create(copy, Existing::Replace)?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        file.commit()
    };
    copied().map_err(|source| ReadError::Io { path: copy.to_owned(), source })
}

fn file(path: PathBuf) -> Result<Input, ReadError> {
    let framing = match extension(&path).as_str() {
        "csv" => Framing::Table { separator: b',' },
        "tsv" | "tab" => Framing::Table { separator: b'\t' },
        "jsonl" | "ndjson" => Framing::Lines,
        _ => sniff_framing(&path)?,
    };
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    refuse_other_encodings(&path)?;
    Ok(Input { name: path.display().to_string(), path, directory, framing })
}

/// A path that exists is itself; otherwise a pattern must match something.
fn expand(name: &str) -> Result<Vec<PathBuf>, ReadError> {
    let path = PathBuf::from(name);
    let Err(source) = path.metadata() else { return Ok(vec![path]) };
    if !name.contains(['*', '?', '[']) {
        return Err(ReadError::Io { path, source });
    }
    let matches =
        glob::glob(name).map_err(|source| ReadError::Pattern { pattern: name.to_owned(), source })?;
    let mut paths = Vec::new();
    for found in matches {
        paths.push(
            found.map_err(|error| ReadError::Io { path: error.path().to_owned(), source: error.into() })?,
        );
    }
    if paths.is_empty() {
        return Err(ReadError::NoMatch { pattern: name.to_owned() });
    }
    Ok(paths)
}

/// The metadata files of a Hugging Face image folder, at any depth; a directory is entered once, so links that
/// lead in circles end.
fn image_folder(root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut found = Vec::new();
    let mut entered = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        let broken = |source| ReadError::Io { path: directory.clone(), source };
        if !entered.insert(fs::canonicalize(&directory).map_err(broken)?) {
            continue;
        }
        for entry in fs::read_dir(&directory).map_err(broken)? {
            let path = entry.map_err(broken)?.path();
            if path.is_dir() {
                open.push(path);
            } else if ["metadata.csv", "metadata.jsonl"].iter().any(|name| path.ends_with(name)) {
                found.push(path);
            }
        }
    }
    if found.is_empty() {
        return Err(ReadError::NoMetadata { path: root.to_owned() });
    }
    found.sort();
    Ok(found)
}

fn refuse_repeats(inputs: &[Input]) -> Result<(), ReadError> {
    let mut seen = BTreeSet::new();
    for input in inputs {
        let canonical = fs::canonicalize(&input.path).unwrap_or_else(|_| input.path.clone());
        if !seen.insert(canonical) {
            return Err(ReadError::Twice { name: input.name.clone() });
        }
    }
    Ok(())
}

fn first_bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
    let broken = |source| ReadError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(broken)?.take(64 << 10).read_to_end(&mut bytes).map_err(broken)?;
    Ok(bytes)
}

/// JSON starts with a bracket; a table's first line has more tabs or more commas.
fn sniff_framing(path: &Path) -> Result<Framing, ReadError> {
    let bytes = first_bytes(path)?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(&bytes).trim_ascii_start();
    match text.first() {
        Some(b'{') => Ok(Framing::Lines),
        Some(b'[') => Ok(Framing::Array),
        _ => {
            let header = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let count = |wanted: u8| header.iter().filter(|byte| **byte == wanted).count();
            Ok(Framing::Table { separator: if count(b'\t') > count(b',') { b'\t' } else { b',' } })
        }
    }
}

fn refuse_other_encodings(path: &Path) -> Result<(), ReadError> {
    match encoding_of(&first_bytes(path)?) {
        Some(encoding) => Err(ReadError::Encoding { path: path.to_owned(), encoding }),
        None => Ok(()),
    }
}

/// What a file that starts like this is, if it is no UTF-8 text at all.
pub fn encoding_of(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [0x1f, 0x8b, ..] => Some("gzip-compressed"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd-compressed"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive (an .xlsx workbook?)"),
        [b'P', b'A', b'R', b'1', ..] => Some("Parquet"),
        [b'B', b'Z', b'h', ..] => Some("bzip2-compressed"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("xz-compressed"),
        [b'%', b'P', b'D', b'F', ..] => Some("a PDF"),
        [0x89, b'P', b'N', b'G', ..]
        | [0xff, 0xd8, 0xff, ..]
        | [b'G', b'I', b'F', b'8', ..]
        | [b'R', b'I', b'F', b'F', ..] => Some("an image"),
        _ => None,
    }
}
