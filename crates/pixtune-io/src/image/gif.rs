//! GIF: blocks by our own walk, the first frame's pixels by the `gif` crate.
use std::num::NonZeroU64;

use ::gif::{DecodeOptions, DecodingError, MemoryLimit};

use super::bytes::{take, u16_le};
use super::error::ImageError;
use super::header::{Color, Header};
use super::limits::Limits;
use super::png::apply_palette;
use super::raster::{Raster, Samples};
use super::sniff::Format::Gif;

const TRUNCATED: ImageError = ImageError::Truncated { format: Gif };

/// What a walk over the blocks of a file finds.
struct Walk {
    /// Screen, or larger where the first frame reaches beyond it.
    size: (u32, u32),
    transparent: bool,
    frames: u32,
    /// The trailer was reached.
    whole: bool,
}

/// GIF89a, sections 18 to 27.
fn walk(bytes: &[u8]) -> Result<Walk, ImageError> {
    let screen = take(bytes, 6, 7).ok_or(TRUNCATED)?;
    let side = |at| u32::from(u16_le(screen, at).unwrap_or(0));
    let mut walk = Walk { size: (side(0), side(2)), transparent: false, frames: 0, whole: false };
    let mut at = 13 + color_table(screen[4]);
    loop {
        let next = match bytes.get(at) {
            Some(b'!') => extension(bytes, at, &mut walk),
            Some(b',') => frame(bytes, at, &mut walk),
            Some(b';') => {
                walk.whole = true;
                return Ok(walk);
            }
            // Pillow steps over stray bytes between blocks.
            Some(_) => Some(at + 1),
            None => return Ok(walk),
        };
        match next {
            Some(next) => at = next,
            None => return Ok(walk),
        }
    }
}

fn color_table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

fn extension(bytes: &[u8], at: usize, walk: &mut Walk) -> Option<usize> {
    const GRAPHIC_CONTROL: u8 = 0xf9;
    if bytes.get(at + 1) == Some(&GRAPHIC_CONTROL) && walk.frames == 0 {
        walk.transparent |= bytes.get(at + 3)? & 1 == 1;
    }
    sub_blocks(bytes, at + 2)
}

fn frame(bytes: &[u8], at: usize, walk: &mut Walk) -> Option<usize> {
    let descriptor = take(bytes, at + 1, 9)?;
    walk.frames += 1;
    if walk.frames == 1 {
        let end = |start, length| {
            Some(u32::from(u16_le(descriptor, start)?) + u32::from(u16_le(descriptor, length)?))
        };
        walk.size = (walk.size.0.max(end(0, 4)?), walk.size.1.max(end(2, 6)?));
    }
    sub_blocks(bytes, at + 11 + color_table(descriptor[8]))
}

/// The place after a chain of sub-blocks; `None` where the file ends first.
fn sub_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let len = usize::from(*bytes.get(at)?);
        at += 1 + len;
        if len == 0 {
            return Some(at);
        }
    }
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    let Walk { size: (width, height), transparent, frames, .. } = walk(bytes)?;
    let mut header = Header::plain(Gif, width, height);
    header.color = Color::Palette;
    header.alpha = transparent;
    header.frames = frames.max(1);
    Ok(header)
}

/// Every block is there, the trailer too, and exactly one frame.
pub(super) fn check_structure(bytes: &[u8]) -> Result<(), ImageError> {
    match walk(bytes)? {
        Walk { whole: false, .. } => Err(TRUNCATED),
        Walk { frames: 0, .. } => Err(ImageError::corrupt(Gif, "it holds no image")),
        Walk { frames: 1, .. } => Ok(()),
        Walk { frames, .. } => Err(ImageError::Animated { format: Gif, frames }),
    }
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
