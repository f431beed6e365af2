//! The files of a prepared dataset that hold no samples, beside those that do.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use pixtune_core::json;

/// The source row of each line.
pub const PROVENANCE: &str = "provenance.jsonl";

/// What the names of files of references start with.
const REFERENCES: &str = "references-";

/// Where the references of a split are.
pub fn references_name(split: &str) -> String {
    format!("{REFERENCES}{split}.jsonl")
}

/// Whether a file has the name of one.
pub(crate) fn is_named(name: &str) -> bool {
    name == PROVENANCE || name.starts_with(REFERENCES)
}

/// The most bytes of the first row that are read to recognize a file.
const MOST_READ: u64 = 1 << 20;

/// What a file lists instead of samples, if its first row is that of a side file: its name may have been changed. Only a file
/// without rejected rows is recognized by its name. One that cannot be read is no side file, so that its reader reports it.
pub(crate) fn recognize(path: &Path) -> Option<&'static str> {
    // A pipe can be read only once.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?).take(MOST_READ).read_until(b'\n', &mut line).ok()?;
    if line.is_empty() && path.ends_with("rejected.jsonl") {
        return Some("rejected rows");
    }
    let row = json::parse(std::str::from_utf8(&line).ok()?).ok()?.value;
    let keys: Vec<&str> = row.as_object()?.iter().map(|(key, _)| &**key).collect();
    match keys[..] {
        ["file", "line", "source", "row", "images"] => Some("source rows"),
        ["file", "line", "rule", "severity", "pointer", "message", .., "row"] => Some("rejected rows"),
        ["id", "references"] => Some("reference answers"),
        _ => None,
    }
}
