//! WebP: chunks by our own walk, pixels by the `image-webp` crate.
use std::borrow::Cow;
use std::io::{self, Cursor};

use image_webp::{DecodingError, WebPDecoder};

use super::error::ImageError;
use super::exif;
use super::header::Header;
use super::limits::Limits;
use super::raster::{Channels, Raster, Samples};
use crate::numbers::{take, u16_le, u24_le, u32_le};
use crate::sniff::Format::WebP;

/// `RIFF`, the size of what follows, `WEBP`.
pub(super) const RIFF: usize = 12;

// Flags of `VP8X`.
pub(super) const ALPHA: u8 = 0x10;
pub(super) const ANIMATION: u8 = 0x02;
const PROFILE: u8 = 0x20;
const XMP: u8 = 0x04;
pub(super) const EXIF: u8 = 0x08;

const TRUNCATED: ImageError = ImageError::Truncated { format: WebP };

/// The chunks in order: name and data, as far as they lie in the file; the data of a cut one is shorter than
/// its declared length, the third value.
pub(super) fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], usize)> {
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

pub(super) fn riff_end(bytes: &[u8]) -> usize {
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
pub(super) fn lossy(data: &[u8]) -> Result<Header, ImageError> {
    if take(data, 3, 3).ok_or(TRUNCATED)? != b"\x9d\x01\x2a" {
        return Err(ImageError::corrupt(WebP, "its key frame has no start code"));
    }
    let side = |at| u16_le(data, at).map(|side| u32::from(side & 0x3fff)).ok_or(TRUNCATED);
    Ok(Header::plain(WebP, side(6)?, side(8)?))
}

/// RFC 9649, section 3.4.
pub(super) fn lossless(data: &[u8]) -> Result<Header, ImageError> {
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
    let side = |at| u24_le(data, at).map(|side| side + 1).ok_or(TRUNCATED);
    let mut header = Header::plain(WebP, side(4)?, side(7)?);
    let flags = data[0];
    header.alpha = flags & ALPHA != 0 || has_alpha(bytes);
    let (mut frames, mut exif, mut xmp) = (0, None, None);
    for (name, data, _) in chunks(bytes) {
        match name {
            // libwebp passes over a chunk that is not announced, and over all but the first of a name.
            b"EXIF" if flags & EXIF != 0 => _ = exif.get_or_insert(data),
            b"XMP " if flags & XMP != 0 => _ = xmp.get_or_insert(data),
            b"ANMF" => frames += 1,
            _ => {}
        }
    }
    header.orientation = exif::orientation(exif.unwrap_or_default(), xmp.unwrap_or_default());
    if flags & ANIMATION != 0 {
        header.frames = frames.max(1);
    }
    Ok(header)
}

pub(super) fn decode(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster, ImageError> {
    check_frame_size(bytes, header)?;
    let announced = announced(bytes);
    // libwebp stops where the pixels need a byte behind the end of their part of the file. The decoder stops one byte later,
    // and takes that byte for 0, so the zeros at the ends of both parts are withheld from it.
    match without_final_zeros(&announced) {
        Some(shorter) => decode_announced(&shorter, header, limits),
        None => decode_announced(&announced, header, limits),
    }
}

fn decode_announced(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster, ImageError> {
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

/// The file with the flags of the chunks that are there. The decoder looks for each chunk that is announced, and for alpha
/// only where it is; libwebp goes by the chunks.
fn announced(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut copy = Cow::Borrowed(bytes);
    if take(bytes, RIFF, 4) != Some(b"VP8X") {
        return copy;
    }
    let Some(&declared) = bytes.get(RIFF + 8) else { return copy };
    let has = |wanted: &[u8]| chunks(bytes).any(|(name, ..)| name == wanted);
    let mut flags = declared;
    for (name, flag) in [(b"EXIF", EXIF), (b"XMP ", XMP), (b"ICCP", PROFILE)] {
        if flags & flag != 0 && !has(name) {
            flags &= !flag;
        }
    }
    if has_alpha(bytes) {
        flags |= ALPHA;
    }
    if flags != declared {
        copy.to_mut()[RIFF + 8] = flags;
    }
    copy
}

/// Whether the pixels themselves have an alpha channel.
fn has_alpha(bytes: &[u8]) -> bool {
    chunks(bytes).any(|(name, data, _)| match name {
        b"ALPH" => true,
        b"VP8L" => lossless(data).is_ok_and(|header| header.alpha),
        _ => false,
    })
}

/// Where the first partition of lossy pixels ends (RFC 6386, section 9.1).
pub(super) fn first_partition_end(data: &[u8]) -> Option<usize> {
    const FRAME_HEADER: usize = 10;
    Some(FRAME_HEADER + (u24_le(data, 0)? >> 5) as usize)
}

/// The file without the last byte of the first and of the last partition of lossy pixels, where both are 0.
fn without_final_zeros(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut at = RIFF;
    let (_, data, len) = chunks(bytes).find(|&(name, _, len)| {
        let found = name == b"VP8 ";
        at += if found { 0 } else { 8 + len + len % 2 };
        found
    })?;
    let (tag, end) = (u24_le(data, 0)?, first_partition_end(data)?);
    if data.len() < len || end >= len || tag >> 5 == 0 || [data[len - 1], data[end - 1]] != [0, 0] {
        return None;
    }
    let mut pixels = [&data[..end - 1], &data[end..len - 1]].concat();
    let tag = (tag & 0x1f) | ((tag >> 5) - 1) << 5;
    pixels[..3].copy_from_slice(&tag.to_le_bytes()[..3]);
    let mut file = [&bytes[..at + 4], &(pixels.len() as u32).to_le_bytes(), &pixels].concat();
    file.resize(file.len() + pixels.len() % 2, 0);
    file.extend_from_slice(bytes.get(at + 8 + len + len % 2..riff_end(bytes)).unwrap_or_default());
    let riff = (file.len() - 8) as u32;
    file[4..8].copy_from_slice(&riff.to_le_bytes());
    Some(file)
}

/// The decoder allocates by the size in the frame, not by the canvas that was checked against the limits.
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
