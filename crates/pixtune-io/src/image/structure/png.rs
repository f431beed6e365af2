//! PNG: the chunks before the pixels with their checksums, those behind them without, as PngImagePlugin reads them.
use super::Structure;
use super::tags::check_tags;
use crate::image::error::ImageError;
use crate::image::faults::Faults;
use crate::image::png::texts::{EXIF, Inflated, MOST_TEXT, PROFILE, exif_of_profile, inflate, split, text};
use crate::image::png::{Chunk, FRAME, SIGNATURE, chunks, header};
use crate::numbers::u32_be;
use crate::sniff::Format::Png;

/// `PngImagePlugin.MAX_TEXT_MEMORY`: what all texts of a file may take.
const MOST_TEXTS: usize = 64 * MOST_TEXT;

/// Every chunk up to `IEND` lies inside the file, and some of it is `IDAT`. A cut inside `IEND` is let pass: the image is
/// whole and Pillow reads it.
pub(super) fn check(bytes: &[u8]) -> Result<Structure, ImageError> {
    header(bytes)?;
    let mut walk = Walk::default();
    let mut end = SIGNATURE;
    for (next, chunk) in chunks(bytes) {
        end = next;
        if matches!(chunk.name, b"IHDR" | b"PLTE") && !chunk.is_intact() {
            return Err(ImageError::corrupt(Png, "a chunk's checksum is wrong"));
        }
        if chunk.name == b"IEND" {
            return walk.finish(end);
        }
        walk.chunk(&chunk);
    }
    let rest = &bytes[end..];
    if !rest.is_empty() && b"\0\0\0\0IEND\xae\x42\x60\x82".starts_with(rest) {
        return walk.finish(bytes.len());
    }
    Err(ImageError::Truncated { format: Png })
}

/// What Pillow remembers of the chunks before.
#[derive(Default)]
struct Walk {
    faults: Faults,
    /// Pixels were met, and the chunk before was one of theirs.
    pixels: Option<bool>,
    pixel_bytes: usize,
    /// Depth and color type.
    kind: (u8, u8),
    size: (u32, u32),
    texts: usize,
    /// Frames as the last valid `acTL` counts them.
    frames: Option<u32>,
    sequence: Option<u32>,
    /// Whether Pillow takes the file for an animation, which is decided at the first pixels.
    animated: bool,
    /// Pillow reads no further.
    is_over: bool,
}

impl Walk {
    fn finish(self, end: usize) -> Result<Structure, ImageError> {
        if self.pixel_bytes == 0 {
            return Err(ImageError::corrupt(Png, "it has no `IDAT`"));
        }
        Ok(Structure::new(Png, end, self.faults))
    }

    fn chunk(&mut self, chunk: &Chunk<'_>) {
        if chunk.name == b"IDAT" {
            let is_apart = self.pixels == Some(false) && !chunk.data.is_empty();
            self.faults.doubt_if(is_apart, "its `IDAT` chunks are not in one row");
            if self.pixels.is_none() {
                // The image itself counts as a frame if no `fcTL` comes before it.
                self.animated = self.frames.is_some_and(|frames| frames > 1 || self.sequence.is_none());
            }
            self.pixels = Some(true);
            self.pixel_bytes += chunk.data.len();
            return;
        }
        if let Some(consecutive) = &mut self.pixels {
            *consecutive = false;
        }
        if self.is_over || self.faults.is_refused() {
            return;
        }
        let name = String::from_utf8_lossy(chunk.name).into_owned();
        if !chunk.name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            // Behind the pixels, Pillow stops reading there without a word.
            self.is_over = self.pixels.is_some();
            if self.is_over {
                return;
            }
            self.faults.refuse(format!("it has a chunk with the name `{}`", name.escape_debug()));
        } else if let Some(why) = self.fault(chunk.name, chunk.data) {
            self.faults.refuse(format!("its chunk `{name}` {why}"));
        } else if self.pixels.is_none() && !chunk.is_intact() {
            self.faults.refuse(format!("the checksum of its chunk `{name}` is wrong"));
        }
    }

    /// What is wrong with a chunk, as the methods `chunk_…` of PngStream judge it.
    fn fault(&mut self, name: &[u8], data: &[u8]) -> Option<&'static str> {
        let shorter_than = |length: usize| (data.len() < length).then_some("is too short");
        match name {
            b"IHDR" => {
                if let Some(short) = shorter_than(13) {
                    return Some(short);
                }
                self.kind = (data[8], data[9]);
                self.faults.doubt_if(self.size != (0, 0), "its chunk `IHDR` is there twice");
                self.size = (u32_be(data, 0)?, u32_be(data, 4)?);
                (data[11] != 0).then_some("has an unknown filter method")
            }
            b"tRNS" => match self.kind.1 {
                0 => shorter_than(2),
                2 if self.kind.0 == 8 || self.kind.0 == 16 => shorter_than(6),
                3 => (data.len() > 256).then_some("is longer than a palette"),
                _ => None,
            },
            b"gAMA" => shorter_than(4),
            b"cHRM" => shorter_than(32),
            b"sRGB" => shorter_than(1),
            b"pHYs" => shorter_than(9),
            b"iCCP" => self.profile(data),
            b"tEXt" | b"zTXt" | b"iTXt" => self.text(name, data),
            b"eXIf" => {
                check_tags(data, &mut self.faults);
                None
            }
            b"acTL" => shorter_than(8).or_else(|| self.animation(data)),
            b"fcTL" => shorter_than(26).or_else(|| self.frame(data)),
            b"fdAT" if self.sequence.is_none() => shorter_than(4).or(Some("is out of sequence")),
            b"fdAT" => shorter_than(4).or_else(|| self.follows(u32_be(data, 0)?)),
            _ => None,
        }
    }

    fn profile(&mut self, data: &[u8]) -> Option<&'static str> {
        let name = memchr::memchr(0, data).map_or(0, |at| at + 1);
        match data.get(name) {
            None => Some("is too short"),
            Some(0) => match inflate(&data[name + 1..]) {
                Inflated::TooLarge => Some("inflates to more than 1 MiB"),
                Inflated::Text(profile) => self.count(profile.len()),
                Inflated::Damaged => None,
            },
            Some(_) => Some("has an unknown compression method"),
        }
    }

    fn text(&mut self, name: &[u8], data: &[u8]) -> Option<&'static str> {
        let (key, rest) = split(data)?;
        if name == b"zTXt" && rest.first().is_some_and(|&method| method != 0) {
            return Some("has an unknown compression method");
        }
        if key == EXIF && name != b"tEXt" {
            self.faults.doubt("it has a compressed text with the name `exif`");
        }
        match text(name, data) {
            Some(Inflated::TooLarge) => Some("inflates to more than 1 MiB"),
            Some(Inflated::Text(text)) => {
                match key {
                    PROFILE => match exif_of_profile(&text) {
                        Some(block) => check_tags(&block, &mut self.faults),
                        None => self.faults.doubt("its EXIF profile is not written in hexadecimal digits"),
                    },
                    EXIF if name == b"tEXt" => check_tags(&text, &mut self.faults),
                    _ => {}
                }
                self.count(text.len())
            }
            _ => None,
        }
    }

    /// Adds to what the texts of the file take.
    fn count(&mut self, length: usize) -> Option<&'static str> {
        self.texts += length;
        (self.texts > MOST_TEXTS).then_some("makes more than 64 MiB of text")
    }

    fn animation(&mut self, data: &[u8]) -> Option<&'static str> {
        let frames = u32_be(data, 0).filter(|frames| (1..=1 << 31).contains(frames));
        match self.frames {
            Some(_) => self.frames = None,
            None => self.frames = frames,
        }
        None
    }

    fn frame(&mut self, data: &[u8]) -> Option<&'static str> {
        if self.pixels.is_some() && self.animated {
            self.is_over = true;
            return None;
        }
        let field = |at| u32_be(data, at).map(u64::from);
        let (width, height, left, top) = (field(4)?, field(8)?, field(12)?, field(16)?);
        let (across, down) = (u64::from(self.size.0), u64::from(self.size.1));
        let outside = left + width > across || top + height > down;
        // The pixels of the image would be read as those of a smaller frame.
        let smaller = self.pixels.is_none() && (width, height) != (across, down);
        self.faults.doubt_if(smaller, "its first frame is smaller than the image");
        let follows = self.follows(u32_be(data, 0)?);
        follows.or_else(|| outside.then_some("has a frame outside the image"))
    }

    /// The frames and their data are numbered from 0.
    fn follows(&mut self, number: u32) -> Option<&'static str> {
        let expected = self.sequence.map_or(0, |last| last.wrapping_add(1));
        self.sequence = Some(number);
        (number != expected).then_some("is out of sequence")
    }
}

/// A file of the same chunks whose `IDAT` are cut to one byte, made of a few ranges of the file that `read` returns: all
/// that [`check`] looks at. `None` if the chunks do not fill the file, or are too many for the walk to be worth it.
pub(in crate::image) fn skeleton(
    length: usize,
    read: impl Fn(usize, usize) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut skeleton = read(0, SIGNATURE)?;
    let (mut at, mut steps) = (SIGNATURE, 16 + length / 1024);
    while at < length {
        steps = steps.checked_sub(1)?;
        let head = read(at, 8)?;
        let data = u32_be(&head, 0)? as usize;
        let next = at.checked_add(FRAME)?.checked_add(data)?;
        if next > length {
            return None;
        }
        if &head[4..] == b"IDAT" && data > 1 {
            skeleton.extend_from_slice(b"\0\0\0\x01IDAT\0\0\0\0\0");
        } else {
            skeleton.extend(read(at, next - at)?);
        }
        at = next;
    }
    Some(skeleton)
}
