//! From bytes to RGB: the one door to all decoders.
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::ImageError;
use super::header::Header;
use super::limits::Limits;
use super::orient::orient;
use super::raster::{Decoded, Reading, Rgb};
use super::{bmp, gif, jpeg_file, png, tiff, webp};
use crate::sniff::Format;

/// Decodes the whole image. Data that ends early is an error, never filled up.
pub fn decode(
    bytes: &[u8],
    header: &Header,
    limits: &Limits,
    reading: Reading,
) -> Result<Decoded, ImageError> {
    if reading == Reading::Corrected && header.is_animated() {
        return Err(ImageError::Animated { format: header.format, frames: header.frames });
    }
    limits.check_size(header.width, header.height)?;
    limits.check_decoded(header.decoded_bytes())?;
    let raster = guard(header.format, || match header.format {
        Format::Jpeg => jpeg_file::decode(bytes, header, limits),
        Format::Png => png::decode(bytes, header, limits),
        Format::WebP => webp::decode(bytes, header, limits),
        Format::Gif => gif::decode(bytes, header, limits),
        Format::Bmp => bmp::decode(bytes, header),
        Format::Tiff => tiff::decode(bytes, header, limits),
    })?;
    let mut decoded = raster.into_rgb(reading);
    // Pillow turns a TIFF by itself while loading it (TiffImagePlugin.load_end), and nothing else.
    if reading == Reading::Corrected || header.format == Format::Tiff {
        upright(&mut decoded.rgb, header);
    }
    Ok(decoded)
}

fn upright(rgb: &mut Rgb, header: &Header) {
    let pixels = std::mem::take(&mut rgb.pixels);
    rgb.pixels = orient(pixels, rgb.width, rgb.height, 3, header.orientation);
    if header.orientation.swaps_sides() {
        std::mem::swap(&mut rgb.width, &mut rgb.height);
    }
}

/// Runs a decoder; its panic is a fault of this one image.
fn guard<T>(format: Format, decoder: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
    // Nothing outlives the closure but its result, so no half-changed state can be seen afterwards.
    catch_unwind(AssertUnwindSafe(decoder)).unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a text");
        Err(ImageError::Decoder { format, why: why.to_owned() })
    })
}
