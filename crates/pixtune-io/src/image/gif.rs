//! GIF: blocks by a walk of our own, the first frame's pixels by the `gif` crate.
mod walk;

use std::num::NonZeroU64;

use ::gif::{DecodeOptions, DecodingError, MemoryLimit};

use super::error::ImageError;
use super::header::{Color, Header};
use super::limits::Limits;
use super::png::apply_palette;
use super::raster::{Raster, Samples};
use crate::sniff::Format::Gif;

pub(super) use walk::{Walk, walk};

const TRUNCATED: ImageError = ImageError::Truncated { format: Gif };

pub(super) fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    let Walk { size: (width, height), transparent, frames, .. } = walk(bytes)?;
    let mut header = Header::plain(Gif, width, height);
    header.color = Color::Palette;
    header.alpha = transparent;
    header.frames = frames.max(1);
    Ok(header)
}

pub(super) fn decode(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster, ImageError> {
    let mut options = DecodeOptions::new();
    options.allow_unknown_blocks(true);
    let limit = NonZeroU64::new(limits.max_decoded_bytes).unwrap_or(NonZeroU64::MIN);
    options.set_memory_limit(MemoryLimit::Bytes(limit));
    let mut decoder = options.read_info(bytes).map_err(error)?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.read_next_frame().map_err(error)?;
    let frame = frame.ok_or_else(|| ImageError::corrupt(Gif, "it holds no image"))?;
    let colors = colors(frame.palette.as_deref().or(global.as_deref()), frame.transparent);
    let (width, height) = (header.width as usize, header.height as usize);
    // Around a frame smaller than the screen lies the transparent color, or else the first.
    let mut canvas = vec![frame.transparent.unwrap_or(0); width * height];
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let rows = frame.buffer.chunks_exact(usize::from(frame.width).max(1));
    for (row, line) in rows.zip(canvas.chunks_exact_mut(width).skip(top)) {
        let place = line.get_mut(left..left + row.len());
        place
            .ok_or_else(|| ImageError::corrupt(Gif, "its frame lies outside the image"))?
            .copy_from_slice(row);
    }
    let (channels, pixels) = apply_palette(&canvas, &colors, frame.transparent.is_some());
    Ok(Raster { width, height, channels, samples: Samples::Eight(pixels), key: None })
}

/// A palette's colors, greys where there is no palette, black past its end.
fn colors(palette: Option<&[u8]>, transparent: Option<u8>) -> [[u8; 4]; 256] {
    let mut colors = [[0, 0, 0, 255]; 256];
    match palette {
        Some(palette) => {
            for (color, rgb) in colors.iter_mut().zip(palette.as_chunks::<3>().0) {
                color[..3].copy_from_slice(rgb);
            }
        }
        None => {
            for (gray, color) in (0..=u8::MAX).zip(&mut colors) {
                color[..3].fill(gray);
            }
        }
    }
    if let Some(index) = transparent {
        colors[usize::from(index)][3] = 0;
    }
    colors
}

fn error(error: DecodingError) -> ImageError {
    match error {
        DecodingError::UnexpectedEof => TRUNCATED,
        DecodingError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => TRUNCATED,
        other => ImageError::corrupt(Gif, other.to_string()),
    }
}
