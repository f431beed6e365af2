//! WebP: chunks as libwebp's demuxer reads them (`src/demux/demux.c` of 1.6.0), which Pillow opens every file with.
use super::Structure;
use super::tags::check_tags;
use crate::image::error::ImageError;
use crate::image::faults::Faults;
use crate::image::webp::{
    ALPHA, ANIMATION, EXIF, RIFF, chunks, first_partition_end, header, lossless, lossy, riff_end,
};
use crate::numbers::{take, u24_le, u32_le};
use crate::sniff::Format::WebP;

const TRUNCATED: ImageError = ImageError::Truncated { format: WebP };

/// The flags of `VP8X` that are defined.
const KNOWN_FLAGS: u8 = 0x3e;

/// The declared size is there, and every chunk with it.
pub(super) fn check(bytes: &[u8]) -> Result<Structure, ImageError> {
    header(bytes)?;
    let end = riff_end(bytes);
    if end > bytes.len() {
        return Err(TRUNCATED);
    }
    let mut walk =
        Walk { bytes, faults: Faults::default(), frames: 0, animations: 0, still: 0, alpha: false };
    let mut at = RIFF;
    let mut first = true;
    for (name, data, len) in chunks(bytes) {
        if data.len() < len {
            return Err(TRUNCATED);
        }
        walk.faults.refuse_if(at + 8 + len + len % 2 > end, "its last chunk lacks the byte that fills it up");
        walk.chunk(name, data, first);
        at += 8 + len + len % 2;
        first = false;
    }
    walk.faults.refuse_if(at < end, "it ends with less than a chunk");
    if walk.still + walk.frames == 0 {
        return Err(ImageError::corrupt(WebP, "it holds no image"));
    }
    Ok(Structure::new(WebP, end, walk.faults))
}

struct Walk<'a> {
    bytes: &'a [u8],
    faults: Faults,
    frames: usize,
    animations: usize,
    still: usize,
    /// The chunk before was `ALPH`.
    alpha: bool,
}

impl Walk<'_> {
    /// The flags and the size that `VP8X` declares, if the file starts with it.
    fn declared(&self) -> Option<(u8, (u32, u32))> {
        let data = take(self.bytes, RIFF + 8, 10).filter(|_| take(self.bytes, RIFF, 4) == Some(b"VP8X"))?;
        Some((data[0], (u24_le(data, 4)? + 1, u24_le(data, 7)? + 1)))
    }

    fn chunk(&mut self, name: &[u8], data: &[u8], first: bool) {
        let Some((flags, _)) = self.declared() else {
            if first {
                self.still(name, data, data.len());
            } else {
                self.faults.doubt("it has chunks behind its pixels that its header does not announce");
            }
            return;
        };
        let alpha = std::mem::take(&mut self.alpha);
        self.faults.refuse_if(alpha && name != b"VP8 ", "its chunk `ALPH` is not right before its pixels");
        match name {
            b"VP8X" if first => {
                self.faults.refuse_if(flags & !KNOWN_FLAGS != 0, "its chunk `VP8X` has unknown flags");
            }
            b"VP8X" => self.faults.refuse("its chunk `VP8X` is there twice"),
            b"VP8 " | b"VP8L" if self.still > 0 => self.faults.refuse("it has the pixels of two images"),
            b"VP8 " | b"VP8L" => self.still(name, data, data.len()),
            b"ALPH" if self.still == 0 => self.alpha = true,
            b"ALPH" => self.faults.refuse("its chunk `ALPH` is behind its pixels"),
            b"ANIM" => {
                self.faults.refuse_if(data.len() < 6, "its chunk `ANIM` is too short");
                self.animations += 1;
            }
            b"ANMF" => {
                self.faults.refuse_if(self.animations == 0, "a frame comes before its chunk `ANIM`");
                self.faults.refuse_if(flags & ANIMATION == 0, "it has frames but is not an animation");
                self.frames += 1;
            }
            b"EXIF" if flags & EXIF != 0 => check_tags(data, &mut self.faults),
            _ => {}
        }
    }

    /// The pixels of an image that is no animation, of which `data` may be the beginning.
    fn still(&mut self, name: &[u8], data: &[u8], length: usize) {
        self.still += 1;
        self.faults.refuse_if(self.animations > 0, "it has pixels outside of the frames of its animation");
        let is_lossy = name == b"VP8 ";
        let frame = if is_lossy { lossy(data) } else { lossless(data) };
        let Ok(frame) = frame else {
            self.faults.refuse("the header of its pixels is damaged");
            return;
        };
        if let Some((flags, size)) = self.declared() {
            self.faults.refuse_if(flags & ANIMATION != 0, "it is an animation without frames");
            self.faults.refuse_if(size != (frame.width, frame.height), "its pixels have another size");
            let hidden = frame.alpha && flags & ALPHA == 0;
            self.faults
                .doubt_if(hidden, "its pixels have an alpha channel that its header does not announce");
        }
        if is_lossy {
            // VP8GetInfo, src/dec/vp8_dec.c.
            let tag = u32_le(data, 0).unwrap_or(0);
            self.faults.refuse_if(tag & 1 == 1, "its pixels are not those of a key frame");
            self.faults.refuse_if(tag >> 1 & 7 > 3, "its pixels have an unknown profile");
            self.faults.refuse_if(tag >> 4 & 1 == 0, "its pixels are not to be shown");
            let end = first_partition_end(data).unwrap_or(0);
            self.faults.refuse_if(end >= length, "its first partition is cut off");
            // Encoders flush their last bits with zeros. A part that ends otherwise may be cut, which libwebp does not forgive.
            let flushed = |end: usize| data.get(end - 1).is_none_or(|&last| last == 0);
            self.faults.refuse_if(
                !flushed(end.max(1)) || !flushed(length.max(1)),
                "its pixels do not end with a zero",
            );
        } else {
            let version = u32_le(data, 1).unwrap_or(0) >> 29;
            self.faults.refuse_if(version != 0, "its pixels have an unknown version");
        }
    }
}

/// Whether the beginning of a file of this many bytes declares one chunk of pixels that fills it.
pub(in crate::image) fn is_simple(head: &[u8], length: u64) -> bool {
    let fields = || Some((u64::from(u32_le(head, 4)?), take(head, 12, 4)?, u64::from(u32_le(head, 16)?)));
    let Some((riff, name, chunk)) = fields() else { return false };
    let fills = riff + 8 == length && chunk + chunk % 2 + 20 == length;
    if !fills || !matches!(name, b"VP8 " | b"VP8L") {
        return false;
    }
    let mut walk =
        Walk { bytes: head, faults: Faults::default(), frames: 0, animations: 0, still: 0, alpha: false };
    walk.still(name, &head[20..], chunk as usize);
    !walk.faults.is_refused()
}
