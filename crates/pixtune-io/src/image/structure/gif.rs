//! GIF: whole where its trailer is reached behind a frame.
use super::Structure;
use crate::image::error::ImageError;
use crate::image::gif::{Walk, walk};
use crate::sniff::Format::Gif;

/// Every block is there, the trailer too, and a frame.
pub(super) fn check(bytes: &[u8]) -> Result<Structure, ImageError> {
    match walk(bytes)? {
        Walk { end: None, .. } => Err(ImageError::Truncated { format: Gif }),
        Walk { frames: 0, .. } => Err(ImageError::corrupt(Gif, "it holds no image")),
        Walk { end: Some(end), faults, .. } => Ok(Structure::new(Gif, end, faults)),
    }
}
