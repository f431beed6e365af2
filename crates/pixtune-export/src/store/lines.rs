//! JSON Lines, with images inside the lines.

use std::io;

use pixtune_io::write::{SampleWriter, WrittenImage};

use super::{Encode, Piece};
use crate::image::StoredImage;
use crate::row::Exported;

/// Encodes a sample as a line.
#[derive(Debug)]
pub(crate) struct Lines {
    writer: &'static dyn SampleWriter,
}

impl Lines {
    /// Lines of a format.
    pub(crate) fn new(writer: &'static dyn SampleWriter) -> Lines {
        Lines { writer }
    }
}

impl Encode for Lines {
    fn encode(&self, sample: Exported) -> io::Result<Piece> {
        let Exported { sample, images, .. } = sample;
        let inline =
            |image: StoredImage| WrittenImage::Inline { mime: image.format.mime(), bytes: image.bytes };
        let images: Vec<_> = images.into_iter().map(inline).collect();
        let mut out = Vec::new();
        self.writer.write(&sample, &images, &mut out);
        Ok(Piece::Bytes(out))
    }
}
