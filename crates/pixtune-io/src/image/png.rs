//! PNG: chunks by our own walk, pixels by the `png` crate.
pub(super) mod texts;

use std::io::{self, Cursor};

use ::png::{BitDepth, ColorType, DecodingError};

use super::error::ImageError;
use super::exif;
use super::header::{Color, Header};
use super::limits::Limits;
use super::raster::{Channels, Key, Raster, Samples};
use crate::numbers::{take, u16_be, u32_be};
use crate::sniff::Format::Png;

use texts::Texts;

pub(super) const SIGNATURE: usize = 8;
/// Length, name and checksum around a chunk's data.
pub(super) const FRAME: usize = 12;

pub(super) struct Chunk<'a> {
    pub(super) name: &'a [u8],
    pub(super) data: &'a [u8],
    checksum: u32,
}

impl Chunk<'_> {
    /// Whether the data are those that the checksum was made of.
    pub(super) fn is_intact(&self) -> bool {
        let mut crc = crc32fast::Hasher::new();
        crc.update(self.name);
        crc.update(self.data);
        crc.finalize() == self.checksum
    }
}

/// The chunks that lie in the file entirely, in order, each with the place behind it.
pub(super) fn chunks(bytes: &[u8]) -> impl Iterator<Item = (usize, Chunk<'_>)> {
    let mut at = SIGNATURE;
    std::iter::from_fn(move || {
        let len = u32_be(bytes, at)? as usize;
        let name = take(bytes, at + 4, 4)?;
        let data = take(bytes, at + 8, len)?;
        let checksum = u32_be(bytes, at + 8 + len)?;
        at += FRAME + len;
        Some((at, Chunk { name, data, checksum }))
    })
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    let ihdr = take(bytes, SIGNATURE, FRAME + 13).ok_or(ImageError::Truncated { format: Png })?;
    if !ihdr.starts_with(b"\0\0\0\x0dIHDR") {
        return Err(ImageError::corrupt(Png, "it does not start with `IHDR`"));
    }
    let size = |at| u32_be(ihdr, at).unwrap_or(0);
    let mut header = Header::plain(Png, size(8), size(12));
    let [bits, kind, compression, filter, interlace] = [16, 17, 18, 19, 20].map(|at| ihdr[at]);
    header.bits = bits;
    header.color = match (kind, bits) {
        (0, 1 | 2 | 4 | 8 | 16) | (4, 8 | 16) => Color::Gray,
        (2 | 6, 8 | 16) => Color::Rgb,
        (3, 1 | 2 | 4 | 8) => Color::Palette,
        (0 | 2 | 3 | 4 | 6, _) => {
            let why =
                format!("it has `{bits}` bits per sample, which its color type `{kind}` does not allow");
            return Err(ImageError::corrupt(Png, why));
        }
        _ => return Err(ImageError::corrupt(Png, format!("it has the color type `{kind}`"))),
    };
    if compression != 0 || filter != 0 || interlace > 1 {
        let why = "its compression, filter or interlace method does not exist";
        return Err(ImageError::corrupt(Png, why));
    }
    header.alpha = matches!(kind, 4 | 6);
    let (mut exif, mut texts) = (None, Texts::default());
    let mut palette = false;
    for (_, Chunk { name, data, .. }) in chunks(bytes) {
        match name {
            b"PLTE" if header.color == Color::Palette => {
                palette = true;
                if data.is_empty() || data.len() > 768 || data.len() % 3 != 0 {
                    return Err(ImageError::corrupt(Png, "its palette has a wrong length"));
                }
            }
            b"IDAT" if header.color == Color::Palette && !palette => {
                return Err(ImageError::corrupt(Png, "it has no palette before its pixels"));
            }
            b"tRNS" => header.alpha |= header.color != Color::Palette || data.iter().any(|&a| a != 255),
            b"eXIf" => exif = Some(data),
            b"tEXt" if data.starts_with(b"exif\0") => exif = Some(&data[5..]),
            b"acTL" => header.frames = u32_be(data, 0).unwrap_or(1).max(1),
            b"IEND" => break,
            _ => texts.read(name, data),
        }
    }
    header.orientation = exif::orientation(exif.unwrap_or(&texts.exif), &texts.xmp);
    Ok(header)
}

pub(super) fn decode(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster, ImageError> {
    let limits = ::png::Limits { bytes: limits.decoder_bytes() };
    let mut options = ::png::DecodeOptions::default();
    options.set_ignore_adler32(false);
    let mut decoder = ::png::Decoder::new_with_options(Cursor::new(bytes), options);
    decoder.set_limits(limits);
    decoder.set_transformations(::png::Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(error)?;
    let size = reader.output_buffer_size().ok_or_else(|| ImageError::corrupt(Png, "its size overflows"))?;
    let mut data = vec![0; size];
    let frame = reader.next_frame(&mut data).map_err(error)?;
    if (frame.width, frame.height) != (header.width, header.height) {
        return Err(ImageError::corrupt(Png, "its first frame is smaller than the image"));
    }
    let info = reader.info();
    let (width, height) = (frame.width as usize, frame.height as usize);
    let rows = Rows { data, width, line: frame.line_size, depth: info.bit_depth };
    let raster = |channels, samples, key| Raster { width, height, channels, samples, key };
    // The decoder keeps a shortened key, so the chunk itself is read.
    let trns = chunks(bytes).take_while(|(_, chunk)| chunk.name != b"IEND");
    let trns = trns.filter(|(_, chunk)| chunk.name == b"tRNS").last().map(|(_, chunk)| chunk.data);
    Ok(match info.color_type {
        ColorType::Grayscale => {
            let key = trns.and_then(|trns| gray_key(trns, info.bit_depth));
            raster(Channels::Gray, rows.gray(), key)
        }
        ColorType::GrayscaleAlpha => raster(Channels::GrayAlpha, rows.samples(), None),
        ColorType::Rgb => raster(Channels::Rgb, rows.samples(), trns.and_then(rgb_key)),
        ColorType::Rgba => raster(Channels::Rgba, rows.samples(), None),
        ColorType::Indexed => {
            let palette = info.palette.as_deref().unwrap_or_default();
            let (channels, samples) = look_up(&rows.indices(), palette, trns.unwrap_or_default());
            raster(channels, Samples::Eight(samples), None)
        }
    })
}

/// The decoder's rows: big-endian samples, packed below 8 bits.
struct Rows {
    data: Vec<u8>,
    width: usize,
    line: usize,
    depth: BitDepth,
}

impl Rows {
    fn samples(self) -> Samples {
        match self.depth {
            BitDepth::Sixteen => {
                let pairs = self.data.as_chunks::<2>().0;
                Samples::Sixteen(pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect())
            }
            _ => Samples::Eight(self.data),
        }
    }

    fn gray(self) -> Samples {
        let Some(factor) = widen(self.depth) else { return self.samples() };
        Samples::Eight(self.indices().into_iter().map(|v| v * factor).collect())
    }

    fn indices(self) -> Vec<u8> {
        match self.depth as usize {
            bits @ (1 | 2 | 4) => unpack(&self.data, self.width, self.line, bits),
            _ => self.data,
        }
    }
}

/// What stretches a sample of few bits to the range of eight.
fn widen(depth: BitDepth) -> Option<u8> {
    match depth {
        BitDepth::One => Some(255),
        BitDepth::Two => Some(85),
        BitDepth::Four => Some(17),
        BitDepth::Eight | BitDepth::Sixteen => None,
    }
}

/// Samples of 1, 2, 4 or 8 bits, highest bits first, rows of `line` bytes.
pub(super) fn unpack(data: &[u8], width: usize, line: usize, bits: usize) -> Vec<u8> {
    let per_byte = 8 / bits;
    let mask = u8::MAX >> (8 - bits);
    let mut samples = Vec::with_capacity(data.len() / line.max(1) * width);
    for row in data.chunks_exact(line) {
        let row = row
            .iter()
            .flat_map(|&byte| (0..per_byte).map(move |index| (byte >> (8 - bits - index * bits)) & mask));
        samples.extend(row.take(width));
    }
    samples
}

fn gray_key(trns: &[u8], depth: BitDepth) -> Option<Key> {
    let key = u16_be(trns, 0)?;
    let factor = u16::from(widen(depth).unwrap_or(1));
    // Measured with Pillow 13.0.0: the key is compared, unscaled and cut to a byte, with the gray value
    // after its conversion to 8 bits; bilevel images take any key but 0 as white.
    let pillow = if depth == BitDepth::One { if key == 0 { 0 } else { 255 } } else { key as u8 };
    Some(Key { exact: [key.saturating_mul(factor); 3], pillow: Some(pillow) })
}

fn rgb_key(trns: &[u8]) -> Option<Key> {
    Some(Key { exact: [u16_be(trns, 0)?, u16_be(trns, 2)?, u16_be(trns, 4)?], pillow: None })
}

/// Colors for indices; an index past the palette is black, as Pillow has it.
fn look_up(indices: &[u8], palette: &[u8], alphas: &[u8]) -> (Channels, Vec<u8>) {
    let mut colors = [[0, 0, 0, 255]; 256];
    for (color, rgb) in colors.iter_mut().zip(palette.as_chunks::<3>().0) {
        color[..3].copy_from_slice(rgb);
    }
    for (color, &alpha) in colors.iter_mut().zip(alphas) {
        color[3] = alpha;
    }
    apply_palette(indices, &colors, alphas.iter().any(|&alpha| alpha != 255))
}

/// Indices to RGB, or to RGBA when the palette has transparent entries.
pub(super) fn apply_palette(
    indices: &[u8],
    colors: &[[u8; 4]; 256],
    transparent: bool,
) -> (Channels, Vec<u8>) {
    let color = |&index: &u8| colors[usize::from(index)];
    if transparent {
        (Channels::Rgba, indices.iter().flat_map(color).collect())
    } else {
        let rgb = |index: &u8| {
            let [r, g, b, _] = color(index);
            [r, g, b]
        };
        (Channels::Rgb, indices.iter().flat_map(rgb).collect())
    }
}

fn error(error: DecodingError) -> ImageError {
    match error {
        DecodingError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format: Png }
        }
        other => ImageError::corrupt(Png, other.to_string()),
    }
}
