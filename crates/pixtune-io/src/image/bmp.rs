//! BMP, Windows and OS/2: the header, and the layout of the pixels. Its run-length coding is in `bmp/rle.rs`.
mod rle;

use super::error::ImageError;
use super::header::{Color, Header};
use super::png::{apply_palette, unpack};
use super::raster::{Channels, Raster, Samples};
use crate::numbers::{take, u16_le, u32_le};
use crate::sniff::Format::Bmp;

const TRUNCATED: ImageError = ImageError::Truncated { format: Bmp };

/// Both headers of the file.
struct Layout {
    width: u32,
    height: u32,
    top_down: bool,
    bits: u16,
    coding: Coding,
    /// Where the pixels start.
    pixels: usize,
    /// Where the palette starts, its colors, and bytes per color.
    palette: (usize, usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Runs,
    /// Where red, green, blue and alpha lie in a pixel.
    Masks([u32; 4]),
}

/// The size of the first header, before the second one.
const FILE_HEADER: usize = 14;

impl Layout {
    fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        Self::parse(bytes).ok_or(TRUNCATED)?
    }

    fn parse(bytes: &[u8]) -> Option<Result<Self, ImageError>> {
        let pixels = u32_le(bytes, 10)? as usize;
        let size = u32_le(bytes, FILE_HEADER)? as usize;
        let info = take(bytes, FILE_HEADER, size)?;
        let palette = FILE_HEADER + size;
        // Without a place the pixels follow the headers; at the place of the palette they follow it.
        let place = |bits: u16, colors: usize, width: usize, headers: usize| match pixels {
            0 => headers + if bits <= 8 { colors * width } else { 0 },
            _ if pixels == palette && bits <= 8 => pixels + colors * width,
            _ => pixels,
        };
        if size == 12 {
            let bits = u16_le(info, 10)?;
            let pixels = place(bits, colors(0, bits), 3, palette);
            return Some(Ok(Layout {
                width: u32::from(u16_le(info, 4)?),
                height: u32::from(u16_le(info, 6)?),
                top_down: false,
                bits,
                coding: Coding::Plain,
                pixels,
                palette: (palette, colors(0, bits), 3),
            }));
        }
        let height = u32_le(info, 8)?.cast_signed();
        let bits = u16_le(info, 14)?;
        let method = u32_le(info, 16)?;
        let coding = match (method, bits) {
            (0, _) => Coding::Plain,
            (1, 8) | (2, 4) => Coding::Runs,
            (3, 16 | 24 | 32) => {
                let [r, g, b, alpha] = masks(bytes, info)?;
                Coding::Masks([r, g, b, if bits == 32 { alpha } else { 0 }])
            }
            _ => return Some(Err(unsupported(format!("compression {method} at {bits} bits")))),
        };
        if !matches!(bits, 1 | 2 | 4 | 8 | 16 | 24 | 32) {
            return Some(Err(unsupported(format!("{bits} bits per pixel"))));
        }
        let masks_outside = if matches!(coding, Coding::Masks(_)) && size == 40 { 12 } else { 0 };
        let pixels = place(bits, colors(u32_le(info, 32)?, bits), 4, palette + masks_outside);
        Some(Ok(Layout {
            width: u32_le(info, 4)?,
            height: height.unsigned_abs(),
            top_down: height < 0,
            bits,
            coding,
            pixels,
            palette: (palette, colors(u32_le(info, 32)?, bits), 4),
        }))
    }

    /// What Pillow does not read: BmpImagePlugin, `_bitmap`.
    fn refusal(&self, bytes: &[u8]) -> Option<&'static str> {
        const MASKS: [[u32; 4]; 8] = [
            [0xff_0000, 0xff00, 0xff, 0],
            [0xff00_0000, 0xff_0000, 0xff00, 0],
            [0xff00_0000, 0xff00, 0xff, 0],
            [0xff00_0000, 0xff_0000, 0xff00, 0xff],
            [0xff, 0xff00, 0xff_0000, 0xff00_0000],
            [0xff_0000, 0xff00, 0xff, 0xff00_0000],
            [0xff00_0000, 0xff00, 0xff, 0xff_0000],
            [0; 4],
        ];
        match (self.coding, self.bits) {
            (_, 2) => Some("it has 2 bits per pixel"),
            (_, ..=8) if self.palette.1 > 256 => Some("its palette has more than 256 colors"),
            (_, ..=8) if self.is_misread(bytes) => {
                Some("its palette of grays is shorter than its pixels allow")
            }
            (Coding::Masks(masks), 32) if !MASKS.contains(&masks) => Some("its color masks are unusual"),
            (Coding::Masks([r, g, b, _]), 24) if [r, g, b] != [0xff_0000, 0xff00, 0xff] => {
                Some("its color masks are unusual")
            }
            (Coding::Masks([r, g, b, _]), 16)
                if ![[0xf800, 0x7e0, 0x1f], [0x7c00, 0x3e0, 0x1f]].contains(&[r, g, b]) =>
            {
                Some("its color masks are unusual")
            }
            _ => None,
        }
    }

    /// Pillow takes pixels for one-bit if there are two colors, for bytes if there are more, when all of them are gray.
    fn is_misread(&self, bytes: &[u8]) -> bool {
        let (at, count, width) = self.palette;
        let value = |index: usize| if count == 2 { index * 255 } else { index };
        let is_gray = |index: usize| {
            let gray = u8::try_from(value(index)).ok();
            take(bytes, at + index * width, 3)
                .is_some_and(|color| color.iter().all(|&part| Some(part) == gray))
        };
        let read_as = if count <= 2 { 1 } else { 8 };
        self.coding == Coding::Plain && (self.bits != read_as || count == 1) && (0..count).all(is_gray)
    }

    /// Rows are filled up to whole groups of four bytes.
    fn line(&self) -> u64 {
        (u64::from(self.width) * u64::from(self.bits)).div_ceil(32) * 4
    }

    /// The bytes of uncompressed pixels, whose end is the end of the image.
    fn plain_pixels<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], ImageError> {
        let len = usize::try_from(self.line() * u64::from(self.height)).map_err(|_| TRUNCATED)?;
        take(bytes, self.pixels, len).ok_or(TRUNCATED)
    }

    fn palette(&self, bytes: &[u8]) -> [[u8; 4]; 256] {
        let (at, count, width) = self.palette;
        let mut colors = [[0, 0, 0, 255]; 256];
        for (index, color) in colors.iter_mut().enumerate().take(count) {
            if let Some(&[b, g, r]) = take(bytes, at + index * width, 3) {
                *color = [r, g, b, 255];
            }
        }
        colors
    }
}

fn colors(declared: u32, bits: u16) -> usize {
    match declared {
        0 if bits <= 8 => 1 << bits,
        declared => declared as usize,
    }
}

/// In the header from its second version on, else right after it, and then without alpha.
fn masks(bytes: &[u8], info: &[u8]) -> Option<[u32; 4]> {
    let mask = |index: usize| u32_le(bytes, FILE_HEADER + 40 + 4 * index);
    let alpha = if info.len() >= 56 { mask(3)? } else { 0 };
    let masks = [mask(0)?, mask(1)?, mask(2)?, alpha];
    // Pillow reads masks of nothing but zeros as the usual order with alpha.
    Some(if masks == [0; 4] { [0xff_0000, 0xff00, 0xff, 0xff00_0000] } else { masks })
}

fn unsupported(feature: String) -> ImageError {
    ImageError::UnsupportedFeature { format: Bmp, feature }
}

pub(super) fn header(bytes: &[u8]) -> Result<Header, ImageError> {
    let layout = Layout::read(bytes)?;
    let mut header = Header::plain(Bmp, layout.width, layout.height);
    if layout.bits <= 8 {
        header.bits = layout.bits as u8;
        header.color = Color::Palette;
    }
    header.alpha = matches!(layout.coding, Coding::Masks([.., alpha]) if alpha != 0);
    Ok(header)
}

/// The end of the image, and why the reference refuses the file. Pixels must lie inside the file; run-length coded ones must
/// start there.
pub(super) fn extent(bytes: &[u8]) -> Result<(usize, Option<&'static str>), ImageError> {
    let layout = Layout::read(bytes)?;
    let pixels = match layout.coding {
        Coding::Runs if layout.pixels < bytes.len() => bytes.len(),
        Coding::Runs => return Err(TRUNCATED),
        _ => layout.pixels + layout.plain_pixels(bytes)?.len(),
    };
    // A color profile lies behind the pixels; the size of the whole file is in its first header.
    let declared = u32_le(bytes, 2).map_or(0, |size| size as usize);
    Ok((pixels.max(declared).min(bytes.len()), layout.refusal(bytes)))
}

pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Raster, ImageError> {
    let layout = Layout::read(bytes)?;
    let (width, height) = (header.width as usize, header.height as usize);
    let line = layout.line() as usize;
    let (channels, mut pixels) = match (layout.coding, layout.bits) {
        (Coding::Runs, bits) => {
            let data = bytes.get(layout.pixels..).ok_or(TRUNCATED)?;
            let indices = rle::unpack(data, width, height, bits == 4).ok_or(TRUNCATED)?;
            apply_palette(&indices, &layout.palette(bytes), false)
        }
        (Coding::Plain, bits @ ..=8) => {
            let indices = unpack(layout.plain_pixels(bytes)?, width, line, usize::from(bits));
            apply_palette(&indices, &layout.palette(bytes), false)
        }
        (Coding::Plain, 16) => masked(&layout, bytes, [0x7c00, 0x3e0, 0x1f, 0])?,
        (Coding::Plain, _) => masked(&layout, bytes, [0xff_0000, 0xff00, 0xff, 0])?,
        (Coding::Masks(masks), _) => masked(&layout, bytes, masks)?,
    };
    if !layout.top_down {
        flip(&mut pixels, height);
    }
    Ok(Raster { width, height, channels, samples: Samples::Eight(pixels), key: None })
}

/// Pixels of 2, 3 or 4 bytes whose channels are cut out by masks.
fn masked(layout: &Layout, bytes: &[u8], masks: [u32; 4]) -> Result<(Channels, Vec<u8>), ImageError> {
    let data = layout.plain_pixels(bytes)?;
    let (step, width) = (usize::from(layout.bits / 8), layout.width as usize);
    let channels = if masks[3] == 0 { 3 } else { 4 };
    let mut pixels = Vec::with_capacity(width * layout.height as usize * channels);
    for row in data.chunks_exact(layout.line() as usize) {
        for pixel in row.chunks_exact(step).take(width) {
            let mut word = [0; 4];
            word[..step].copy_from_slice(pixel);
            let word = u32::from_le_bytes(word);
            pixels.extend(masks[..channels].iter().map(|&mask| channel(word, mask)));
        }
    }
    Ok((if channels == 3 { Channels::Rgb } else { Channels::Rgba }, pixels))
}

/// A channel stretched to 8 bits, rounded down as Pillow does.
fn channel(word: u32, mask: u32) -> u8 {
    if mask == 0 {
        return 0;
    }
    let shift = mask.trailing_zeros();
    let largest = u64::from(mask >> shift);
    (u64::from((word & mask) >> shift) * 255 / largest) as u8
}

/// Most files store the bottom row first.
fn flip(pixels: &mut [u8], height: usize) {
    let line = pixels.len() / height.max(1);
    let (top, bottom) = pixels.split_at_mut(height / 2 * line);
    if line > 0 {
        for (upper, lower) in top.chunks_exact_mut(line).zip(bottom.chunks_exact_mut(line).rev()) {
            upper.swap_with_slice(lower);
        }
    }
}
