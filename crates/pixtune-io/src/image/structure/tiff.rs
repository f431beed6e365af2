//! TIFF: the tags and strips of the first page, as far as Pillow and libtiff insist on them.
use std::io::Cursor;

use ::tiff::ColorType;
use ::tiff::decoder::Decoder;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};

use super::Structure;
use crate::image::error::ImageError;
use crate::image::exif::{Directory, Tags};
use crate::image::header::{Color, Header};
use crate::image::jpeg_file;
use crate::image::tiff::{
    BITS, COLOR_MAP, COMPRESSION, EXTRA_SAMPLES, HEIGHT, JPEG, PHOTOMETRIC, SAMPLES, STRIP_BYTES,
    STRIP_OFFSETS, TILE_BYTES, TILE_OFFSETS, UNASSOCIATED, WIDTH, error, header, page, strips, unsupported,
};
use crate::numbers::take;
use crate::sniff::Format::Tiff;

const ROWS_PER_STRIP: u16 = 278;
const PLANES: u16 = 284;
const TILE_WIDTH: u16 = 322;
const WHITE_POINTS: u16 = 532;

/// Tags whose values are accepted only as whole numbers.
const NUMBERS: [u16; 13] = [
    WIDTH,
    HEIGHT,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    STRIP_OFFSETS,
    SAMPLES,
    ROWS_PER_STRIP,
    STRIP_BYTES,
    PLANES,
    TILE_WIDTH,
    TILE_OFFSETS,
    TILE_BYTES,
];

// Types of tags.
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;

/// Every strip or tile lies inside the file, and the tags are ones that are read.
pub(super) fn check(bytes: &[u8]) -> Result<Structure, ImageError> {
    let header = header(bytes)?;
    let (tags, page) = page(bytes)?;
    let strips = strips(&tags, page).filter(|strips| !strips.is_empty());
    let strips = strips.ok_or_else(|| ImageError::corrupt(Tiff, "it has no list of its strips"))?;
    check_tags(&tags, page, &header)?;
    check_colors(bytes, &header)?;
    let inside = strips.iter().all(|&(at, len)| take(bytes, at, len).is_some());
    if !inside {
        return Err(ImageError::Truncated { format: Tiff });
    }
    if strips.iter().map(|&(_, len)| len).sum::<usize>() > bytes.len() {
        return Err(ImageError::corrupt(Tiff, "its strips overlap"));
    }
    let strips = strips.iter().filter_map(|&(at, len)| take(bytes, at, len));
    match tags.value(page, COMPRESSION) {
        Some(8 | 32_946) => check_deflated(strips, header.decoded_bytes())?,
        Some(JPEG) => check_jpeg(strips, &header, tags.kind(page, ROWS_PER_STRIP).is_some())?,
        None | Some(1..=5 | 32_773) => {}
        Some(other) => {
            let feature = format!("the compression {other}");
            return Err(ImageError::UnsupportedFeature { format: Tiff, feature });
        }
    }
    // Tags and pages lie anywhere, so nothing shows that bytes at the end belong to none of them.
    Ok(Structure::sound(Tiff, bytes.len()))
}

fn check_tags(tags: &Tags<'_>, page: Directory, header: &Header) -> Result<(), ImageError> {
    let corrupt = |why: String| Err(ImageError::corrupt(Tiff, why));
    let is_number = |&tag: &u16| tags.kind(page, tag).is_none_or(|kind| matches!(kind, SHORT | LONG));
    if let Some(tag) = NUMBERS.iter().find(|tag| !is_number(tag)) {
        return corrupt(format!("its tag {tag} is not a whole number"));
    }
    let colors = tags.field(page, COLOR_MAP).filter(|&(kind, map)| kind == SHORT && !map.is_empty());
    if header.color == Color::Palette && colors.is_none() {
        return corrupt("it has no `ColorMap` of whole numbers".to_owned());
    }
    if tags.kind(page, WHITE_POINTS).is_some_and(|kind| kind != RATIONAL) {
        return corrupt("its `ReferenceBlackWhite` is not a fraction".to_owned());
    }
    let extra = tags.values(page, EXTRA_SAMPLES).unwrap_or_default();
    let samples = tags.value(page, SAMPLES).unwrap_or(1) as usize;
    let colors = if header.color == Color::Rgb { 3 } else { 0 };
    if extra.iter().any(|kind| !matches!(kind, 0..=UNASSOCIATED | 999))
        || colors + extra.len() > samples.max(colors)
    {
        return corrupt("its extra samples are of an unknown kind or too many".to_owned());
    }
    Ok(())
}

/// Whether the colors are ones that are decoded. The decoder does not know palettes.
fn check_colors(bytes: &[u8], header: &Header) -> Result<(), ImageError> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).map_err(error)?;
    if header.color == Color::Palette {
        return Ok(());
    }
    let kind = decoder.colortype().map_err(error)?;
    let is_read = match kind {
        ColorType::Gray(bits) => matches!(bits, 1 | 2 | 4 | 8 | 16),
        ColorType::RGB(bits) | ColorType::RGBA(bits) | ColorType::CMYK(bits) => matches!(bits, 8 | 16),
        ColorType::YCbCr(bits) => bits == 8,
        ColorType::Multiband { num_samples, bit_depth } => num_samples == 2 && matches!(bit_depth, 8 | 16),
        _ => false,
    };
    if is_read { Ok(()) } else { Err(unsupported(kind)) }
}

/// Strips that hold zlib streams to their ends, as far as the image reaches. Their data are thrown away in small pieces.
fn check_deflated<'a>(strips: impl Iterator<Item = &'a [u8]>, mut left: u64) -> Result<(), ImageError> {
    let mut piece = vec![0; 1 << 16];
    for mut packed in strips {
        let mut state = InflateState::new_boxed(DataFormat::Zlib);
        while left > 0 {
            let step = inflate(&mut state, packed, &mut piece, MZFlush::None);
            packed = &packed[step.bytes_consumed..];
            left = left.saturating_sub(step.bytes_written as u64);
            match step.status {
                Ok(MZStatus::StreamEnd) => break,
                Ok(_) if step.bytes_consumed + step.bytes_written > 0 => {}
                _ => return Err(ImageError::corrupt(Tiff, "a strip ends before its data do")),
            }
        }
    }
    Ok(())
}

/// Strips that are JPEG files without tables, each as wide as the page.
fn check_jpeg<'a>(
    strips: impl Iterator<Item = &'a [u8]>,
    page: &Header,
    in_rows: bool,
) -> Result<(), ImageError> {
    let fits = |strip: &[u8]| {
        let same = |jpeg: Header| !in_rows || (jpeg.width == page.width && jpeg.height <= page.height);
        strip.starts_with(b"\xff\xd8") && jpeg_file::header(strip).is_ok_and(same)
    };
    let mut strips = strips;
    if page.bits == 8 && strips.all(fits) {
        Ok(())
    } else {
        Err(ImageError::corrupt(Tiff, "its JPEG data have another size or depth than the page"))
    }
}
