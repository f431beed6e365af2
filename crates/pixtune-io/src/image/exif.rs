//! Tags of a TIFF directory: the container of EXIF data and of TIFF images.
use super::bytes::{take, u16_be, u16_le, u32_be, u32_le};
use super::orient::Orientation;

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
    /// `None` when the bytes do not start like a TIFF.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let big_endian = match take(bytes, 0, 4)? {
            b"II*\0" => false,
            b"MM\0*" => true,
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

/// The orientation in an EXIF block, with or without its `Exif\0\0` prefix.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let value = || {
        let tags = Tags::open(tiff)?;
        tags.value(tags.first()?, ORIENTATION)
    };
    value().map_or(Orientation::UPRIGHT, Orientation::from_exif)
}
