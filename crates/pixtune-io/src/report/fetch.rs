//! Reading again what was picked: lines by their place, pictures as small JPEGs.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use pixtune_core::sample::{Picture, Sample};
use pixtune_core::spec::ModelSpec;
use pixtune_core::tokens::{Grid, grid};

use super::collect::PicturePlace;
use crate::image::jpeg::{Subsampling, encode_rgb};
use crate::image::resample::{Filter, Plane, resample};
use crate::image::{Reading, Rgb, decode, inspect};
use crate::read::records::{Framing, Records};
use crate::survey::{LIMITS, LinePlace, MAX_LINE, Source, file_bytes, picture_bytes, with_sample};
use crate::write::base64;

/// A picture for the page.
pub(super) struct Thumbnail {
    /// The data URI.
    pub(super) uri: String,
    /// Width and height of the original as the reference measures them.
    pub(super) size: (u32, u32),
    /// What the model cuts it into.
    pub(super) grid: Grid,
}

/// Bytes of pictures that the page may hold, of the 5 MB in all.
const MOST_BYTES: usize = 3_600_000;

/// Fetches from the files of a source.
pub(super) struct Fetch<'s> {
    source: &'s Source,
    spec: &'s ModelSpec,
    used: usize,
    /// Pictures that were left out because the page was full.
    pub(super) left_out: u64,
}

impl<'s> Fetch<'s> {
    pub(super) fn new(source: &'s Source, spec: &'s ModelSpec) -> Fetch<'s> {
        Fetch { source, spec, used: 0, left_out: 0 }
    }

    /// Does something with the sample of a line; `None` where the file has changed since the survey.
    pub(super) fn sample<T>(
        &self,
        place: LinePlace,
        look: impl FnOnce(&Sample<Picture<&str>>, &Path) -> Option<T>,
    ) -> Option<T> {
        let file = self.source.files.get(place.file as usize)?;
        let mut source = File::open(&file.path).ok()?;
        source.seek(SeekFrom::Start(place.offset)).ok()?;
        let mut rows = Records::unhashed(source.take(place.length), Framing::Lines, MAX_LINE);
        let row = rows.next_row().ok()??;
        let folder = file.path.parent().unwrap_or(Path::new(""));
        with_sample(&row, |sample| Ok(look(sample, folder))).ok()?
    }

    /// A picture whose longer side is at most `side` pixels.
    pub(super) fn thumbnail(&mut self, place: PicturePlace, side: u32) -> Option<Thumbnail> {
        if self.used > MOST_BYTES {
            self.left_out += 1;
            return None;
        }
        let bytes = match self.source.files.is_empty() {
            true => file_bytes(&self.source.pictures.get(place.line.file as usize)?.1).ok()?,
            false => self.sample(place.line, |sample, folder| {
                picture_bytes(sample.images.get(place.index as usize)?, folder).ok()
            })?,
        };
        self.small(&bytes, side)
    }

    /// The picture in these bytes, as the reference reads it: so the model sees it.
    pub(super) fn small(&mut self, bytes: &[u8], side: u32) -> Option<Thumbnail> {
        if self.used > MOST_BYTES {
            self.left_out += 1;
            return None;
        }
        let header = inspect(bytes, &LIMITS).ok()?;
        let rgb = decode(bytes, &header, &LIMITS, Reading::Reference).ok()?.rgb;
        let size = (rgb.width as u32, rgb.height as u32);
        let uri = jpeg_uri(&shrink(rgb, side as usize))?;
        self.used += uri.len();
        Some(Thumbnail { uri, size, grid: grid(self.spec, size.0, size.1) })
    }
}

fn shrink(rgb: Rgb, side: usize) -> Rgb {
    let longer = rgb.width.max(rgb.height);
    if longer <= side {
        return rgb;
    }
    let scaled = |length: usize| (length * side / longer).max(1);
    let (width, height) = (scaled(rgb.width), scaled(rgb.height));
    let pixels = resample(Plane::from(&rgb), width, height, Filter::Lanczos);
    Rgb { width, height, pixels }
}

fn jpeg_uri(rgb: &Rgb) -> Option<String> {
    let mut jpeg = Vec::new();
    encode_rgb(&rgb.pixels, (rgb.width, rgb.height), 75, Subsampling::Quarter, &mut jpeg).ok()?;
    let mut uri = b"data:image/jpeg;base64,".to_vec();
    base64::encode(&jpeg, &mut uri);
    String::from_utf8(uri).ok()
}
