//! PNG: chunks by our own walk, pixels by the `png` crate.
use std::io::{self, Cursor};

use ::png::{BitDepth, ColorType, DecodingError};

use super::bytes::{take, u16_be, u32_be};
use super::error::ImageError;
use super::exif;
use super::header::{Color, Header};
use super::limits::Limits;
use super::raster::{Channels, Key, Raster, Samples};
use super::sniff::Format::Png;

const SIGNATURE: usize = 8;
/// Length, name and checksum around a chunk's data.
const FRAME: usize = 12;

struct Chunk<'a> {
    name: &'a [u8],
    data: &'a [u8],
}

/// The chunks that lie in the file entirely, in order.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (usize, Chunk<'_>)> {
    let mut at = SIGNATURE;
    std::iter::from_fn(move || {
        let len = u32_be(bytes, at)? as usize;
        let name = take(bytes, at + 4, 4)?;
        let data = take(bytes, at + 8, len)?;
        take(bytes, at + 8 + len, 4)?;
        at += FRAME + len;
        Some((at, Chunk { name, data }))
    })
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    let ihdr = take(bytes, SIGNATURE, FRAME + 13).ok_or(ImageError::Truncated { format: Png })?;
    if !ihdr.starts_with(b"\0\0\0\x0dIHDR") {
        return Err(ImageError::corrupt(Png, "it does not start with `IHDR`"));
    }
    let size = |at| u32_be(ihdr, at).unwrap_or(0);
    let mut header = Header::plain(Png, size(8), size(12));
    header.bits = ihdr[16];
    let kind = ihdr[17];
    header.color = match kind {
        0 | 4 => Color::Gray,
        2 | 6 => Color::Rgb,
        3 => Color::Palette,
        _ => return Err(ImageError::corrupt(Png, format!("it has the color type `{kind}`"))),
    };
    header.alpha = matches!(kind, 4 | 6);
    for (_, Chunk { name, data }) in chunks(bytes) {
        match name {
            b"tRNS" => header.alpha |= header.color != Color::Palette || data.iter().any(|&a| a != 255),
            b"eXIf" => header.orientation = exif::orientation(data),
            b"acTL" => header.frames = u32_be(data, 0).unwrap_or(1).max(1),
            _ => {}
        }
    }
    Ok(header)
}

/// All chunks inside the file, `IHDR` first, `IDAT` there, `IEND` last. A cut inside `IEND` is let pass:
/// the image is whole and Pillow reads it.
pub(super) fn check_structure(bytes: &[u8]) -> Result<(), ImageError> {
    header(bytes)?;
    let mut end = SIGNATURE;
    let mut data = 0;
    for (next, chunk) in chunks(bytes) {
        end = next;
        if matches!(chunk.name, b"IHDR" | b"PLTE") && stored_checksum(bytes, next) != checksum(&chunk) {
            return Err(ImageError::corrupt(Png, "a chunk's checksum is wrong"));
        }
        match chunk.name {
            b"IDAT" => data += chunk.data.len(),
            b"IEND" => return has_data(data),
            _ => {}
        }
    }
    let rest = &bytes[end..];
    if !rest.is_empty() && b"\0\0\0\0IEND\xae\x42\x60\x82".starts_with(rest) {
        return has_data(data);
    }
    Err(ImageError::Truncated { format: Png })
}

fn has_data(bytes: usize) -> Result<(), ImageError> {
    if bytes == 0 { Err(ImageError::corrupt(Png, "it has no `IDAT`")) } else { Ok(()) }
}

fn stored_checksum(bytes: &[u8], next: usize) -> Option<u32> {
    u32_be(bytes, next - 4)
}

/// CRC-32 bit by bit: it is used on chunks of at most a few hundred bytes.
fn checksum(chunk: &Chunk) -> Option<u32> {
    let mut crc = u32::MAX;
    for byte in chunk.name.iter().chain(chunk.data) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    Some(!crc)
}

pub(super) fn decode(bytes: &[u8], header: &Header, limits: &Limits) -> Result<Raster, ImageError> {
    let limits = ::png::Limits { bytes: limits.decoder_bytes() };
    let mut decoder = ::png::Decoder::new_with_limits(Cursor::new(bytes), limits);
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
    let trns = chunks(bytes).find(|(_, chunk)| chunk.name == b"tRNS").map(|(_, chunk)| chunk.data);
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
