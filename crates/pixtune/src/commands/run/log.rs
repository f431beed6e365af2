//! `stages.jsonl`: which stages a project has begun and ended, so that a further run knows what is done.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value, object};

use crate::error::Error;

/// The name of the file.
const NAME: &str = "stages.jsonl";

/// A line: a stage that began, or ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The stage.
    pub(super) stage: String,
    /// A hash of its command and of what it reads.
    pub(super) digest: String,
    /// How it ended; `None` where it began.
    pub(super) end: Option<End>,
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct End {
    /// The exit code of its command: 0 or 1.
    pub(super) code: u8,
    /// Seconds of all its runs that were not interrupted.
    pub(super) seconds: f64,
}

/// The lines so far.
pub(super) struct Log {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Log {
    /// Reads the file in a directory; there may be none. A line that a killed run has not finished is not read.
    pub(super) fn read(directory: &Path) -> Result<Log, Error> {
        let path = directory.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::argument(format!("cannot read `{}`: {error}", path.display()))),
        };
        Ok(Log { entries: text.split_inclusive('\n').filter_map(Entry::parse).collect(), path })
    }

    /// The last entry of a stage.
    pub(super) fn last(&self, stage: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.stage == stage)
    }

    /// How a stage ended that is done with this digest.
    pub(super) fn end(&self, stage: &str, digest: &str) -> Option<End> {
        self.last(stage).filter(|entry| entry.digest == digest).and_then(|entry| entry.end)
    }

    /// Adds a line.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), Error> {
        let failed = |source| Error::Write { path: self.path.clone(), source };
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(failed)?;
        // A line that was cut off by a kill ends here.
        let start = if self.ends_whole().map_err(failed)? { "" } else { "\n" };
        file.write_all(format!("{start}{}", entry.to_line()).as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.entries.push(entry);
        Ok(())
    }

    fn ends_whole(&self) -> io::Result<bool> {
        let text = fs::read(&self.path)?;
        Ok(text.last().is_none_or(|byte| *byte == b'\n'))
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Entry> {
        let value = json::parse(line.strip_suffix('\n')?).ok()?.value;
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key| match value.get(key) {
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let end = number("code").zip(number("seconds"));
        let end = end.and_then(|(code, seconds)| {
            Some(End { code: code.parse().ok()?, seconds: seconds.parse().ok()? })
        });
        Some(Entry { stage: text("stage")?, digest: text("digest")?, end })
    }

    fn to_line(&self) -> String {
        json::line(object(|line| {
            line.field("stage", &self.stage).field("digest", &self.digest);
            if let Some(End { code, seconds }) = self.end {
                line.field("code", u64::from(code)).field("seconds", seconds);
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back_and_a_partial_line_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::read(directory.path()).unwrap();
        let began = Entry { stage: "train".to_owned(), digest: "ab".to_owned(), end: None };
        let ended = Entry { end: Some(End { code: 1, seconds: 2.5 }), ..began.clone() };
        log.add(began.clone()).unwrap();
        assert_eq!((log.last("train"), log.end("train", "ab")), (Some(&began), None));
        log.add(ended.clone()).unwrap();
        let path = directory.path().join(NAME);
        fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"stage\":\"depl").unwrap();
        let mut log = Log::read(directory.path()).unwrap();
        assert_eq!((log.end("train", "ab"), log.end("train", "cd")), (ended.end, None));
        assert_eq!(log.last("deploy"), None);
        log.add(Entry { stage: "deploy".to_owned(), ..began }).unwrap();
        assert!(Log::read(directory.path()).unwrap().last("deploy").is_some());
    }
}
