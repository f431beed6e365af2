//! TIFF: tags by our own reader, the first page's pixels by the `tiff` crate.
use std::borrow::Cow;
use std::io::{self, Cursor};

use ::tiff::decoder::{Decoder, DecodingResult};
use ::tiff::{ColorType, TiffError};

use super::error::ImageError;
use super::exif::{Directory, ORIENTATION, Tags};
use super::header::{Color, Header};
use super::limits::Limits;
use super::orient::Orientation;
use super::png::{apply_palette, unpack};
use super::raster::{Channels, Raster, Samples};
use crate::numbers::take;
use crate::sniff::Format::Tiff;

const TRUNCATED: ImageError = ImageError::Truncated { format: Tiff };

// TIFF 6.0, section 8.
pub(super) const WIDTH: u16 = 256;
pub(super) const HEIGHT: u16 = 257;
pub(super) const BITS: u16 = 258;
pub(super) const COMPRESSION: u16 = 259;
pub(super) const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
pub(super) const STRIP_OFFSETS: u16 = 273;
pub(super) const SAMPLES: u16 = 277;
pub(super) const STRIP_BYTES: u16 = 279;
pub(super) const COLOR_MAP: u16 = 320;
pub(super) const TILE_OFFSETS: u16 = 324;
pub(super) const TILE_BYTES: u16 = 325;
pub(super) const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;

/// Compression by JPEG.
pub(super) const JPEG: u32 = 7;
/// Photometric interpretation of indices into a color map.
const PALETTE: u32 = 3;
/// Photometric interpretation of inks.
const INKS: u32 = 5;
/// Extra samples that hold colors multiplied with alpha, and plain alpha.
const ASSOCIATED: u32 = 1;
pub(super) const UNASSOCIATED: u32 = 2;

/// More pages than any scanner stacks; the count only distinguishes one page from several.
const MOST_PAGES: u32 = 10_000;

pub(super) fn page(bytes: &[u8]) -> Result<(Tags<'_>, Directory), ImageError> {
    let tags = Tags::open(bytes).ok_or(TRUNCATED)?;
    let page = tags.first().ok_or(TRUNCATED)?;
    Ok((tags, page))
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    let (tags, page) = page(bytes)?;
    let value = |tag| tags.value(page, tag);
    let side = |tag, name| value(tag).ok_or_else(|| ImageError::corrupt(Tiff, format!("it has no `{name}`")));
    let mut header = Header::plain(Tiff, side(WIDTH, "ImageWidth")?, side(HEIGHT, "ImageLength")?);
    let bits = value(BITS).unwrap_or(1);
    if value(SAMPLE_FORMAT).unwrap_or(1) != 1 || !matches!(bits, 1 | 2 | 4 | 8 | 16) {
        let feature = format!("samples of {bits} bits that are not plain integers of 1 to 16 bits");
        return Err(ImageError::UnsupportedFeature { format: Tiff, feature });
    }
    header.bits = bits as u8;
    header.color = match value(PHOTOMETRIC) {
        Some(PALETTE) => Color::Palette,
        Some(INKS) => Color::Cmyk,
        _ if value(SAMPLES).unwrap_or(1) < 3 => Color::Gray,
        _ => Color::Rgb,
    };
    header.alpha = match value(EXTRA_SAMPLES) {
        Some(kind) => matches!(kind, ASSOCIATED | UNASSOCIATED),
        None => header.color == Color::Rgb && value(SAMPLES) == Some(4),
    };
    header.orientation = value(ORIENTATION).map_or(Orientation::UPRIGHT, Orientation::from_exif);
    header.frames = tags.count_directories(MOST_PAGES).max(1);
    Ok(header)
}

pub(super) fn decode(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster, ImageError> {
    let (tags, page) = page(bytes)?;
    let palette = (header.color == Color::Palette).then(|| color_map(&tags, page)).transpose()?;
    let source = adapted(bytes, &tags, page);
    let mut decoder = Decoder::new(Cursor::new(&*source)).map_err(error)?.with_limits(decoder_limits(limits));
    let kind = decoder.colortype().map_err(error)?;
    let mut result = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut result).map_err(error)?;
    let (width, height) = (header.width as usize, header.height as usize);
    if decoder.dimensions().ok() != Some((header.width, header.height)) {
        return Err(ImageError::corrupt(Tiff, "its tags contradict each other"));
    }
    let mut samples = match result {
        DecodingResult::U8(samples) => Samples::Eight(samples),
        DecodingResult::U16(samples) => Samples::Sixteen(samples),
        _ => return Err(unsupported(kind)),
    };
    let jpeg = tags.value(page, COMPRESSION) == Some(JPEG);
    if jpeg && matches!(kind, ColorType::Multiband { .. }) {
        // The decoder takes two channels for something else and answers with wrong pixels.
        return Err(unsupported(kind));
    }
    if layout.planes > 1 {
        samples = interleave(samples, layout.planes);
    }
    let line = layout.row_stride.map_or(width, usize::from);
    let (channels, samples) = match (kind, samples) {
        (ColorType::Gray(bits @ (1 | 2 | 4)), Samples::Eight(packed)) => {
            let indices = unpack(&packed, width, line, usize::from(bits));
            let factor = if palette.is_some() { 1 } else { 255 / ((1 << bits) - 1) };
            (Channels::Gray, Samples::Eight(indices.into_iter().map(|v| v * factor).collect()))
        }
        (ColorType::Gray(8 | 16), samples) => (Channels::Gray, samples),
        (ColorType::RGB(8 | 16), samples) => (Channels::Rgb, samples),
        (ColorType::YCbCr(8), Samples::Eight(samples)) => {
            // Pillow unpacks plain data by itself and leaves the rest to libtiff.
            let plain = matches!(tags.value(page, COMPRESSION), None | Some(1));
            let convert = if plain { pillow_ycc } else { libtiff_ycc };
            (Channels::Rgb, Samples::Eight(convert(samples)))
        }
        (ColorType::CMYK(8 | 16), samples) => (Channels::Cmyk, samples),
        (ColorType::Multiband { num_samples: 2, bit_depth: 8 | 16 }, samples) => {
            (Channels::GrayAlpha, samples)
        }
        (ColorType::RGBA(8 | 16), samples) if tags.value(page, EXTRA_SAMPLES) == Some(ASSOCIATED) => {
            (Channels::Rgba, unmultiply(samples))
        }
        (ColorType::RGBA(8 | 16), samples) => (Channels::Rgba, samples),
        _ => return Err(unsupported(kind)),
    };
    let (channels, samples) = match (palette, samples) {
        (Some(colors), Samples::Eight(indices)) => {
            let (channels, pixels) = apply_palette(&indices, &colors, false);
            (channels, Samples::Eight(pixels))
        }
        (_, samples) => (channels, samples),
    };
    Ok(Raster { width, height, channels, samples, key: None })
}

fn decoder_limits(limits: &Limits) -> ::tiff::decoder::Limits {
    let mut decoder = ::tiff::decoder::Limits::default();
    decoder.decoding_buffer_size = limits.decoder_bytes();
    decoder.intermediate_buffer_size = limits.decoder_bytes();
    decoder
}

pub(super) fn unsupported(kind: ColorType) -> ImageError {
    ImageError::UnsupportedFeature { format: Tiff, feature: format!("{kind:?}") }
}

/// The file as the `tiff` crate can read it. It refuses palettes, though it unpacks the indices when they are
/// called gray, and it knows nothing of bytes filled from their lowest bit: both are changed in a copy.
fn adapted<'a>(bytes: &'a [u8], tags: &Tags, page: Directory) -> Cow<'a, [u8]> {
    let mut copy = Cow::Borrowed(bytes);
    if tags.value(page, PHOTOMETRIC) == Some(PALETTE)
        && let Some(at) = tags.value_place(page, PHOTOMETRIC)
    {
        for byte in &mut copy.to_mut()[at..at + 2] {
            // BlackIsZero is 1, a palette 3, in either byte order.
            *byte = (*byte).min(1);
        }
    }
    // Plain data, the fax codes and PackBits; the other codes set their own order of bits.
    let ordered = matches!(tags.value(page, COMPRESSION), None | Some(1..=4 | 32_773));
    if ordered && tags.value(page, FILL_ORDER) == Some(2) {
        for (at, len) in strips(tags, page).unwrap_or_default() {
            if take(bytes, at, len).is_some() {
                copy.to_mut()[at..at + len].iter_mut().for_each(|byte| *byte = byte.reverse_bits());
            }
        }
    }
    copy
}

/// Places and lengths of the strips or tiles.
pub(super) fn strips(tags: &Tags, page: Directory) -> Option<Vec<(usize, usize)>> {
    let pair = |offsets, sizes| tags.values(page, offsets).zip(tags.values(page, sizes));
    let (offsets, sizes) = pair(STRIP_OFFSETS, STRIP_BYTES).or_else(|| pair(TILE_OFFSETS, TILE_BYTES))?;
    (offsets.len() == sizes.len())
        .then(|| offsets.into_iter().zip(sizes).map(|(at, len)| (at as usize, len as usize)).collect())
}

/// All reds, all greens, all blues, in 16 bits, of which Pillow keeps the upper half.
fn color_map(tags: &Tags, page: Directory) -> Result<[[u8; 4]; 256], ImageError> {
    let map = tags.values(page, COLOR_MAP);
    let map = map.ok_or_else(|| ImageError::corrupt(Tiff, "it has no `ColorMap`"))?;
    let count = map.len() / 3;
    let mut colors = [[0, 0, 0, 255]; 256];
    for (index, color) in colors.iter_mut().enumerate().take(count) {
        for channel in 0..3 {
            color[channel] = (map[channel * count + index] >> 8) as u8;
        }
    }
    Ok(colors)
}

fn interleave(samples: Samples, planes: usize) -> Samples {
    fn weave<T: Copy>(samples: &[T], planes: usize) -> Vec<T> {
        let len = samples.len() / planes;
        (0..len).flat_map(|at| (0..planes).map(move |plane| samples[plane * len + at])).collect()
    }
    match samples {
        Samples::Eight(samples) => Samples::Eight(weave(&samples, planes)),
        Samples::Sixteen(samples) => Samples::Sixteen(weave(&samples, planes)),
    }
}

/// Color out of color times alpha, rounded down as Pillow does.
fn unmultiply(samples: Samples) -> Samples {
    fn divide<T: Copy + Into<u32>>(samples: &[T], largest: u32, narrow: fn(u32) -> T) -> Vec<T> {
        let divide = |&[r, g, b, a]: &[T; 4]| {
            let alpha: u32 = a.into();
            let whole = |v: T| match alpha {
                0 => narrow(0),
                _ => {
                    narrow((u64::from(v.into()) * u64::from(largest) / u64::from(alpha)).min(largest.into())
                        as u32)
                }
            };
            [whole(r), whole(g), whole(b), a]
        };
        samples.as_chunks::<4>().0.iter().flat_map(divide).collect()
    }
    match samples {
        Samples::Eight(samples) => Samples::Eight(divide(&samples, 255, |v| v as u8)),
        Samples::Sixteen(samples) => Samples::Sixteen(divide(&samples, 65_535, |v| v as u16)),
    }
}

/// Full-range BT.601, as TIFF 6.0 section 21 sets by default, in the integers of Pillow (`ConvertYCbCr.c` of 13.0.0), which
/// has tables of products in 64ths.
fn pillow_ycc(mut samples: Vec<u8>) -> Vec<u8> {
    let part = |factor: f64, chroma: i32| (factor * 64.0 * f64::from(chroma) + 0.5) as i32;
    for pixel in samples.as_chunks_mut::<3>().0 {
        let [y, cb, cr] = pixel.map(i32::from);
        let (cb, cr) = (cb - 128, cr - 128);
        let rgb = [
            y + (part(1.402, cr) >> 6),
            y + ((part(-0.344_14, cb) + part(-0.714_14, cr)) >> 6),
            y + (part(1.772, cb) >> 6),
        ];
        *pixel = rgb.map(|v| v.clamp(0, 255) as u8);
    }
    samples
}

/// The same in the integers of libtiff (`tif_color.c` of 4.7).
fn libtiff_ycc(mut samples: Vec<u8>) -> Vec<u8> {
    let fixed = |factor: f32| (factor * 65_536.0 + 0.5) as i32;
    // libtiff computes with the lumas 0.299, 0.587 and 0.114 in single precision.
    let (red, green, blue) = (0.299_f32, 0.587_f32, 0.114_f32);
    let (of_red, of_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
    let (to_red, to_blue) = (fixed(of_red), fixed(of_blue));
    let (red_to_green, blue_to_green) = (-fixed(red * of_red / green), -fixed(blue * of_blue / green));
    for pixel in samples.as_chunks_mut::<3>().0 {
        let [y, cb, cr] = pixel.map(i32::from);
        let (cb, cr) = (cb - 128, cr - 128);
        let half = 1 << 15;
        let rgb = [
            y + ((to_red * cr + half) >> 16),
            y + ((blue_to_green * cb + half + red_to_green * cr) >> 16),
            y + ((to_blue * cb + half) >> 16),
        ];
        *pixel = rgb.map(|v| v.clamp(0, 255) as u8);
    }
    samples
}

pub(super) fn error(error: TiffError) -> ImageError {
    match error {
        TiffError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => TRUNCATED,
        TiffError::UnsupportedError(feature) => {
            ImageError::UnsupportedFeature { format: Tiff, feature: feature.to_string() }
        }
        other => ImageError::corrupt(Tiff, other.to_string()),
    }
}
