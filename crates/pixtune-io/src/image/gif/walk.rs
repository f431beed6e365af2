//! Blocks up to the end of the file, those before the first frame as GifImagePlugin reads them.
use super::TRUNCATED;
use crate::image::error::ImageError;
use crate::image::faults::Faults;
use crate::numbers::{take, u16_le};

/// What a walk over the blocks of a file finds.
pub(in crate::image) struct Walk {
    /// Screen, or larger where the first frame reaches beyond it.
    pub(in crate::image) size: (u32, u32),
    pub(in crate::image) transparent: bool,
    pub(in crate::image) frames: u32,
    /// The place behind the trailer, if it was reached.
    pub(in crate::image) end: Option<usize>,
    /// A graphic control extension came before the first frame.
    controlled: bool,
    pub(in crate::image) faults: Faults,
}

/// GIF89a, sections 18 to 27.
pub(in crate::image) fn walk(bytes: &[u8]) -> Result<Walk, ImageError> {
    let screen = take(bytes, 6, 7).ok_or(TRUNCATED)?;
    let side = |at| u32::from(u16_le(screen, at).unwrap_or(0));
    let size = (side(0), side(2));
    let mut walk =
        Walk { size, transparent: false, frames: 0, end: None, controlled: false, faults: Faults::default() };
    let mut at = 13 + color_table(screen[4]);
    loop {
        let next = match bytes.get(at) {
            Some(b'!') => walk.extension(bytes, at + 1),
            Some(b',') => walk.frame(bytes, at),
            Some(b';') => {
                walk.end = Some(at + 1);
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

impl Walk {
    /// An extension, by the place of its label.
    fn extension(&mut self, bytes: &[u8], label: usize) -> Option<usize> {
        let end = sub_blocks(bytes, label + 1)?;
        if self.frames == 0 {
            let length = usize::from(bytes[label + 1]);
            let block = &bytes[label + 2..label + 2 + length];
            self.check_extension(
                bytes[label],
                block,
                &bytes[label + 2 + length..end.max(label + 2 + length)],
            );
        }
        Some(end)
    }

    fn check_extension(&mut self, label: u8, block: &[u8], rest: &[u8]) {
        const GRAPHIC_CONTROL: u8 = 0xf9;
        const COMMENT: u8 = 0xfe;
        const APPLICATION: u8 = 0xff;
        match label {
            COMMENT => {}
            // Pillow reads on for the end of the chain of blocks, and takes what follows for a part of it.
            _ if block.is_empty() => self.faults.refuse("it has an empty extension"),
            GRAPHIC_CONTROL => {
                let transparent = block[0] & 1 == 1;
                self.faults.doubt_if(self.controlled, "it has two graphic control extensions");
                self.controlled = true;
                self.transparent |= transparent;
                let short = block.len() < 3 + usize::from(transparent);
                self.faults.refuse_if(short, "its graphic control extension is too short");
            }
            APPLICATION if block.starts_with(b"NETSCAPE2.0") => {
                self.faults.refuse_if(rest == b"\0", "its loop extension is empty");
            }
            _ => {}
        }
    }

    fn frame(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let descriptor = take(bytes, at + 1, 9)?;
        let data = at + 10 + color_table(descriptor[8]);
        self.frames += 1;
        if self.frames == 1 {
            let field = |at| u16_le(descriptor, at).map(u32::from);
            let (left, top, width, height) = (field(0)?, field(2)?, field(4)?, field(6)?);
            let (right, bottom) = (left + width, top + height);
            self.faults.refuse_if(width == 0 || height == 0, "its frame has no area");
            let outside = right > self.size.0 || bottom > self.size.1;
            self.faults.doubt_if(outside, "its frame reaches beyond its screen");
            self.faults.refuse_if(*bytes.get(data)? > 12, "its code size is larger than 12 bits");
            self.size = (self.size.0.max(right), self.size.1.max(bottom));
        }
        sub_blocks(bytes, data + 1)
    }
}

fn color_table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
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
