//! Reading again what the survey has seen.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;

use pixtune_core::strict::BorrowedSample;

use super::{ImagePlace, LinePlace, MAX_LINE, Source, Survey, file_bytes, image_bytes, with_sample};
use crate::read::records::{Framing, RawRow, Records};

/// Where the lines of a file start: of every 64th the number and the first byte.
#[derive(Debug, Clone, Default)]
pub(crate) struct LineIndex {
    noted: Vec<(u64, u64)>,
    rows: u64,
}

const EVERY: u64 = 64;

impl LineIndex {
    /// Takes note of a line, in order.
    pub(super) fn note(&mut self, line: u64, offset: u64) {
        if self.rows.is_multiple_of(EVERY) {
            self.noted.push((line, offset));
        }
        self.rows += 1;
    }

    /// The last noted line that is not behind this one.
    fn before(&self, line: u64) -> Option<(u64, u64)> {
        let behind = self.noted.partition_point(|(noted, _)| *noted <= line);
        self.noted[..behind].last().copied()
    }
}

/// Does something with the sample of a line; `None` where the file has changed since the survey.
pub(crate) fn sample_again<T>(
    source: &Source,
    survey: &Survey,
    place: LinePlace,
    look: impl FnOnce(&BorrowedSample<'_>, &Path) -> Option<T>,
) -> Option<T> {
    let file = source.files.get(place.file as usize)?;
    let row = row_again(&file.path, survey.line_indices.get(place.file as usize)?, place.line).ok()??;
    let directory = file.path.parent().unwrap_or(Path::new(""));
    with_sample(&row, |sample| Ok(look(sample, directory))).ok()?
}

fn row_again(path: &Path, index: &LineIndex, line: u64) -> io::Result<Option<RawRow>> {
    let Some((noted, offset)) = index.before(line) else { return Ok(None) };
    let mut source = File::open(path)?;
    source.seek(SeekFrom::Start(offset))?;
    let mut rows = Records::unhashed(source, Framing::Lines, MAX_LINE);
    while let Some(row) = rows.next_row()? {
        // What is read from the middle counts its lines from 1.
        let at = noted - 1 + row.line;
        if at >= line {
            return Ok((at == line).then_some(row));
        }
    }
    Ok(None)
}

/// The bytes of an image; `None` where they have changed since the survey.
pub(crate) fn image_again(source: &Source, survey: &Survey, place: ImagePlace) -> Option<Vec<u8>> {
    if source.files.is_empty() {
        return file_bytes(&source.images.get(place.line.file as usize)?.1).ok();
    }
    sample_again(source, survey, place.line, |sample, directory| {
        image_bytes(sample.images.get(place.index as usize)?, directory).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_line_is_found_again_behind_empty_ones() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in 1..=500 {
            let text = if line % 7 == 0 { "\n".to_owned() } else { format!("\"{}\"\n", "x".repeat(line)) };
            file.write_all(text.as_bytes()).unwrap();
        }
        let mut rows = Records::unhashed(File::open(file.path()).unwrap(), Framing::Lines, MAX_LINE);
        let mut index = LineIndex::default();
        while let Some(row) = rows.next_row().unwrap() {
            index.note(row.line, row.offset);
        }
        for line in [1, 2, 62, 64, 65, 100, 499, 500] {
            let row = row_again(file.path(), &index, line).unwrap().unwrap();
            assert_eq!(row.bytes.len() as u64, line + 2, "{line}");
        }
        assert!(row_again(file.path(), &index, 501).unwrap().is_none());
        assert!(row_again(file.path(), &index, 7).unwrap().is_none());
        assert!(row_again(file.path(), &LineIndex::default(), 1).unwrap().is_none());
    }
}
