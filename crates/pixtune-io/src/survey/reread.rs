//! Reading samples and images of a survey again.

use std::path::Path;

use pixtune_core::strict::BorrowedSample;

use super::{ImagePlace, Source, Survey, with_sample};
use crate::image::{Loaded, Resolver, load, load_file};
use crate::read::LinePlace;
use crate::read::MAX_LINE;

/// Passes the sample of a line to `inspect`; `None` where the file has changed since the survey.
pub(crate) fn reread_sample<T>(
    source: &Source,
    survey: &Survey,
    place: LinePlace,
    inspect: impl FnOnce(&BorrowedSample<'_>, &Path) -> Option<T>,
) -> Option<T> {
    let file = source.files.get(place.file as usize)?;
    let index = survey.line_indices.get(place.file as usize)?;
    let row = index.reread(&file.path, place.line, MAX_LINE).ok()??;
    let directory = file.path.parent().unwrap_or(Path::new(""));
    with_sample(&row, |sample, _| Ok(inspect(sample, directory))).ok()?
}

/// An image; `None` where it has changed since the survey.
pub(crate) fn reread_image(source: &Source, survey: &Survey, place: ImagePlace) -> Option<Loaded> {
    if source.files.is_empty() {
        return load_file(&source.images.get(place.line.file as usize)?.1, &survey.limits).ok();
    }
    reread_sample(source, survey, place.line, |sample, directory| {
        let image = sample.images.get(place.index as usize)?;
        load(&image.source, &Resolver::new(directory), &survey.limits).ok()
    })
}
