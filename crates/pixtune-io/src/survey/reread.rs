//! Reading samples and images of a survey again.

use std::path::Path;

use pixtune_core::strict::BorrowedSample;

use super::{ImagePlace, Source, Survey, file_bytes, image_bytes, with_sample};
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
    with_sample(&row, |sample| Ok(inspect(sample, directory))).ok()?
}

/// The bytes of an image; `None` where they have changed since the survey.
pub(crate) fn reread_image(source: &Source, survey: &Survey, place: ImagePlace) -> Option<Vec<u8>> {
    if source.files.is_empty() {
        return file_bytes(&source.images.get(place.line.file as usize)?.1).ok();
    }
    reread_sample(source, survey, place.line, |sample, directory| {
        image_bytes(sample.images.get(place.index as usize)?, directory).ok()
    })
}
