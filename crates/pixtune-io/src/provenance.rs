//! `provenance.jsonl`: the source row of each line that `prepare` writes.
//!
//! Its lines stand in the order of the files in the manifest and of the lines in them, so that a line is found by binary
//! search, without an index in memory: in a dataset of 100 million samples it takes about 35 reads.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::{Diagnostic, SourceRow};
use pixtune_core::json::{self, Value, list, object};

use crate::manifest::{Manifest, number_at};
use crate::read::positioned::ReadFrom;
use crate::side_files::PROVENANCE;

/// Longest line that is read: image names are as long as the row that has them.
const MAX_LINE: usize = 64 << 20;

/// Bytes that are read at a time; most lines are shorter.
const CHUNK: usize = 4 << 10;

/// A line of the file, with its line end.
pub(crate) fn line_of(file: &str, line: u64, source: &SourceRow) -> String {
    let mut text = json::text(object(|out| {
        out.field("file", file).field("line", line);
        out.field("source", &source.file).field("row", source.row);
        out.field("images", list(source.images.iter().map(Option::as_deref)));
    }));
    text.push('\n');
    text
}

/// Finds the source rows of the lines of one prepared file.
#[derive(Debug)]
pub struct Provenance {
    file: File,
    length: u64,
    /// The names of the files that the lines are of, in order.
    files: Vec<String>,
    /// The index in `files` of the file whose lines are looked up.
    of: usize,
    /// Where the line after the last result starts: findings come in the order of the lines.
    next: u64,
}

/// A line that was read.
struct Entry {
    key: (usize, u64),
    source: SourceRow,
    end: u64,
}

impl Provenance {
    /// Opens the file beside a prepared file; `None` if there is none, or if the prepared file has another length than `prepare`
    /// wrote: its lines may have moved.
    pub fn beside(prepared: &Path) -> Option<Provenance> {
        let directory = match prepared.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let manifest = Manifest::read(directory).ok()??;
        let is_unchanged = manifest.output(prepared)?.bytes == fs::metadata(prepared).ok()?.len();
        let name = prepared.file_name()?.to_str()?;
        let files: Vec<String> = manifest.outputs.into_iter().map(|output| output.path).collect();
        let of = files.iter().position(|file| file == name)?;
        let file = File::open(directory.join(PROVENANCE)).ok()?;
        let length = file.metadata().ok()?.len();
        is_unchanged.then_some(Provenance { file, length, files, of, next: 0 })
    }

    /// The source of a line, counted from 1; `None` if the file does not have it.
    pub fn source(&mut self, line: u64) -> io::Result<Option<SourceRow>> {
        let wanted = (self.of, line);
        if let Some(entry) = self.entry(self.next)?
            && entry.key == wanted
        {
            self.next = entry.end;
            return Ok(Some(entry.source));
        }
        // The line starts at `low` or between `low` and `high`.
        let (mut low, mut high) = (0, self.length);
        while high - low > CHUNK as u64 {
            let middle = low + (high - low) / 2;
            let Some(start) = self.line_start(middle, high)? else {
                high = middle;
                continue;
            };
            match self.entry(start)? {
                Some(entry) if entry.key <= wanted => low = start,
                Some(_) => high = middle,
                None => return Ok(None),
            }
        }
        while let Some(entry) = self.entry(low)? {
            if entry.key >= wanted {
                self.next = entry.end;
                return Ok((entry.key == wanted).then_some(entry.source));
            }
            low = entry.end;
        }
        Ok(None)
    }

    /// The first line start behind `from` and before `to`.
    fn line_start(&self, from: u64, to: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        let mut chunk = [0; CHUNK];
        while at < to {
            let read = read_at(&self.file, &mut chunk, at)?;
            if read == 0 {
                return Ok(None);
            }
            if let Some(end) = memchr::memchr(b'\n', &chunk[..read]) {
                let start = at + end as u64 + 1;
                return Ok((start < to).then_some(start));
            }
            at += read as u64;
        }
        Ok(None)
    }

    /// The line that starts at a byte; `None` at the end of the file, and if it is not a line of this kind.
    fn entry(&self, start: u64) -> io::Result<Option<Entry>> {
        let mut line = Vec::new();
        let mut chunk = [0; CHUNK];
        loop {
            let read = read_at(&self.file, &mut chunk, start + line.len() as u64)?;
            let end = memchr::memchr(b'\n', &chunk[..read]);
            line.extend_from_slice(&chunk[..end.unwrap_or(read)]);
            if end.is_some() {
                break;
            }
            if read == 0 || line.len() > MAX_LINE {
                return Ok(None);
            }
        }
        let end = start + line.len() as u64 + 1;
        Ok(self.parse(&line).map(|(key, source)| Entry { key, source, end }))
    }

    fn parse(&self, line: &[u8]) -> Option<((usize, u64), SourceRow)> {
        let row = json::parse(std::str::from_utf8(line).ok()?).ok()?.value;
        let file = row.get("file")?.as_str()?;
        let index = self.files.iter().position(|name| name == file)?;
        let images = row.get("images").and_then(Value::as_array).unwrap_or_default();
        let source = SourceRow {
            file: row.get("source")?.as_str()?.to_owned(),
            row: number_at(&row, "row"),
            images: images.iter().map(|image| image.as_str().map(str::to_owned)).collect(),
        };
        Some(((index, number_at(&row, "line")), source))
    }
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    ReadFrom { file, at }.read(buffer)
}

/// Adds source rows to findings in prepared files. Other findings stay as they are.
#[derive(Debug, Default)]
pub struct Sources {
    open: HashMap<PathBuf, Option<Provenance>>,
}

/// More files than a run reports findings in at a time; beyond, all are opened again.
const MOST_OPEN: usize = 64;

impl Sources {
    /// The finding with its source row, if its file was written by `prepare` and has not changed.
    pub fn locate(&mut self, diagnostic: &Diagnostic) -> Diagnostic {
        let source = self.source(Path::new(&diagnostic.file), diagnostic.line).map(Box::new);
        Diagnostic { source, ..diagnostic.clone() }
    }

    /// The source row of a line of a prepared file. A file that cannot be read counts as one without provenance: the finding
    /// itself matters more.
    pub fn source(&mut self, file: &Path, line: u64) -> Option<SourceRow> {
        if self.open.len() >= MOST_OPEN && !self.open.contains_key(file) {
            self.open.clear();
        }
        let opened = self.open.entry(file.to_owned()).or_insert_with(|| Provenance::beside(file));
        opened.as_mut()?.source(line).ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(rows: u64) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for (file, first) in [("train-00001-of-00002.jsonl", 0), ("train-00002-of-00002.jsonl", rows)] {
            for line in 1..=rows {
                text += &line_of(file, line, &source(first + line));
            }
        }
        text += &line_of("validation.jsonl", 1, &source(2 * rows + 1));
        fs::write(directory.path().join(PROVENANCE), text).unwrap();
        let names = ["train-00001-of-00002.jsonl", "train-00002-of-00002.jsonl", "validation.jsonl"];
        let outputs = names.map(|name| {
            fs::write(directory.path().join(name), "four").unwrap();
            format!("{{\"path\": \"{name}\", \"bytes\": 4, \"lines\": 1, \"blake3\": \"\"}}")
        });
        let manifest = format!("{{\"plan\": {{\"model\": \"m\"}}, \"outputs\": [{}]}}", outputs.join(", "));
        fs::write(directory.path().join("manifest.json"), manifest).unwrap();
        directory
    }

    fn source(row: u64) -> SourceRow {
        let long = "x".repeat((row * 37 % 9000) as usize);
        SourceRow {
            file: "labels.csv".to_owned(),
            row: row * 2,
            images: vec![None, Some(format!("ü/{long}"))],
        }
    }

    #[test]
    fn finds_every_line_in_any_order() {
        let rows = 300;
        let directory = directory(rows);
        for (file, first) in [("train-00001-of-00002.jsonl", 0), ("train-00002-of-00002.jsonl", rows)] {
            let mut provenance = Provenance::beside(&directory.path().join(file)).unwrap();
            for line in (1..=rows).chain((1..=rows).rev()).chain([7, 7, 8, 3]) {
                assert_eq!(provenance.source(line).unwrap(), Some(source(first + line)), "{file}:{line}");
            }
            assert_eq!(provenance.source(0).unwrap(), None);
            assert_eq!(provenance.source(rows + 1).unwrap(), None);
        }
        let mut provenance = Provenance::beside(&directory.path().join("validation.jsonl")).unwrap();
        assert_eq!(provenance.source(1).unwrap(), Some(source(2 * rows + 1)));
    }

    #[test]
    fn ignores_changed_and_foreign_files() {
        let directory = directory(3);
        let path = directory.path().join("validation.jsonl");
        fs::write(&path, "longer").unwrap();
        assert!(Provenance::beside(&path).is_none());
        fs::write(directory.path().join("other.jsonl"), "four").unwrap();
        assert!(Provenance::beside(&directory.path().join("other.jsonl")).is_none());
        let path = directory.path().join("train-00001-of-00002.jsonl");
        fs::write(directory.path().join(PROVENANCE), "{\"file\":\n\n\u{0}").unwrap();
        assert_eq!(Provenance::beside(&path).unwrap().source(2).unwrap(), None);
        fs::remove_file(directory.path().join(PROVENANCE)).unwrap();
        assert!(Provenance::beside(&path).is_none());
    }
}
