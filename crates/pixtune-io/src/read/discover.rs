//! Finding the inputs: files, globs, image folders and standard input.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_files::{Existing, WholeFile};

use super::format::extension;
use super::{Input, ReadError, TextChoice, braces, saved_dataset};
use crate::manifest::MANIFEST;
use crate::remote::{self, RemoteError};
use crate::side_files;

/// Resolves what was given on the command line, in that order; matches of a glob and files of a directory are
/// sorted by name. Standard input (`-`) is first copied to `stdin_copy`, because rows may be read again.
pub fn discover(given: &[String], stdin_copy: &Path, choice: &TextChoice) -> Result<Vec<Input>, ReadError> {
    let mut inputs = Vec::new();
    for name in given {
        if name == "-" {
            inputs.push(Input::of_stdin(stdin_copy, choice)?);
            continue;
        }
        for path in expand(name)? {
            let files = match path.is_dir() {
                _ if remote::is_remote(&path) => objects_of_rows(&path)?,
                true => files_in(&path)?,
                false => vec![path],
            };
            for file in files {
                inputs.extend(Input::all_of(file, choice)?);
            }
        }
    }
    refuse_repeats(&inputs)?;
    forget_one_split(&mut inputs);
    Ok(inputs)
}

/// Where every input is of one split, the user has chosen it, and nothing is split yet.
fn forget_one_split(inputs: &mut [Input]) {
    let first = inputs.first().and_then(|input| input.split);
    if inputs.iter().all(|input| input.split == first) {
        inputs.iter_mut().for_each(|input| input.split = None);
    }
}

/// Files of conversations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversations {
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// A note for the user about each file that was given and is passed over.
    pub notes: Vec<String>,
}

/// Finds the files of conversations: a directory stands for the JSON Lines in it, sorted by name, without the rows that
/// `prepare` rejected. Files of a prepared dataset that have no samples are passed over, as shell patterns match them too: lists
/// beside the samples, and splits to which no sample belongs.
pub fn conversation_files(given: &[PathBuf]) -> Result<Conversations, ReadError> {
    let (mut files, mut others) = (Vec::new(), Vec::new());
    for path in given {
        if remote::is_remote(path) {
            files.extend(conversation_objects(path)?);
        } else if path.is_dir() {
            files.extend(conversations_in(path)?);
        } else if let Some(what) = side_files::recognize(path) {
            others.push((path.as_path(), what));
        } else {
            files.push(path.clone());
        }
    }
    let mut notes = notes_about_side_files(&others, files.is_empty())?;
    if files.iter().any(|path| !is_empty(path)) {
        files.retain(|path| {
            let is_unused = is_empty(path) && path.with_file_name(MANIFEST).is_file();
            if is_unused {
                notes.push(format!("{}: not read: it has no samples", path.display()));
            }
            !is_unused
        });
    }
    Ok(Conversations { files, notes })
}

/// The objects of conversations that a URL stands for: those that match a pattern, those below a prefix that ends with a
/// slash, or the one that it names.
pub(crate) fn conversation_objects(url: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let found = objects(url, &|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        matches!(extension(path).as_str(), "jsonl" | "ndjson")
            && !name.starts_with("rejected")
            && !side_files::is_named(&name)
    })?;
    match found {
        Some(found) if found.is_empty() => Err(ReadError::NoConversations { path: url.to_owned() }),
        Some(found) => Ok(found),
        None => Ok(vec![url.to_owned()]),
    }
}

/// The objects below a URL that ends with a slash, of which this is true, or all that match a pattern; `None` for the URL of one
/// object. In the URL of a web page, `?` begins a query.
fn objects(url: &Path, is_meant: &dyn Fn(&Path) -> bool) -> Result<Option<Vec<PathBuf>>, ReadError> {
    let broken = |error: RemoteError| ReadError::Io { path: url.to_owned(), source: error.into() };
    let text = url.to_string_lossy();
    let is_web = text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
    let wild: &[char] = if is_web { &['*'] } else { &['*', '?', '['] };
    if let Some(at) = text.find(wild) {
        let below = &text[..text[..at].rfind('/').unwrap_or(at)];
        let pattern = glob::Pattern::new(&text)
            .map_err(|source| ReadError::Pattern { pattern: text.to_string(), source })?;
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        let mut found = remote::list(Path::new(below)).map_err(broken)?;
        found.retain(|path| path.to_str().is_some_and(|path| pattern.matches_with(path, options)));
        return match found.is_empty() {
            true => Err(ReadError::NoMatch { pattern: text.into_owned() }),
            false => Ok(Some(found)),
        };
    }
    if !text.ends_with('/') {
        return Ok(None);
    }
    let mut found = remote::list(url).map_err(broken)?;
    found.retain(|path| is_meant(path));
    Ok(Some(found))
}

/// The objects of rows below a prefix: the metadata of an image folder, or else all Parquet files.
fn objects_of_rows(url: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let is_metadata =
        |path: &Path| ["metadata.csv", "metadata.jsonl"].iter().any(|name| path.ends_with(name));
    let is_meant = |path: &Path| is_metadata(path) || extension(path) == "parquet";
    let Some(mut found) = objects(url, &is_meant)? else { return Ok(vec![url.to_owned()]) };
    if url.to_string_lossy().ends_with('/') && found.iter().any(|path| is_metadata(path)) {
        found.retain(|path| is_metadata(path));
    }
    match found.is_empty() {
        true => Err(ReadError::NoMetadata { path: url.to_owned() }),
        false => Ok(found),
    }
}

/// A note for the user about each file that has something else than samples and is passed over; an error if nothing else is
/// given.
pub(crate) fn notes_about_side_files(
    passed_over: &[(&Path, &'static str)],
    is_all: bool,
) -> Result<Vec<String>, ReadError> {
    if let [(path, what), ..] = *passed_over
        && is_all
    {
        return Err(ReadError::SideFile { path: path.to_owned(), what });
    }
    let note =
        |(path, what): &(&Path, &str)| format!("{}: not read: it lists {what}, not samples", path.display());
    Ok(passed_over.iter().map(note).collect())
}

fn conversations_in(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let broken = |source| ReadError::Io { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(broken)? {
        let path = entry.map_err(broken)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if matches!(extension(&path).as_str(), "jsonl" | "ndjson")
            && !name.starts_with("rejected")
            && !side_files::is_named(&name)
            && path.is_file()
        {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(ReadError::NoConversations { path: directory.to_owned() });
    }
    // `prepare` writes every split, and reports which ones are empty.
    if directory.join(MANIFEST).is_file() && found.iter().any(|path| !is_empty(path)) {
        found.retain(|path| !is_empty(path));
    }
    found.sort();
    Ok(found)
}

fn is_empty(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() == 0)
}

/// Refuses a path that is not a directory. A URL is taken for a prefix: stores have no directories.
pub fn refuse_all_but_directories(path: &Path) -> Result<(), ReadError> {
    if remote::is_remote(path) {
        return Ok(());
    }
    let broken = |source| ReadError::Io { path: path.to_owned(), source };
    fs::read_dir(path).map(|_| ()).map_err(broken)
}

/// Copies standard input to a file, so that it can be read twice and resumed. An incomplete copy is not kept: a resumed run
/// would read it as the input.
pub fn keep_stdin(copy: &Path) -> Result<(), ReadError> {
    let copied = || {
        copy.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut file = WholeFile::create(copy, Existing::Replace)?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        file.commit()
    };
    copied().map_err(|source| ReadError::Io { path: copy.to_owned(), source })
}

/// A path that exists is itself; otherwise a range of shards stands for each of them, and a pattern must match something.
fn expand(name: &str) -> Result<Vec<PathBuf>, ReadError> {
    let path = PathBuf::from(name);
    if !path.exists() {
        let names = braces::expand(name);
        if names.len() > 1 {
            return names
                .iter()
                .map(|name| matches_of(name))
                .collect::<Result<Vec<_>, _>>()
                .map(|all| all.concat());
        }
    }
    matches_of(name)
}

fn matches_of(name: &str) -> Result<Vec<PathBuf>, ReadError> {
    let path = PathBuf::from(name);
    if remote::is_remote(&path) {
        return Ok(vec![path]);
    }
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

/// The files of rows in a directory: those of a saved dataset, the metadata of a Hugging Face image folder, or else all
/// Parquet files, as in the repository of a dataset.
fn files_in(root: &Path) -> Result<Vec<PathBuf>, ReadError> {
    if let Some(files) = saved_dataset::files(root)? {
        return Ok(files);
    }
    let (mut metadata, mut parquet) = (Vec::new(), Vec::new());
    each_file(root, |path| {
        if ["metadata.csv", "metadata.jsonl"].iter().any(|name| path.ends_with(name)) {
            metadata.push(path);
        } else if extension(&path) == "parquet" {
            parquet.push(path);
        }
    })?;
    let mut found = if metadata.is_empty() { parquet } else { metadata };
    if found.is_empty() {
        return Err(ReadError::NoMetadata { path: root.to_owned() });
    }
    found.sort();
    Ok(found)
}

/// The files of a directory, at any depth; a directory is entered once, so links that lead in circles end.
fn each_file(root: &Path, mut found: impl FnMut(PathBuf)) -> Result<(), ReadError> {
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
            } else {
                found(path);
            }
        }
    }
    Ok(())
}

fn refuse_repeats(inputs: &[Input]) -> Result<(), ReadError> {
    let mut seen = BTreeSet::new();
    for input in inputs {
        let canonical = fs::canonicalize(&input.path).unwrap_or_else(|_| input.path.clone());
        let member = input.member.as_ref().map(|member| member.name.clone());
        if !seen.insert((canonical, member)) {
            return Err(ReadError::Twice { name: input.name.clone() });
        }
    }
    Ok(())
}
