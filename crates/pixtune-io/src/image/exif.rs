//! Tags of a TIFF directory: the container of EXIF data and of TIFF images.
use super::orient::Orientation;
use crate::numbers::{take, u16_be, u16_le, u32_be, u32_le};

/// TIFF and EXIF tag of the orientation.
pub(super) const ORIENTATION: u16 = 274;

/// A TIFF file, or the TIFF inside an EXIF block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tags<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

/// One directory: where its entries start and how many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directory {
    at: usize,
    entries: u16,
}

impl<'a> Tags<'a> {
    /// `None` when the bytes do not start like a TIFF. As in Pillow, the version may be in the other byte order.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match take(bytes, 0, 4)? {
            b"II*\0" | b"II\0*" => false,
            b"MM\0*" | b"MM*\0" => true,
            _ => return None,
        };
        Some(Tags { bytes, big_endian })
    }

    fn u16(&self, at: usize) -> Option<u16> {
        if self.big_endian { u16_be(self.bytes, at) } else { u16_le(self.bytes, at) }
    }

    fn u32(&self, at: usize) -> Option<u32> {
        if self.big_endian { u32_be(self.bytes, at) } else { u32_le(self.bytes, at) }
    }

    /// The first directory.
    pub(super) fn first(&self) -> Option<Directory> {
        self.directory(self.u32(4)?)
    }

    fn directory(&self, offset: u32) -> Option<Directory> {
        let at = offset as usize;
        let entries = self.u16(at)?;
        (offset != 0).then_some(Directory { at: at.checked_add(2)?, entries })
    }

    /// Directories from the first on. A chain that bites its tail, as hostile files have, ends at `most`.
    pub(super) fn count_directories(&self, most: u32) -> u32 {
        let mut directory = self.first();
        let mut count = 0;
        while let Some(Directory { at, entries }) = directory
            && count < most
        {
            count += 1;
            directory = self.u32(at + 12 * usize::from(entries)).and_then(|next| self.directory(next));
        }
        count
    }

    /// The values of a tag, as far as they are unsigned integers and lie inside the file.
    pub(super) fn values(&self, directory: Directory, tag: u16) -> Option<Vec<u32>> {
        let (at, kind, count) = self.find(directory, tag)?;
        let width = match kind {
            1 | 7 => 1,
            3 => 2,
            4 => 4,
            _ => return None,
        };
        let len = width * count as usize;
        let at = if len <= 4 { at } else { self.u32(at)? as usize };
        // The range is inside the file, so the file's own size bounds what is allocated.
        take(self.bytes, at, len)?;
        (0..count as usize)
            .map(|index| match width {
                1 => self.bytes.get(at + index).map(|&byte| u32::from(byte)),
                2 => self.u16(at + 2 * index).map(u32::from),
                _ => self.u32(at + 4 * index),
            })
            .collect()
    }

    /// The first value of a tag.
    pub(super) fn value(&self, directory: Directory, tag: u16) -> Option<u32> {
        self.values(directory, tag)?.first().copied()
    }

    /// The type of a tag and the bytes of its values, as far as the type is known and they lie inside the file.
    pub(super) fn field(&self, directory: Directory, tag: u16) -> Option<(u16, &'a [u8])> {
        let (at, kind, count) = self.find(directory, tag)?;
        let width: usize = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        let len = width.checked_mul(count as usize)?;
        let at = if len <= 4 { at } else { self.u32(at)? as usize };
        Some((kind, take(self.bytes, at, len)?))
    }

    /// The first value of a tag, if it is a whole number other than a byte: of bytes Pillow makes no number.
    pub(super) fn number(&self, directory: Directory, tag: u16) -> Option<u32> {
        let (kind, data) = self.field(directory, tag)?;
        let data = Tags { bytes: data, ..*self };
        match kind {
            3 | 8 => data.u16(0).map(u32::from),
            4 | 9 | 13 => data.u32(0),
            5 | 10 => {
                let (above, below) = (data.u32(0)?, data.u32(4)?);
                (below != 0 && above % below == 0).then(|| above / below)
            }
            _ => None,
        }
    }

    /// The type of a tag.
    pub(super) fn kind(&self, directory: Directory, tag: u16) -> Option<u16> {
        self.find(directory, tag).map(|(_, kind, _)| kind)
    }

    /// Where the value of a tag lies that fits into its entry.
    pub(super) fn value_place(&self, directory: Directory, tag: u16) -> Option<usize> {
        let (at, ..) = self.find(directory, tag)?;
        take(self.bytes, at, 4)?;
        Some(at)
    }

    fn find(&self, Directory { at, entries }: Directory, tag: u16) -> Option<(usize, u16, u32)> {
        (0..usize::from(entries)).map(|index| at + 12 * index).find_map(|entry| {
            (self.u16(entry)? == tag).then_some(())?;
            Some((entry + 8, self.u16(entry + 2)?, self.u32(entry + 4)?))
        })
    }
}

/// An EXIF block without the one or two prefixes `Exif\0\0` that Pillow skips.
pub(super) fn strip_prefix(exif: &[u8]) -> &[u8] {
    let once = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    once.strip_prefix(b"Exif\0\0").unwrap_or(once)
}

/// The orientation that the metadata of an image declares: in its EXIF block, or else in its XMP text. Pillow reads both.
pub(super) fn orientation(exif: &[u8], xmp: &[u8]) -> Orientation {
    let value = || {
        let tags = Tags::open(strip_prefix(exif))?;
        let directory = tags.first()?;
        tags.field(directory, ORIENTATION)?;
        Some(tags.number(directory, ORIENTATION).unwrap_or(1))
    };
    value().or_else(|| xmp_orientation(xmp)).map_or(Orientation::UPRIGHT, Orientation::from_exif)
}

/// The digit in `tiff:Orientation="6"` or `<tiff:Orientation>6</tiff:Orientation>`.
fn xmp_orientation(xmp: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    memchr::memmem::find_iter(xmp, NAME).find_map(|at| {
        let rest = &xmp[at + NAME.len()..];
        let rest = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        rest.first().filter(|digit| digit.is_ascii_digit()).map(|digit| u32::from(digit - b'0'))
    })
}
