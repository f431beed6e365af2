//! Decides about all rows and writes their lines to the files of the dataset, which appears whole or not at all.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use pixtune_core::curate::formats::stored_in_another_format;
use pixtune_core::curate::{Dedup, Status, Store, StoredRow, decide_in};

use super::findings::{rejecting, report};
use super::plan::row_ref;
use super::provenance::ProvenanceFile;
use super::reasons::{Decided, Reasons};
use super::scan::rejected_line;
use super::spool::{LineSource, Segment, Segments};
use super::stream::Stream;
use super::summary::{manifest, summarize};
use super::work::Work;
use super::{Preparation, PrepareError, Scanned, Summary, Watch, references};
use crate::manifest::MANIFEST;
use crate::thumbnails::Thumbnails;

/// The lines that a scan has finished, and what it has stored beside them.
pub(super) trait Lines {
    /// Whether two images show the same, by their indices among all images. The first error is kept in `broken`.
    fn look_same(&mut self, one: u32, other: u32, broken: &mut Option<io::Error>) -> bool;

    /// Creates the files of some streams in a directory; returns those of each stream by their names.
    fn place(
        &mut self,
        placing: &Placing<'_>,
        streams: &[Stream],
        directory: &Path,
    ) -> Result<Vec<Placed>, PrepareError>;
}

/// The files of a stream with their names in the dataset.
pub(super) type Placed = Vec<(String, Segment)>;

/// What the files of a dataset follow from.
pub(super) struct Placing<'d> {
    pub(super) plan: &'d Preparation,
    pub(super) work: &'d Work,
    pub(super) scanned: &'d Scanned,
    pub(super) decision: &'d Decided,
}

/// Lines in one spool.
pub(super) struct Spooled<'s> {
    pub(super) work: &'s Work,
    pub(super) segments: [Vec<Segment>; 4],
    pub(super) thumbnails: Thumbnails,
}

impl Lines for Spooled<'_> {
    fn look_same(&mut self, one: u32, other: u32, broken: &mut Option<io::Error>) -> bool {
        self.thumbnails.look_same(one, other, broken)
    }

    fn place(
        &mut self,
        placing: &Placing<'_>,
        streams: &[Stream],
        directory: &Path,
    ) -> Result<Vec<Placed>, PrepareError> {
        let placed = streams.iter().map(|stream| {
            let files = assemble(placing, &self.segments, *stream)?;
            place(directory, *stream, files)
        });
        let path = self.work.path().to_owned();
        placed.collect::<io::Result<_>>().map_err(|source| PrepareError::Write { path, source })
    }
}

/// Decides about all rows, writes the final files and publishes the directory.
pub(super) fn write_dataset(
    plan: &Preparation,
    work: &Work,
    mut scanned: Scanned,
    lines: &mut dyn Lines,
    watch: &mut dyn Watch,
) -> Result<Summary, PrepareError> {
    let write_error = |source| PrepareError::Write { path: work.path().to_owned(), source };
    let decision = decide_all(plan, &mut scanned, lines).map_err(write_error)?;
    let rejected = report(plan, &mut scanned, &decision, watch).map_err(write_error)?;
    let rows = decision.status.len() as u64;
    plan.check_rejected(scanned.rejected + rejected, rows, true).inspect_err(|_| {
        let _ = work.discard();
    })?;
    let directory = work.stage().map_err(write_error)?;
    let (mut outputs, mut references) = (Vec::new(), Vec::new());
    let mut provenance = ProvenanceFile::default();
    let writes_test = plan.options.write_test && decision.status.contains(&Status::Test);
    let streams: Vec<Stream> =
        Stream::ALL.into_iter().filter(|stream| *stream != Stream::Test || writes_test).collect();
    let placing = Placing { plan, work, scanned: &scanned, decision: &decision };
    let files = lines.place(&placing, &streams, &directory)?;
    for (stream, placed) in streams.into_iter().zip(files) {
        if stream != Stream::Rejected {
            provenance.add(stream, &placed);
        }
        let decided = (&scanned, &decision);
        let written = references::write(plan, work, decided, stream, &placed, &directory);
        references.extend(written.map_err(write_error)?);
        outputs.extend(placed);
    }
    provenance.write(plan, work, &decision, scanned.facts.journal(), &directory).map_err(write_error)?;
    outputs.extend(references);
    let mut summary = summarize(&scanned, &decision, &plan.options.scan.drop).map_err(write_error)?;
    let files = outputs.iter().map(|(name, file)| (name.clone(), file.bytes, file.lines));
    summary.outputs = files.collect();
    let manifest = manifest(plan, &scanned, &summary, &outputs);
    fs::write(directory.join(MANIFEST), manifest.to_json()).map_err(write_error)?;
    work.publish().map_err(|source| PrepareError::Write { path: plan.options.out.clone(), source })?;
    Ok(summary)
}

/// Decides about all rows. Images whose hashes are close are compared by their thumbnails. Where some turn out to have
/// the pixels of a file of another format, it is decided once more, knowing so.
fn decide_all(plan: &Preparation, scanned: &mut Scanned, lines: &mut dyn Lines) -> io::Result<Decided> {
    let mut decide_once = |scanned: &Scanned| {
        let mut broken = None;
        let mut same = |one, other| lines.look_same(one, other, &mut broken);
        let decision = decide_in(&scanned.facts, &plan.decision(), &mut same)?;
        broken.map_or(Ok(decision), Err)
    };
    let mut decision = decide_once(scanned)?;
    if plan.options.dedup != Dedup::Off && same_in_another_format(plan, scanned, &mut decision)? {
        return decide_once(scanned);
    }
    Ok(decision)
}

/// Looks for JPEGs with the pixels of a file of another format; whether there are any.
fn same_in_another_format(
    plan: &Preparation,
    scanned: &mut Scanned,
    decision: &mut Decided,
) -> io::Result<bool> {
    let candidates = stored_in_another_format(&scanned.facts, &mut decision.images)?;
    if candidates.is_empty() {
        return Ok(false);
    }
    let mut places = Vec::with_capacity(candidates.len());
    scanned.facts.each(&mut |stored| {
        let (first, images) = (stored.first_image, stored.images);
        let in_row = candidates[places.len()..].iter().take_while(|at| **at < first + images.len() as u32);
        places.extend(in_row.map(|at| {
            let nth = (at - first) as usize;
            (images[nth].facts.pixels, *stored.record, nth)
        }));
        Ok(())
    })?;
    let mut colors = HashMap::new();
    let mut rereader = plan.rereader();
    for (planes, row, nth) in places {
        // What cannot be read again stays known by its planes.
        let scanner = &plan.scanner;
        let again = rereader
            .row(row_ref(&row))
            .ok()
            .and_then(|again| scanner.reload(plan.input_of(&row).origin(), &again, nth));
        if let Some(found) = again.and_then(|image| scanner.colors(&image)) {
            colors.insert(planes, found);
        }
    }
    scanned.facts.know_by_colors(colors)
}

/// The final files of a stream: those of the spool if every line is already in its stream, else new ones.
fn assemble(placing: &Placing<'_>, segments: &[Vec<Segment>; 4], stream: Stream) -> io::Result<Vec<Segment>> {
    let Placing { plan, work, scanned, decision } = *placing;
    let likely = scanned.facts.streams();
    let mut rows = likely.iter().zip(&decision.status);
    if rows.all(|(likely, status)| (*likely == stream) == (Stream::of(*status) == stream)) {
        return Ok(segments[stream as usize].clone());
    }
    let limit = if stream == Stream::Rejected { u64::MAX } else { plan.options.scan.target.max_file_bytes };
    let directory = work.path().join("moved");
    fs::create_dir_all(&directory)?;
    let mut files = Segments::new(&directory, stream.name(), limit);
    let mut sources = segments.each_ref().map(|segments| LineSource::new(segments));
    let mut line = Vec::new();
    let mut rereader = plan.rereader();
    let mut reasons = Reasons::new(decision, &plan.options.scan.drop)?;
    let mut places = scanned.facts.places()?;
    scanned.facts.each(&mut |StoredRow { row, record, .. }| {
        let source = &mut sources[likely[row as usize] as usize];
        match reasons.of(row)? {
            Some(reason) if stream == Stream::Rejected => {
                source.skip(record.bytes)?;
                let finding = rejecting(plan, &mut places, &reason)?;
                let row = rereader.row(row_ref(record)).map_err(io::Error::other)?;
                let origin = plan.input_of(record).origin();
                files.append(&rejected_line(origin, record.line, &row, finding))?;
            }
            _ if Stream::of(decision.status[row as usize]) == stream => {
                source.line(record.bytes, &mut line)?;
                files.append(&line)?;
            }
            _ => source.skip(record.bytes)?,
        }
        Ok(())
    })?;
    files.finish()
}

/// Gives the files of a stream their final names.
fn place(directory: &Path, stream: Stream, files: Vec<Segment>) -> io::Result<Vec<(String, Segment)>> {
    let count = files.len();
    let mut placed = Vec::with_capacity(count.max(1));
    if files.is_empty() {
        let name = file_name(stream, 0, 1);
        let path = directory.join(&name);
        File::create(&path)?;
        let blake3 = blake3::hash(b"").to_hex().to_string();
        return Ok(vec![(name, Segment { path, bytes: 0, lines: 0, blake3 })]);
    }
    for (index, file) in files.into_iter().enumerate() {
        let name = file_name(stream, index, count);
        let path = directory.join(&name);
        // A link leaves the spool whole, so that a run killed right here can still go on.
        if fs::hard_link(&file.path, &path).is_err() {
            fs::copy(&file.path, &path)?;
        }
        placed.push((name, Segment { path, ..file }));
    }
    Ok(placed)
}

/// The name of the file with this index among the files of a stream.
pub(super) fn file_name(stream: Stream, index: usize, count: usize) -> String {
    match count {
        1 => format!("{}.jsonl", stream.name()),
        _ => format!("{}-{:05}-of-{count:05}.jsonl", stream.name(), index + 1),
    }
}
