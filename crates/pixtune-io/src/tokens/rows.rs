//! Counting rows that are in memory rather than in a file.

use std::ops::Range;
use std::path::Path;

use pixtune_core::columns::RowOptions;
use pixtune_core::diagnostic::{Finding, Severity};
use pixtune_core::sample::{Image, Sample};
use pixtune_core::tokens::ChatEncoder;

use super::count::thin_image;
use super::{Counted, Ids, count_line, parse_row};
use crate::image::{Limits, Resolver, load_header};
use crate::parallel;
use crate::read::{Aside, Format, Row, Schema};

/// Rows of one job, at most: enough that handing out jobs costs nothing, few enough that all threads end together.
const JOB: usize = 32;

/// Counts rows in memory.
#[derive(Debug, Clone, Copy)]
pub struct RowCounter<'c> {
    /// What counts.
    pub encoder: ChatEncoder<'c>,
    /// What relative paths of images are relative to.
    pub directory: &'c Path,
    /// How large an image may be.
    pub limits: &'c Limits,
    /// Whether ids are wanted.
    pub ids: Ids,
    /// Threads to work on.
    pub threads: usize,
}

impl RowCounter<'_> {
    /// Counts `count` rows, and gives `each` the result of each row, in order. The first error of `each` ends it.
    pub fn each<E: Send>(
        &self,
        count: usize,
        row: impl Fn(usize) -> Row + Sync,
        mut each: impl FnMut(Result<Counted, Finding>) -> Result<(), E> + Send,
    ) -> Result<(), E> {
        let step = (count / (8 * self.threads.max(1))).clamp(1, JOB);
        let mut from = 0;
        let next = || {
            let job = from..count.min(from + step);
            from = job.end;
            Ok((!job.is_empty()).then_some(job))
        };
        let work = |job: Range<usize>| -> Vec<_> { job.map(|at| self.count(&row(at))).collect() };
        parallel::ordered(self.threads, next, work, |done| done.into_iter().try_for_each(&mut each))
    }

    /// Counts one row: a line of a file of conversations, or a conversation whose images are bytes beside it.
    pub fn count(&self, row: &Row) -> Result<Counted, Finding> {
        if row.images.is_empty() && !names_images(row) {
            return count_line(&self.encoder, self.directory, row, self.limits, self.ids);
        }
        let sample = conversation(row)?;
        let resolver = Resolver::new(self.directory);
        let size = |image: &Image| {
            load_header(&image.source, &resolver, self.limits)
                .and_then(|known| known.structure().map(|_| known.header().reference_size()))
                .map_err(|error| error.finding_at(image))
        };
        let sizes = sample.images.iter().map(size).collect::<Result<Vec<_>, _>>()?;
        let (counts, ids) = match self.ids {
            Ids::No => (self.encoder.count(&sample, &sizes)?, None),
            Ids::Yes => {
                let encoded = self.encoder.encode(&sample, &sizes)?;
                (encoded.counts, Some(encoded.ids))
            }
        };
        let seen = sample.images.iter().zip(&sizes);
        let thin =
            seen.filter_map(|(image, &(width, height))| thin_image(self.encoder.spec, image, width, height));
        Ok(Counted { warnings: thin.collect(), counts, sizes, ids })
    }
}

/// The conversation of a row whose images are in a list beside `messages`, read as `prepare` reads it.
pub fn conversation(row: &Row) -> Result<Sample<Image>, Finding> {
    let aside = Aside { id: "id".to_owned(), group: None, stratum: None, split: None };
    let schema = Schema {
        format: Format::JsonLines,
        has_nulls: false,
        header: vec![],
        columns: None,
        aside,
        of_records: true,
        removed: vec![],
        given: None,
    };
    let reading = schema.read(row, RowOptions::default())?;
    match reading.findings.into_iter().find(|finding| finding.severity == Severity::Error) {
        Some(error) => Err(error),
        None => Ok(reading.sample),
    }
}

/// Whether the images of a row may be in a list of its own, which the format for training does not have.
fn names_images(row: &Row) -> bool {
    memchr::memmem::find(&row.bytes, b"\"images\"").is_some()
        && parse_row(row).is_ok_and(|parsed| parsed.value.get("images").is_some())
}
