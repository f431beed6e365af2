//! The members of a ZIP archive as `torch.save` writes it: stored without compression.

use std::io;

use super::ReadAt;

/// More members are refused: a large model has under a thousand tensors, its training state a few times as many.
const MAX_MEMBERS: u64 = 1 << 17;

/// The directory of so many members with names of a few hundred bytes.
const MAX_DIRECTORY: u64 = 64 << 20;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant")]
pub enum ZipError {
    #[error("cannot read it")]
    Io(#[from] io::Error),
    #[error("it has no directory of a ZIP archive; files of PyTorch before 1.6 have none")]
    NoDirectory,
    #[error("its directory is damaged")]
    Damaged,
    #[error("`{name}` is compressed or encrypted, which torch.save never does")]
    Compressed { name: String },
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Where its header is.
    header: u64,
}

impl Member {
    /// Where its bytes begin. They end within the file.
    pub fn start(&self, length: u64, read_at: ReadAt<'_>) -> Result<u64, ZipError> {
        let mut header = [0; 30];
        if self.header.checked_add(30).is_none_or(|end| end > length) {
            return Err(ZipError::Damaged);
        }
        read_at(&mut header, self.header)?;
        let fields = Fields(&header);
        let start = self.header + 30 + fields.u16(26)? + fields.u16(28)?;
        let is_inside = start.checked_add(self.size).is_some_and(|end| end <= length);
        match fields.u32(0)? == LOCAL && is_inside {
            true => Ok(start),
            false => Err(ZipError::Damaged),
        }
    }
}

const LOCAL: u64 = 0x0403_4b50;
const CENTRAL: u64 = 0x0201_4b50;
const END: u64 = 0x0605_4b50;
const END_64: u64 = 0x0606_4b50;
const LOCATOR_64: u64 = 0x0706_4b50;

/// Little-endian numbers at offsets.
struct Fields<'f>(&'f [u8]);

impl Fields<'_> {
    fn number<const N: usize>(&self, at: usize) -> Result<[u8; N], ZipError> {
        let bytes = at.checked_add(N).and_then(|end| self.0.get(at..end));
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(ZipError::Damaged)
    }

    fn u16(&self, at: usize) -> Result<u64, ZipError> {
        self.number(at).map(|bytes| u64::from(u16::from_le_bytes(bytes)))
    }

    fn u32(&self, at: usize) -> Result<u64, ZipError> {
        self.number(at).map(|bytes| u64::from(u32::from_le_bytes(bytes)))
    }

    fn u64(&self, at: usize) -> Result<u64, ZipError> {
        self.number(at).map(u64::from_le_bytes)
    }
}

/// The members of an archive of `length` bytes.
pub fn members(length: u64, read_at: ReadAt<'_>) -> Result<Vec<Member>, ZipError> {
    let (count, size, start) = directory(length, read_at)?;
    let is_inside = start.checked_add(size).is_some_and(|end| end <= length);
    if count > MAX_MEMBERS || size > MAX_DIRECTORY || !is_inside {
        return Err(ZipError::Damaged);
    }
    let mut bytes = vec![0; size as usize];
    read_at(&mut bytes, start)?;
    let mut at = 0usize;
    let mut members = Vec::new();
    for _ in 0..count {
        let rest = bytes.get(at..).ok_or(ZipError::Damaged)?;
        let fields = Fields(rest);
        if fields.u32(0)? != CENTRAL {
            return Err(ZipError::Damaged);
        }
        let (name, extra, comment) = (fields.u16(28)?, fields.u16(30)?, fields.u16(32)?);
        let name_end = 46 + name as usize;
        let extra_end = name_end + extra as usize;
        let name = rest.get(46..name_end).ok_or(ZipError::Damaged)?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| ZipError::Damaged)?;
        let sizes = [fields.u32(20)?, fields.u32(24)?, fields.u32(42)?];
        let extra = rest.get(name_end..extra_end).ok_or(ZipError::Damaged)?;
        let [packed, size, header] = wide(sizes, extra)?;
        if fields.u16(10)? != 0 || fields.u16(8)? & 1 != 0 || packed != size {
            return Err(ZipError::Compressed { name });
        }
        members.push(Member { name, size, header });
        at += extra_end + comment as usize;
    }
    Ok(members)
}

/// The sizes of a member, from the extra field where they do not fit into 32 bits.
fn wide([packed, size, header]: [u64; 3], extra: &[u8]) -> Result<[u64; 3], ZipError> {
    let mut found = [packed, size, header];
    let mut rest = extra;
    while rest.len() >= 4 {
        let fields = Fields(rest);
        let (tag, length) = (fields.u16(0)?, fields.u16(2)? as usize);
        let body = rest.get(4..4 + length).ok_or(ZipError::Damaged)?;
        if tag == 1 {
            let mut at = 0;
            // The order of the field is that of the sizes in the file: unpacked, packed, place.
            for index in [1, 0, 2] {
                if found[index] == u64::from(u32::MAX) {
                    found[index] = Fields(body).u64(at)?;
                    at += 8;
                }
            }
        }
        rest = &rest[4 + length..];
    }
    Ok(found)
}

/// Number of members, bytes and start of the directory.
fn directory(length: u64, read_at: ReadAt<'_>) -> Result<(u64, u64, u64), ZipError> {
    // The last record, before a comment of up to 64 KB.
    let tail = length.min(22 + 0xffff);
    let mut bytes = vec![0; tail as usize];
    read_at(&mut bytes, length - tail)?;
    let mark = (END as u32).to_le_bytes();
    let at = bytes.windows(4).rposition(|window| window == mark).ok_or(ZipError::NoDirectory)?;
    let end = Fields(&bytes[at..]);
    let found = (end.u16(10)?, end.u32(12)?, end.u32(16)?);
    if found.0 < 0xffff && found.1 < 0xffff_ffff && found.2 < 0xffff_ffff {
        return Ok(found);
    }
    // The locator of the wide record lies before the last one.
    let locator = at.checked_sub(20).ok_or(ZipError::Damaged)?;
    let locator = Fields(&bytes[locator..]);
    let start = locator.u64(8)?;
    if locator.u32(0)? != LOCATOR_64 || start.checked_add(56).is_none_or(|end| end > length) {
        return Err(ZipError::Damaged);
    }
    let mut record = [0; 56];
    read_at(&mut record, start)?;
    let record = Fields(&record);
    match record.u32(0)? == END_64 {
        true => Ok((record.u64(32)?, record.u64(40)?, record.u64(48)?)),
        false => Err(ZipError::Damaged),
    }
}
