//! All reference answers of the rows that have several: one of them is trained, and an evaluation compares with all.

use std::fs;
use std::io;
use std::path::Path;

use pixtune_core::curate::{Store, StoredRow};
use pixtune_core::json::{self, list, object};

use super::plan::row_ref;
use super::reasons::Decided;
use super::spool::{Segment, Segments};
use super::stream::Stream;
use super::work::Work;
use super::{Preparation, Scanned};
use crate::side_files::references_name;

/// Writes the references of the samples in these files of a stream, each line with the file and line that name its sample.
/// `None` if no sample has several.
pub(super) fn write(
    plan: &Preparation,
    work: &Work,
    (scanned, decision): (&Scanned, &Decided),
    stream: Stream,
    samples: &[(String, Segment)],
    directory: &Path,
) -> io::Result<Option<(String, Segment)>> {
    let has_several: Vec<bool> =
        plan.inputs.iter().map(|planned| planned.schema.has_several_answers()).collect();
    if stream == Stream::Rejected || !has_several.contains(&true) {
        return Ok(None);
    }
    let parts = work.path().join("moved");
    fs::create_dir_all(&parts)?;
    let mut file = Segments::new(&parts, "references", u64::MAX);
    let mut names =
        samples.iter().flat_map(|(name, samples)| (1..=samples.lines).map(move |line| (name, line)));
    let mut rereader = plan.rereader();
    scanned.facts.each(&mut |StoredRow { row, record, .. }| {
        if Stream::of(decision.status[row as usize]) != stream {
            return Ok(());
        }
        let Some((name, line)) = names.next() else { return Ok(()) };
        if !has_several[record.input as usize] {
            return Ok(());
        }
        let row = rereader.row(row_ref(record)).map_err(io::Error::other)?;
        let Some(references) = plan.input_of(record).schema.references(&row) else { return Ok(()) };
        let id = format!("{name}:{line}");
        let written = json::line(object(|out| {
            out.field("id", id.as_str()).field("references", list(references.iter().map(String::as_str)));
        }));
        file.append(written.as_bytes()).map(|_| ())
    })?;
    let Some(segment) = file.finish()?.pop() else { return Ok(None) };
    let name = references_name(stream.name());
    let path = directory.join(&name);
    fs::rename(&segment.path, &path)?;
    Ok(Some((name, Segment { path, ..segment })))
}
