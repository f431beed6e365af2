//! Reads the header of an image in any format.

use super::error::ImageError;
use super::header::Header;
use super::limits::Limits;
use super::{bmp, gif, jpeg_file, png, tiff, webp};
use crate::sniff::{Format, sniff};

/// Reads the header and refuses what the limits refuse.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Header, ImageError> {
    let format = sniff(bytes)?;
    limits.check_bytes(bytes.len() as u64)?;
    let header = match format {
        Format::Jpeg => jpeg_file::header(bytes),
        Format::Png => png::header(bytes),
        Format::WebP => webp::header(bytes),
        Format::Gif => gif::header(bytes),
        Format::Bmp => bmp::header(bytes),
        Format::Tiff => tiff::header(bytes),
    }?;
    limits.check_size(header.width, header.height)?;
    limits.check_decoded(header.decoded_bytes())?;
    Ok(header)
}
