//! Writes `provenance.jsonl` from the journal, which has the rows in input order.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::Path;

use pixtune_core::diagnostic::SourceRow;

use super::Preparation;
use super::journal::Replay;
use super::reasons::Decided;
use super::spool::Segment;
use super::stream::Stream;
use super::work::Work;
use crate::manifest::portable_name;
use crate::provenance::line_of;
use crate::side_files::PROVENANCE;

/// The files that the lines are of.
#[derive(Default)]
pub(super) struct ProvenanceFile {
    streams: Vec<Lines>,
}

/// The lines of a stream.
struct Lines {
    stream: Stream,
    /// Name and number of lines of each file.
    files: Vec<(String, u64)>,
    /// The index of the file of the last line, and the number of that line.
    at: (usize, u64),
}

impl Lines {
    /// File and number of the next line.
    fn next(&mut self) -> Option<(&str, u64)> {
        while self.files.get(self.at.0)?.1 == self.at.1 {
            self.at = (self.at.0 + 1, 0);
        }
        self.at.1 += 1;
        Some((&self.files[self.at.0].0, self.at.1))
    }
}

impl ProvenanceFile {
    /// Adds the files of a stream, in the order of the manifest.
    pub(super) fn add(&mut self, stream: Stream, files: &[(String, Segment)]) {
        let files = files.iter().map(|(name, segment)| (name.clone(), segment.lines)).collect();
        self.streams.push(Lines { stream, files, at: (0, 0) });
    }

    /// Writes the file in one pass over the journal. The lines of each stream are collected in a file of their own, as rows of
    /// all streams alternate.
    pub(super) fn write(
        mut self,
        plan: &Preparation,
        work: &Work,
        decision: &Decided,
        journal: impl Read,
        directory: &Path,
    ) -> io::Result<()> {
        let path = |stream: Stream| work.path().join(format!("provenance-{}", stream.name()));
        let mut parts = Vec::with_capacity(self.streams.len());
        for lines in &self.streams {
            parts.push(BufWriter::new(File::create(path(lines.stream))?));
        }
        let mut journal = Replay::new(BufReader::new(journal));
        for status in &decision.status {
            let entry = journal.next_entry()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let stream = Stream::of(*status);
            let Some(index) = self.streams.iter().position(|lines| lines.stream == stream) else { continue };
            let (file, line) = self.streams[index].next().ok_or(io::ErrorKind::InvalidData)?;
            let source = SourceRow {
                file: portable_name(&plan.input_of(&entry.record).input.name).to_owned(),
                row: entry.record.line,
                images: entry.image_names,
            };
            parts[index].write_all(line_of(file, line, &source).as_bytes())?;
        }
        let mut out = File::create(directory.join(PROVENANCE))?;
        for (lines, mut part) in self.streams.iter().zip(parts) {
            part.flush()?;
            io::copy(&mut File::open(path(lines.stream))?, &mut out)?;
        }
        out.sync_all()
    }
}
