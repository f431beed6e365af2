//! JPEG: what the segments before the pixels say. The pixels are the business of the `jpeg` module.
use std::borrow::Cow;
use std::cell::RefCell;

use super::error::ImageError;
use super::exif;
use super::header::{Color, Header};
use super::jpeg::{self, Decoder, JpegError, Planes};
use super::limits::Limits;
use super::raster::{Channels, Raster, Samples};
use crate::numbers::{take, u16_be};
use crate::sniff::Format::Jpeg;

const TRUNCATED: ImageError = ImageError::Truncated { format: Jpeg };

const START_OF_SCAN: u8 = 0xda;

/// Marker segments up to the first scan, whose marker comes last: marker and payload.
pub(super) fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 2;
    std::iter::from_fn(move || {
        // Stray bytes between segments and filling bytes before a marker are stepped over, as readers do.
        while *bytes.get(at)? != 0xff {
            at += 1;
        }
        while *bytes.get(at)? == 0xff {
            at += 1;
        }
        let marker = bytes[at];
        at += 1;
        if matches!(marker, 0x01 | 0xd0..=0xd8) {
            return Some((marker, &bytes[..0]));
        }
        if matches!(marker, START_OF_SCAN | 0xd9) {
            at = bytes.len();
            return (marker == START_OF_SCAN).then_some((marker, &bytes[..0]));
        }
        let len = usize::from(u16_be(bytes, at)?);
        let payload = take(bytes, at + 2, len.checked_sub(2)?)?;
        at += len;
        Some((marker, payload))
    })
}

/// What a segment with an XMP document starts with.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

pub(super) fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    let (mut exif, mut xmp) = (Cow::Borrowed(&[][..]), &[][..]);
    let mut header = None;
    for (marker, payload) in segments(bytes) {
        match marker {
            // A block that does not fit into one segment goes on in the next.
            0xe1 if payload.starts_with(b"Exif\0\0") && !exif.is_empty() => {
                exif.to_mut().extend(&payload[6..]);
            }
            0xe1 if payload.starts_with(b"Exif\0\0") => exif = Cow::Borrowed(payload),
            0xe1 if payload.starts_with(XMP) => xmp = &payload[XMP.len()..],
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                header = header.or(Some(frame(payload).ok_or(TRUNCATED)?));
            }
            _ => {}
        }
    }
    Ok(Header { orientation: exif::orientation(&exif, xmp), ..header.ok_or(TRUNCATED)? })
}

/// Whether the beginning of a file holds all that stands before its pixels.
pub(crate) fn reaches_scan(bytes: &[u8]) -> bool {
    segments(bytes).any(|(marker, _)| marker == START_OF_SCAN)
}

/// ITU T.81, B.2.2.
fn frame(payload: &[u8]) -> Option<Header> {
    let height = u32::from(u16_be(payload, 1)?);
    let width = u32::from(u16_be(payload, 3)?);
    let mut header = Header::plain(Jpeg, width, height);
    header.bits = payload[0];
    header.color = match payload.get(5)? {
        1 => Color::Gray,
        4 => Color::Cmyk,
        _ => Color::Rgb,
    };
    Some(header)
}

pub(super) fn decode(bytes: &[u8], _header: &Header, limits: &Limits) -> Result<Raster, ImageError> {
    let planes = jpeg::decode(bytes, &jpeg::Limits { max_pixels: limits.max_pixels }).map_err(error)?;
    let pixels = planes.to_rgb();
    Ok(Raster {
        width: planes.width,
        height: planes.height,
        channels: Channels::Rgb,
        samples: Samples::Eight(pixels),
        key: None,
    })
}

/// Decodes a JPEG into planes that each thread reuses, so that a run does not allocate them for every image.
pub(super) fn with_planes<T>(
    bytes: &[u8],
    limits: &Limits,
    use_planes: impl FnOnce(&Planes) -> T,
) -> Result<T, ImageError> {
    thread_local! {
        static KEPT: RefCell<(Decoder, Planes)> = RefCell::default();
    }
    KEPT.with_borrow_mut(|(decoder, planes)| {
        let limits = jpeg::Limits { max_pixels: limits.max_pixels };
        decoder.decode_into(bytes, &limits, planes).map_err(error)?;
        let used = use_planes(planes);
        if planes.width * planes.height > (16 << 20) {
            *planes = Planes::default();
            *decoder = Decoder::default();
        }
        Ok(used)
    })
}

/// The error of the codec in the form that all formats share.
pub(super) fn error(error: JpegError) -> ImageError {
    match error {
        JpegError::Truncated { .. } | JpegError::Incomplete => TRUNCATED,
        JpegError::Unsupported(kind) => {
            ImageError::UnsupportedFeature { format: Jpeg, feature: kind.to_string() }
        }
        JpegError::TooLarge { width, height, max_pixels } => ImageError::TooManyPixels {
            width,
            height,
            pixels: u64::from(width) * u64::from(height),
            max: max_pixels,
        },
        other => ImageError::corrupt(Jpeg, other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_enough_when_it_reaches_the_scan() {
        let head = b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x20\x01\x01\x11\x00";
        // An orientation may stand behind the frame, so the frame alone is not all.
        assert!(header(head).is_ok() && !reaches_scan(head));
        let whole = [&head[..], b"\xff\xe1\x00\x04ab\xff\xda"].concat();
        assert!(reaches_scan(&whole));
        assert!((0..whole.len()).all(|length| !reaches_scan(&whole[..length])));
        assert!(!reaches_scan(&[&head[..], b"\xff\xd9\xff\xda"].concat()));
    }
}
