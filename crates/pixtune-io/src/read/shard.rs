//! WebDataset shards: consecutive members of a tar archive whose names are equal up to the first dot are one row.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pixtune_core::json::{self, object};
use twox_hash::XxHash3_64;

use super::archive::members::{Part, base_name, is_table, key, next_part, row_of};
use super::archive::tar::{Kind, Member, Walk};
use super::content::{Content, Forward, Opened};
use super::file_state::FileState;
use super::{Cut, Fingerprint, ReadError, Row, RowReader, RowRef};

/// Reads the rows of a shard one by one.
pub(super) struct ShardReader {
    content: Content,
    file: u32,
    max_row: u64,
    state: FileState,
    walk: Walk<Box<dyn Read + Send>>,
    /// The first member of the next row.
    waiting: Option<Member>,
    /// Hashes of the keys of all rows so far.
    keys: HashSet<u64>,
    number: u64,
    consumed: Arc<AtomicU64>,
    rereads: Mutex<Forward>,
    fingerprint: Fingerprint,
}

impl ShardReader {
    /// Opens the shard that has this index among the inputs of a run.
    pub(super) fn open(content: Content, file: u32, max_row: usize) -> Result<ShardReader, ReadError> {
        let state = FileState::of(&content.path)?;
        let opened = content.open().map_err(|source| ReadError::Io { path: content.path.clone(), source });
        let Opened { stream, consumed } = opened?;
        Ok(ShardReader {
            content,
            file,
            max_row: max_row as u64,
            state,
            walk: Walk::new(stream),
            waiting: None,
            keys: HashSet::new(),
            number: 0,
            consumed,
            rereads: Mutex::default(),
            fingerprint: Fingerprint::default(),
        })
    }

    fn broken(&self, source: io::Error) -> ReadError {
        let path = self.content.path.clone();
        match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                ReadError::Malformed { path, format: "a tar archive", source: source.into() }
            }
            _ => ReadError::Io { path, source },
        }
    }

    fn next_sample(&mut self) -> io::Result<Option<Sample>> {
        let first = match self.waiting.take() {
            Some(first) => first,
            None => match next_part(&mut self.walk)? {
                Some(first) => first,
                None => return Ok(None),
            },
        };
        let mut sample = Sample::new(&first);
        if !self.keys.insert(XxHash3_64::oneshot(sample.key.as_bytes())) {
            sample.fail("its members are not next to each other in the archive; sort them by name");
        }
        self.waiting = sample.read(&mut self.walk, first, self.max_row)?;
        Ok(Some(sample))
    }
}

impl RowReader for ShardReader {
    fn next_row(&mut self) -> Result<Option<(RowRef, Row)>, ReadError> {
        let Some(sample) = self.next_sample().map_err(|source| self.broken(source))? else {
            if self.fingerprint == Fingerprint::default() {
                self.fingerprint = self.state.fingerprint()?;
            }
            return Ok(None);
        };
        if let Some(member) = &sample.table {
            return Err(ReadError::TableInArchive {
                path: self.content.path.clone(),
                member: member.clone(),
            });
        }
        self.number += 1;
        let (offset, length) = (sample.start, sample.end - sample.start);
        Ok(Some((RowRef { file: self.file, number: self.number, offset, length }, sample.into_row())))
    }

    fn reread(&self, at: RowRef) -> Result<Row, ReadError> {
        let mut rereads = self.rereads.lock().unwrap_or_else(PoisonError::into_inner);
        let end = at.offset + at.length;
        let mut read = || {
            let mut walk = Walk::between(rereads.at(&self.content, at.offset)?, at.offset, end);
            let Some(first) = next_part(&mut walk)? else { return Ok(None) };
            let mut sample = Sample::new(&first);
            sample.read(&mut walk, first, self.max_row)?;
            rereads.read_to(end);
            Ok(Some(sample.into_row()))
        };
        match read() {
            Ok(Some(row)) => Ok(row),
            Ok(None) => Err(ReadError::Changed { path: self.content.path.clone() }),
            Err(source) => {
                rereads.forget();
                Err(self.broken(source))
            }
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn position(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed).min(self.state.length())
    }
}

/// More members than any row has: their names are in memory.
const MOST_MEMBERS: usize = 4096;

/// The members of a row as far as they are read.
struct Sample {
    key: String,
    start: u64,
    end: u64,
    parts: Vec<Part>,
    bytes: u64,
    cut: Option<Cut>,
    /// A member that is a table, whose rows name other members.
    table: Option<String>,
}

impl Sample {
    fn new(first: &Member) -> Sample {
        let (key, parts) = (key(&first.name).to_owned(), Vec::new());
        Sample { key, start: first.start, end: first.end(), parts, bytes: 0, cut: None, table: None }
    }

    fn fail(&mut self, why: &str) {
        let why = format!("`{}`: {why}", self.key);
        self.cut.get_or_insert(Cut::Unreadable { why });
    }

    /// Reads all members of the row, of which this is the first, and returns the first of the next row.
    fn read(
        &mut self,
        walk: &mut Walk<impl Read>,
        first: Member,
        max_row: u64,
    ) -> io::Result<Option<Member>> {
        let mut member = first;
        loop {
            self.add(walk, &member, max_row)?;
            match next_part(walk)? {
                Some(next) if key(&next.name) == self.key => member = next,
                next => return Ok(next),
            }
        }
    }

    fn add(&mut self, walk: &mut Walk<impl Read>, member: &Member, max_row: u64) -> io::Result<()> {
        self.end = member.end();
        self.bytes = self.bytes.saturating_add(member.size);
        let suffix = member.name[self.key.len()..].trim_start_matches('.');
        if is_table(suffix) {
            self.table.get_or_insert(member.name.clone());
        }
        if let Kind::Other(what) = member.kind {
            self.fail(&format!("member `{}` is {what}", member.name));
        }
        if suffix.is_empty() {
            self.fail("the name has no extension");
        }
        if self.parts.iter().any(|part| part.suffix == suffix) {
            self.fail(&format!("the archive has two members `{}`", member.name));
        }
        if self.parts.len() == MOST_MEMBERS {
            self.fail("the row has too many members");
        }
        if self.bytes > max_row {
            self.cut = Some(Cut::TooLarge { bytes: self.end - self.start });
        }
        if self.cut.is_some() {
            self.parts.clear();
            if let Some(Cut::TooLarge { bytes }) = &mut self.cut {
                *bytes = self.end - self.start;
            }
            return Ok(());
        }
        let bytes = walk.read(member)?;
        let file_name = base_name(&member.name).to_owned();
        self.parts.push(Part { suffix: suffix.to_owned(), file_name, bytes });
        Ok(())
    }

    fn into_row(mut self) -> Row {
        if self.cut.is_none() {
            match row_of(&self.key, std::mem::take(&mut self.parts)) {
                Ok(row) => return row,
                Err(why) => self.fail(&why),
            }
        }
        let named = json::text(object(|row| {
            row.field("id", self.key.as_str());
        }));
        Row { cut: self.cut, ..Row::whole(named) }
    }
}
