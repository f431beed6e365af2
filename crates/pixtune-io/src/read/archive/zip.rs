//! ZIP archives: the directory at the end of the file, and members read through it. Sizes and checksums are verified.
//!
//! <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>

use std::io::{self, Read};
use std::sync::Arc;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::super::positioned::{ReadAt, ReadFrom};

/// A member, as the directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its whole name.
    pub name: String,
    /// Bytes of its data.
    pub size: u64,
    compressed: u64,
    method: u16,
    flags: u16,
    checksum: u32,
    /// Where its local header is.
    header: u64,
    /// The file type of Unix, 0 if there is none.
    unix_type: u32,
}

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";

/// The largest directory that is read: of some millions of members.
const LARGEST_DIRECTORY: u64 = 512 << 20;

impl Entry {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.name.ends_with('/')
    }

    /// Why its data cannot be read, if it cannot.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Entry { flags, .. } if flags & 1 != 0 => Some("is encrypted".to_owned()),
            Entry { unix_type: 0xa000, .. } => Some("is a symbolic link".to_owned()),
            Entry { method: 0 | 8, .. } => None,
            Entry { method, .. } => Some(format!("has the compression method {method}, not deflate")),
        }
    }

    /// A stream of its data, which fails at the end if length or checksum differ from the directory.
    pub fn open<F: ReadAt + Send + Sync + 'static>(&self, file: &Arc<F>) -> io::Result<Box<dyn Read + Send>> {
        if let Some(refusal) = self.refusal() {
            return Err(invalid(&format!("member `{}` {refusal}", self.name)));
        }
        let header = bytes_at(file, self.header, 30)?;
        if !header.starts_with(LOCAL) {
            return Err(invalid(&format!("member `{}` is not where the directory has it", self.name)));
        }
        let data = self.header + 30 + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        let stored = ReadFrom { file: Arc::clone(file), at: data }.take(self.compressed);
        let source: Box<dyn Read + Send> =
            if self.method == 0 { Box::new(stored) } else { Box::new(DeflateDecoder::new(stored)) };
        let (checksum, name) = (self.checksum, self.name.clone());
        Ok(Box::new(Verified { source, crc: Crc::new(), left: self.size, checksum, name }))
    }
}

/// The members of an archive of this length, in the order of its directory.
pub fn entries(file: &Arc<impl ReadAt>, length: u64) -> io::Result<Vec<Entry>> {
    let directory = find_directory(file, length)?;
    if directory.bytes > LARGEST_DIRECTORY
        || directory.start.checked_add(directory.bytes).is_none_or(|end| end > length)
    {
        return Err(invalid("the directory does not fit into the file"));
    }
    let bytes = bytes_at(file, directory.start, directory.bytes)?;
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    while rest.starts_with(CENTRAL) {
        let (entry, after) = entry(rest).ok_or_else(|| invalid("the directory is damaged"))?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() || entries.len() as u64 != directory.entries {
        return Err(invalid("the directory does not have the members that it declares"));
    }
    Ok(entries)
}

/// Where a directory is.
struct Directory {
    start: u64,
    bytes: u64,
    entries: u64,
}

fn find_directory(file: &Arc<impl ReadAt>, length: u64) -> io::Result<Directory> {
    // The end record has 22 bytes and a comment of at most 64 KiB.
    let start = length.saturating_sub(22 + 0xffff);
    let tail = bytes_at(file, start, length - start)?;
    let at = memchr::memmem::rfind_iter(&tail, END)
        .find(|at| tail.len() - at >= 22 && tail.len() - at - 22 == usize::from(u16_at(&tail, at + 20)));
    let at = at.ok_or_else(|| invalid("there is no directory at the end; the archive is truncated"))?;
    let end = &tail[at..];
    let directory = Directory {
        entries: u64::from(u16_at(end, 10)),
        bytes: u64::from(u32_at(end, 12)),
        start: u64::from(u32_at(end, 16)),
    };
    match at.checked_sub(20).map(|at| &tail[at..]).filter(|locator| locator.starts_with(LOCATOR_64)) {
        Some(locator) => directory_64(file, u64_at(locator, 8)),
        None if u16_at(end, 4) != 0 => Err(invalid("the archive has several parts")),
        None => Ok(directory),
    }
}

fn directory_64(file: &Arc<impl ReadAt>, at: u64) -> io::Result<Directory> {
    let end = bytes_at(file, at, 56)?;
    if !end.starts_with(END_64) {
        return Err(invalid("the ZIP64 directory is not where the file declares it"));
    }
    Ok(Directory { entries: u64_at(&end, 32), bytes: u64_at(&end, 40), start: u64_at(&end, 48) })
}

/// The first entry of a directory, and what follows it.
fn entry(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let fixed = bytes.get(..46)?;
    let length = |at| usize::from(u16_at(fixed, at));
    let (name, rest) = bytes[46..].split_at_checked(length(28))?;
    let (extra, rest) = rest.split_at_checked(length(30))?;
    let (_comment, rest) = rest.split_at_checked(length(32))?;
    let mut entry = Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        size: u64::from(u32_at(fixed, 24)),
        compressed: u64::from(u32_at(fixed, 20)),
        method: u16_at(fixed, 10),
        flags: u16_at(fixed, 8),
        checksum: u32_at(fixed, 16),
        header: u64::from(u32_at(fixed, 42)),
        unix_type: u32_at(fixed, 38) >> 16 & 0xf000,
    };
    entry.widen(extra)?;
    Some((entry, rest))
}

impl Entry {
    /// Takes the numbers that do not fit into 32 bits from the ZIP64 field.
    fn widen(&mut self, mut extra: &[u8]) -> Option<()> {
        let narrow = u64::from(u32::MAX);
        let mut wide = [&mut self.size, &mut self.compressed, &mut self.header]
            .into_iter()
            .filter(|number| **number == narrow)
            .collect::<Vec<_>>();
        while !wide.is_empty() && extra.len() >= 4 {
            let (field, rest) = extra[4..].split_at_checked(usize::from(u16_at(extra, 2)))?;
            if u16_at(extra, 0) == 1 {
                for (number, value) in wide.drain(..).zip(field.chunks_exact(8)) {
                    *number = u64_at(value, 0);
                }
            }
            extra = rest;
        }
        Some(())
    }
}

/// Data of a member, compared with what the directory declares.
struct Verified {
    source: Box<dyn Read + Send>,
    crc: Crc,
    left: u64,
    checksum: u32,
    name: String,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        let wrong = |what: &str| Err(invalid(&format!("member `{}` {what}", self.name)));
        if read as u64 > self.left {
            return wrong("is larger than its directory entry declares");
        }
        self.crc.update(&buffer[..read]);
        self.left -= read as u64;
        if read == 0 && !buffer.is_empty() {
            if self.left > 0 {
                return wrong("is truncated");
            }
            if self.crc.sum() != self.checksum {
                return wrong("is damaged: its checksum is wrong");
            }
        }
        Ok(read)
    }
}

fn bytes_at(file: &Arc<impl ReadAt>, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ReadFrom { file: Arc::clone(file), at }.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(invalid("the archive is truncated")) }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// An archive of members that are not compressed.
#[cfg(test)]
pub(in crate::read) fn stored(members: &[(&str, &str)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let mut crc = Crc::new();
        crc.update(data.as_bytes());
        let size = (data.len() as u32).to_le_bytes();
        let about = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc.sum().to_le_bytes(), &size, &size].concat();
        let about = [&about[..], &(name.len() as u16).to_le_bytes(), &[0, 0]].concat();
        let at = (archive.len() as u32).to_le_bytes();
        directory.extend_from_slice(&[CENTRAL, &[20, 0], &about, &[0; 10], &at, name.as_bytes()].concat());
        archive.extend_from_slice(&[LOCAL, &about, name.as_bytes(), data.as_bytes()].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (bytes, at) = ((directory.len() as u32).to_le_bytes(), (archive.len() as u32).to_le_bytes());
    [&archive[..], &directory, END, &[0; 4], &count, &count, &bytes, &at, &[0, 0]].concat()
}
