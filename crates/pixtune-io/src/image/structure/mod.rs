//! The structure of a file: where its image ends, and whether a block in it stops the readers that the reference uses.
//!
//! Nothing is decoded. Each format has a walk over its blocks that knows what Pillow 13.0.0 and the libraries below it
//! refuse, as far as that depends on blocks: mistral-common 1.13.1 and transformers 5.23.0 open images with Pillow.
//! `tests/peers/images.py` compares the verdicts on thousands of damaged images.
mod gif;
mod jpeg;
mod png;
mod tags;
mod tiff;
mod webp;

use super::bmp;
use super::error::ImageError;
use super::faults::Faults;
use crate::sniff::{Format, sniff};

pub(super) use jpeg::check_head as check_jpeg_head;
pub(super) use png::skeleton;
pub(super) use webp::is_simple;

/// What a walk over the blocks of a whole file finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The format of the bytes.
    pub format: Format,
    /// Where the image ends; bytes from there on are not part of it.
    pub end: usize,
    /// Why the reference refuses the file, though its pixels may be whole.
    pub refused: Option<String>,
    /// Why other readers refuse the file or read it otherwise: transformers auto-orients images, mistral-common does not.
    pub doubtful: Option<String>,
}

impl Structure {
    fn new(format: Format, end: usize, faults: Faults) -> Structure {
        let Faults { refused, doubtful } = faults;
        Structure { format, end, refused, doubtful }
    }

    /// A file whose blocks are all fine.
    pub(super) fn sound(format: Format, end: usize) -> Structure {
        Structure::new(format, end, Faults::default())
    }

    /// The verdict of the reference.
    pub fn accepted(&self) -> Result<(), ImageError> {
        match &self.refused {
            Some(why) => Err(ImageError::Refused { format: self.format, why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Why the bytes are not passed on as they are.
    pub fn fault(&self) -> Option<&str> {
        self.refused.as_deref().or(self.doubtful.as_deref())
    }
}

/// Walks over the blocks of a whole file. An error is what no command accepts: truncated or damaged where the pixels are.
pub fn check_structure(bytes: &[u8]) -> Result<Structure, ImageError> {
    match sniff(bytes)? {
        Format::Jpeg => jpeg::check(bytes),
        Format::Png => png::check(bytes),
        Format::WebP => webp::check(bytes),
        Format::Gif => gif::check(bytes),
        Format::Bmp => check_bmp(bytes),
        Format::Tiff => tiff::check(bytes),
    }
}

fn check_bmp(bytes: &[u8]) -> Result<Structure, ImageError> {
    let (end, refused) = bmp::extent(bytes)?;
    Ok(Structure { refused: refused.map(str::to_owned), ..Structure::sound(Format::Bmp, end) })
}
