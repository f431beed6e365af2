//! WebP: chunks by our own walk, pixels by the `image-webp` crate.
use std::io::{self, Cursor};

use image_webp::{DecodingError, WebPDecoder};

use super::bytes::{take, u16_le, u24_le, u32_le};
use super::error::ImageError;
use super::exif;
use super::header::Header;
use super::limits::Limits;
use super::raster::{Channels, Raster, Samples};
use super::sniff::Format::WebP;

/// `RIFF`, the size of what follows, `WEBP`.
const RIFF: usize = 12;

const TRUNCATED: ImageError = ImageError::Truncated { format: WebP };

/// The chunks in order: name and data, as far as they lie in the file; the data of a cut one is shorter than
/// its declared length, the third value.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], usize)> {
    chunks_from(&bytes[..riff_end(bytes).min(bytes.len())], RIFF)
}

fn chunks_from(bytes: &[u8], mut at: usize) -> impl Iterator<Item = (&[u8], &[u8], usize)> {
    std::iter::from_fn(move || {
        let name = take(bytes, at, 4)?;
        let len = u32_le(bytes, at + 4)? as usize;
        let data = &bytes[at + 8..];
        at = at.checked_add(8 + len + len % 2)?;
        Some((name, &data[..len.min(data.len())], len))
    })
}

fn riff_end(bytes: &[u8]) -> usize {
    8usize.saturating_add(u32_le(bytes, 4).unwrap_or(0) as usize)
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    let (name, data, _) = chunks(bytes).next().ok_or(TRUNCATED)?;
    match name {
        b"VP8 " => lossy(data),
        b"VP8L" => lossless(data),
        b"VP8X" => extended(bytes, data),
        _ => Err(ImageError::corrupt(WebP, "its first chunk is not an image")),
    }
}

/// RFC 9649, section 2.5 and RFC 6386, section 9.1.
fn lossy(data: &[u8]) -> Result<Header, ImageError> {
    if take(data, 3, 3).ok_or(TRUNCATED)? != b"\x9d\x01\x2a" {
        return Err(ImageError::corrupt(WebP, "its key frame has no start code"));
    }
    let side = |at| u16_le(data, at).map(|side| u32::from(side & 0x3fff)).ok_or(TRUNCATED);
    Ok(Header::plain(WebP, side(6)?, side(8)?))
}

/// RFC 9649, section 3.4.
fn lossless(data: &[u8]) -> Result<Header, ImageError> {
    if data.first() != Some(&0x2f) {
        return Err(ImageError::corrupt(WebP, "its lossless stream has no signature"));
    }
    let bits = u32_le(data, 1).ok_or(TRUNCATED)?;
    let mut header = Header::plain(WebP, (bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1);
    header.alpha = bits >> 28 & 1 == 1;
    Ok(header)
}

/// RFC 9649, section 2.7.
fn extended(bytes: &[u8], data: &[u8]) -> Result<Header, ImageError> {
    const ALPHA: u8 = 0x10;
    const ANIMATION: u8 = 0x02;
    let side = |at| u24_le(data, at).map(|side| side + 1).ok_or(TRUNCATED);
    let mut header = Header::plain(WebP, side(4)?, side(7)?);
    let flags = data[0];
    header.alpha = flags & ALPHA != 0;
    let mut frames = 0;
    for (name, data, _) in chunks(bytes) {
        match name {
            b"EXIF" => header.orientation = exif::orientation(data),
            b"ANMF" => frames += 1,
            _ => {}
        }
    }
    if flags & ANIMATION != 0 {
        header.frames = frames.max(1);
    }
    Ok(header)
}

/// The declared size is there, and every chunk with it.
pub(super) fn check_structure(bytes: &[u8]) -> Result<(), ImageError> {
    header(bytes)?;
    if riff_end(bytes) > bytes.len() || chunks(bytes).any(|(_, data, len)| data.len() < len) {
        return Err(TRUNCATED);
    }
    if !chunks(bytes).any(|(name, ..)| matches!(name, b"VP8 " | b"VP8L" | b"ANMF")) {
        return Err(ImageError::corrupt(WebP, "it holds no image"));
    }
    Ok(())
}

pub(super) fn decode(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster, ImageError> {
    check_frame_size(bytes, header)?;
    let error = |cause| error(cause, bytes);
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(error)?;
    decoder.set_memory_limit(limits.decoder_bytes());
    if decoder.dimensions() != (header.width, header.height) {
        return Err(ImageError::corrupt(WebP, "its frame has another size than its header"));
    }
    let size = decoder.output_buffer_size().ok_or_else(|| ImageError::corrupt(WebP, "its size overflows"))?;
    let channels = if decoder.has_alpha() { Channels::Rgba } else { Channels::Rgb };
    let mut data = vec![0; size];
    decoder.read_image(&mut data).map_err(error)?;
    let (width, height) = (header.width as usize, header.height as usize);
    Ok(Raster { width, height, channels, samples: Samples::Eight(data), key: None })
}

/// The decoder allocates by what the frame says, not by the canvas that was checked against the limits.
fn check_frame_size(bytes: &[u8], header: &Header) -> Result<(), ImageError> {
    let still = |name: &[u8], data: &[u8]| match name {
        b"VP8 " => lossy(data).map(Some),
        b"VP8L" => lossless(data).map(Some),
        _ => Ok(None),
    };
    for (name, data, _) in chunks(bytes) {
        let frame = match name {
            // A frame's own chunks start after sixteen bytes of placement; alpha may come before color.
            b"ANMF" => {
                chunks_from(data, 16).find_map(|(name, data, _)| still(name, data).transpose()).transpose()?
            }
            _ => still(name, data)?,
        };
        if frame.is_some_and(|frame| frame.width > header.width || frame.height > header.height) {
            return Err(ImageError::corrupt(WebP, "a frame is larger than the image"));
        }
    }
    Ok(())
}

fn error(error: DecodingError, bytes: &[u8]) -> ImageError {
    match error {
        DecodingError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => TRUNCATED,
        _ if riff_end(bytes) > bytes.len() => TRUNCATED,
        other => ImageError::corrupt(WebP, other.to_string()),
    }
}
