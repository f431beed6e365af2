//! Copies the lines of a fragment to the files of the dataset, each to the place that the decision gives it.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::PathBuf;

use pixtune_core::json::{self, Value, list, object};
use pixtune_files::{Existing, WholeFile};

use super::super::PrepareError;
use super::super::dataset::file_name;
use super::super::journal::Replay;
use super::super::plan::row_ref;
use super::super::scan::rejected_line;
use super::super::spool::{JOURNAL, LineSource};
use super::super::stream::Stream;
use super::layout::Position;
use super::scan::Summary;
use super::workplace::Workplace;
use super::{as_number, finding, unreadable};

/// The directories of what is decided about the rows of fragments, and of the rejected lines of fragments.
pub(super) const DECIDED: &str = "decided";
pub(super) const REJECTED: &str = "rejected";

/// In the decision about a fragment: a row that is rejected for the finding on the next line. Other rows have the index of their
/// stream.
pub(super) const REJECTED_NOW: u8 = 4;

/// Where the lines of a fragment go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    /// The name of the fragment.
    pub(super) fragment: String,
    /// The place of the first line of each stream; `None` for one that is not written by place.
    pub(super) starts: [Option<Position>; 4],
    /// The files of each stream.
    pub(super) counts: [usize; 4],
}

impl Task {
    pub(super) fn to_json(&self) -> String {
        let start =
            |start: Option<Position>| start.map(|Position { file, bytes }| list([file as u64, bytes]));
        json::text(object(|out| {
            out.field("fragment", self.fragment.as_str());
            out.field("starts", list(self.starts.map(start)));
            out.field("files", list(self.counts.map(|count| count as u64)));
        }))
    }

    pub(super) fn of_value(value: &Value<'_>) -> Option<Task> {
        let fragment =
            value.text("fragment").filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?;
        let start = |start: &Value<'_>| match start {
            Value::Null => Some(None),
            start => match start.as_array()? {
                [file, bytes] => {
                    let file = usize::try_from(as_number(file)?).ok()?;
                    Some(Some(Position { file, bytes: as_number(bytes)? }))
                }
                _ => None,
            },
        };
        let starts: Option<Vec<_>> = value.get("starts")?.as_array()?.iter().map(start).collect();
        let counts = value.get("files")?.as_array()?.iter();
        let counts: Option<Vec<usize>> =
            counts.map(|count| usize::try_from(as_number(count)?).ok()).collect();
        let (starts, counts) = (starts?.try_into().ok()?, counts?.try_into().ok()?);
        Some(Task { fragment: fragment.to_owned(), starts, counts })
    }
}

/// A file of the dataset that is being written at the place of the fragment.
struct Out<'t> {
    directory: PathBuf,
    stream: Stream,
    task: &'t Task,
    position: Position,
    open: Option<(usize, BufWriter<File>)>,
}

impl Out<'_> {
    fn write(&mut self, line: &[u8], max_bytes: u64) -> io::Result<()> {
        let at = self.position.take(line.len() as u64, max_bytes);
        if self.open.as_ref().is_none_or(|(file, _)| *file != at.file) {
            self.close()?;
            let name = file_name(self.stream, at.file, self.task.counts[self.stream as usize]);
            let mut file = File::options().write(true).open(self.directory.join(name))?;
            file.seek(SeekFrom::Start(at.bytes))?;
            self.open = Some((at.file, BufWriter::with_capacity(1 << 20, file)));
        }
        match &mut self.open {
            Some((_, file)) => file.write_all(line),
            None => Ok(()),
        }
    }

    /// Hands the lines to the disk: a machine that only reads the directory must see them.
    fn close(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some((_, file)) => file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data(),
            None => Ok(()),
        }
    }
}

/// Performs the task; the result has the bytes and the number of the rejected lines, which are in a file of their own.
pub(super) fn finish(at: &Workplace<'_>, task: &Task) -> Result<String, PrepareError> {
    let home = at.fragments().join(&task.fragment);
    let summary = Summary::read(&home)?.ok_or_else(|| unreadable("a fragment"))?;
    let written = copy(at, task, &summary).map_err(at.write_error())?;
    Ok(json::text(list([written.0, written.1])))
}

fn copy(at: &Workplace<'_>, task: &Task, summary: &Summary) -> io::Result<(u64, u64)> {
    let plan = at.plan;
    let home = at.fragments().join(&task.fragment);
    let segments = summary.segments(&home);
    let mut sources = segments.each_ref().map(|segments| LineSource::new(segments));
    let decided = fs::read(at.work.join(DECIDED).join(&task.fragment))?;
    let rows = usize::try_from(summary.rows).map_err(io::Error::other)?;
    let (codes, findings) = decided.split_at_checked(rows).ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut findings = std::str::from_utf8(findings).map_err(io::Error::other)?.lines();
    let mut journal = Replay::new(BufReader::new(File::open(home.join(JOURNAL))?));
    let mut outs: Vec<Out<'_>> = Vec::new();
    for stream in Stream::ALL {
        let (directory, open) = (at.staged(), None);
        outs.extend(task.starts[stream as usize].map(|position| Out {
            directory,
            stream,
            task,
            position,
            open,
        }));
    }
    let mut rejected: Option<WholeFile> = None;
    let (mut bytes, mut lines) = (0, 0);
    let mut reject = |line: &[u8]| {
        let file = match &mut rejected {
            Some(file) => file,
            none => {
                let path = at.work.join(REJECTED).join(&task.fragment);
                none.insert(WholeFile::create(&path, Existing::Replace)?)
            }
        };
        (bytes, lines) = (bytes + line.len() as u64, lines + 1);
        file.write_all(line)
    };
    let mut rereader = plan.rereader();
    let mut line = Vec::new();
    for code in codes {
        let entry = journal.next_entry()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (record, source) = (&entry.record, &mut sources[entry.stream as usize]);
        if *code == REJECTED_NOW {
            source.skip(record.bytes)?;
            let (_, found) = findings.next().and_then(finding::parse).ok_or(io::ErrorKind::InvalidData)?;
            let row = rereader.row(row_ref(record)).map_err(io::Error::other)?;
            reject(&rejected_line(plan.input_of(record).origin(), record.line, &row, found))?;
        } else if *code == Stream::Rejected as u8 {
            source.line(record.bytes, &mut line)?;
            reject(&line)?;
        } else if let Some(out) = outs.iter_mut().find(|out| out.stream as u8 == *code) {
            source.line(record.bytes, &mut line)?;
            out.write(&line, plan.options.scan.target.max_file_bytes)?;
        } else {
            source.skip(record.bytes)?;
        }
    }
    outs.iter_mut().try_for_each(Out::close)?;
    rejected.map_or(Ok(()), WholeFile::commit)?;
    Ok((bytes, lines))
}
