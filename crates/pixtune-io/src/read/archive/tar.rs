//! A walk through a tar archive, member by member: ustar, pax and GNU headers, in constant memory.
//!
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html>

use std::io::{self, Read};

/// A member, positioned at its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its whole name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes of its data.
    pub size: u64,
    /// The first byte of its headers in the archive.
    pub start: u64,
    /// The first byte of its data.
    pub data: u64,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Something without data of its own, in words.
    Other(&'static str),
}

impl Member {
    /// The first byte after its padded data.
    pub fn end(&self) -> u64 {
        padded(self.data + self.size)
    }
}

const BLOCK: u64 = 512;

/// The longest pax or long-name header that is read; real ones are under a kilobyte.
const LONGEST_HEADER: u64 = 1 << 20;

/// Larger sizes would overflow positions.
const LARGEST: u64 = 1 << 56;

fn padded(position: u64) -> u64 {
    position.next_multiple_of(BLOCK)
}

/// Walks through the members of a stream.
pub struct Walk<R> {
    source: R,
    /// The next byte of the source.
    position: u64,
    /// Where the next header is.
    next: u64,
    /// The walk ends here without an end mark.
    end: Option<u64>,
}

impl<R: Read> Walk<R> {
    /// A walk from the beginning of an archive to its end mark.
    pub fn new(source: R) -> Walk<R> {
        Walk { source, position: 0, next: 0, end: None }
    }

    /// A walk through whole members between two positions of an archive; the source is at the first.
    pub fn between(source: R, start: u64, end: u64) -> Walk<R> {
        Walk { source, position: start, next: start, end: Some(end) }
    }

    /// The next member; `None` at the end. What was not read of the previous member is skipped.
    pub fn next_member(&mut self) -> io::Result<Option<Member>> {
        let mut long = Long::default();
        let start = self.next;
        loop {
            let Some(header) = self.header()? else {
                return if long == Long::default() {
                    Ok(None)
                } else {
                    Err(invalid("the last header has no member"))
                };
            };
            let size = header.size().ok_or_else(|| self.damaged("size"))?;
            match header.kind_byte() {
                b'x' => long.read_pax(&self.extension(size)?)?,
                b'L' => long.name = Some(text(&self.extension(size)?)),
                // Options for all members, and long targets of links.
                b'g' | b'K' => drop(self.extension(size)?),
                byte => {
                    let size = if has_data(byte) { long.size.unwrap_or(size) } else { 0 };
                    if size > LARGEST {
                        return Err(self.damaged("size"));
                    }
                    let name = long.name.unwrap_or_else(|| header.name());
                    let kind = if long.is_sparse { Kind::Other("a sparse file") } else { kind(byte, &name) };
                    let member = Member { name, kind, size, start, data: self.position };
                    self.next = member.end();
                    return Ok(Some(member));
                }
            }
        }
    }

    /// The data of the member that was returned last, which must not be larger than the limit.
    pub fn read(&mut self, member: &Member) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.source.by_ref().take(member.size).read_to_end(&mut bytes)?;
        self.position += bytes.len() as u64;
        if bytes.len() as u64 == member.size { Ok(bytes) } else { Err(truncated()) }
    }

    /// The next header; `None` at the end of the archive.
    fn header(&mut self) -> io::Result<Option<Header>> {
        self.skip_to(self.next)?;
        if self.end == Some(self.position) {
            return Ok(None);
        }
        let header = Header(self.block()?);
        if header.0.iter().all(|byte| *byte == 0) {
            self.refuse_more()?;
            (self.next, self.end) = (self.position, Some(self.position));
            return Ok(None);
        }
        if !header.has_right_checksum() {
            return Err(self.damaged("checksum"));
        }
        self.next = self.position;
        Ok(Some(header))
    }

    /// The data of a header that describes the next member.
    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LONGEST_HEADER {
            return Err(self.damaged("length"));
        }
        let mut bytes = vec![0; size as usize];
        self.source.read_exact(&mut bytes).map_err(or_truncated)?;
        self.position += size;
        self.next = padded(self.position);
        Ok(bytes)
    }

    fn block(&mut self) -> io::Result<[u8; BLOCK as usize]> {
        let mut block = [0; BLOCK as usize];
        self.source.read_exact(&mut block).map_err(or_truncated)?;
        self.position += BLOCK;
        Ok(block)
    }

    fn skip_to(&mut self, position: u64) -> io::Result<()> {
        let missing = position - self.position;
        let skipped = io::copy(&mut self.source.by_ref().take(missing), &mut io::sink())?;
        self.position += skipped;
        if skipped == missing { Ok(()) } else { Err(truncated()) }
    }

    /// Behind the end mark there is nothing but zeros: other members there would be lost.
    fn refuse_more(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        loop {
            match self.source.read(&mut buffer)? {
                0 => return Ok(()),
                read if buffer[..read].iter().all(|byte| *byte == 0) => self.position += read as u64,
                _ => {
                    return Err(invalid("there is data after the end mark: were two archives concatenated?"));
                }
            }
        }
    }

    fn damaged(&self, part: &str) -> io::Error {
        let start = self.position.saturating_sub(BLOCK);
        invalid(&format!("the header at byte {start} is damaged: its {part} is wrong"))
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends without an end mark; it is truncated")
}

fn or_truncated(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { truncated() } else { error }
}

/// What the headers before a member replace of its own.
#[derive(Debug, Default, PartialEq, Eq)]
struct Long {
    name: Option<String>,
    size: Option<u64>,
    is_sparse: bool,
}

impl Long {
    /// Reads lines of the form `LENGTH KEY=VALUE`.
    fn read_pax(&mut self, mut rest: &[u8]) -> io::Result<()> {
        let wrong = || invalid("a pax header is damaged");
        while !rest.is_empty() {
            let space = memchr::memchr(b' ', rest).ok_or_else(wrong)?;
            let length =
                std::str::from_utf8(&rest[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
            let (line, after) = length.and_then(|length| rest.split_at_checked(length)).ok_or_else(wrong)?;
            rest = after;
            let line = line.get(space + 1..).and_then(|line| line.strip_suffix(b"\n")).ok_or_else(wrong)?;
            let equals = memchr::memchr(b'=', line).ok_or_else(wrong)?;
            let (key, value) = (&line[..equals], &line[equals + 1..]);
            match key {
                b"path" => self.name = Some(text(value)),
                b"size" => self.size = Some(text(value).parse().map_err(|_| wrong())?),
                _ if key.starts_with(b"GNU.sparse") => self.is_sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A header block.
struct Header([u8; BLOCK as usize]);

impl Header {
    fn kind_byte(&self) -> u8 {
        self.0[156]
    }

    fn name(&self) -> String {
        let name = text(&self.0[..100]);
        let prefix = text(&self.0[345..500]);
        // Old GNU headers have other fields in the place of the prefix.
        if self.0[257..263] == *b"ustar\0" && !prefix.is_empty() { format!("{prefix}/{name}") } else { name }
    }

    fn size(&self) -> Option<u64> {
        number(&self.0[124..136])
    }

    /// The sum of all bytes, with spaces in the place of the checksum.
    fn has_right_checksum(&self) -> bool {
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let expected = sum(&self.0[..148]) + 8 * u64::from(b' ') + sum(&self.0[156..]);
        number(&self.0[148..156]) == Some(expected)
    }
}

/// Octal digits between spaces and zeros, or a big-endian number behind a byte with the highest bit.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        // The field of a size has eleven bytes behind the first, that of a checksum seven.
        return field[1..]
            .iter()
            .try_fold(0_u64, |number, byte| Some(number.checked_mul(256)? | u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches([' ', '\0']);
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

/// A text up to the first zero byte.
fn text(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn kind(byte: u8, name: &str) -> Kind {
    match byte {
        b'0' | 0 | b'7' if !name.ends_with('/') => Kind::File,
        b'0' | 0 | b'5' => Kind::Directory,
        b'1' => Kind::Other("a hard link"),
        b'2' => Kind::Other("a symbolic link"),
        b'3' | b'4' => Kind::Other("a device"),
        b'6' => Kind::Other("a pipe"),
        b'S' => Kind::Other("a sparse file"),
        _ => Kind::Other("of a type that is not supported"),
    }
}

/// Links, devices and directories may declare a size without having data.
fn has_data(byte: u8) -> bool {
    !matches!(byte, b'1'..=b'6')
}

/// A member with a header of its own, for tests.
#[cfg(test)]
pub(in super::super) fn member(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = block.to_vec();
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(archive: &[u8]) -> Result<Vec<(String, Kind, Vec<u8>)>, String> {
        let mut walk = Walk::new(archive);
        let mut found = Vec::new();
        while let Some(member) = walk.next_member().map_err(|error| error.to_string())? {
            let data = walk.read(&member).map_err(|error| error.to_string())?;
            found.push((member.name, member.kind, data));
        }
        Ok(found)
    }

    const END: [u8; 1024] = [0; 1024];

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 2]), Some(258));
        assert_eq!(number(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Some(u64::MAX));
        assert_eq!(number(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        // The checksum of a header can be such a number too.
        let mut header = member("a", b'0', b"");
        header[148..156].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0]);
        assert!(walk(&header).unwrap_err().contains("checksum"));
    }

    #[test]
    fn names_come_from_the_last_header_that_has_one() {
        let long = "n".repeat(300);
        let pax = format!("{} path={long}\n", 300 + 10);
        let archive = [
            member("a", b'0', b"one"),
            member("dir/", b'5', b""),
            member("PaxHeader/x", b'x', pax.as_bytes()),
            member("short", b'0', &[7; 513]),
            member("././@LongLink", b'L', format!("{long}\0").as_bytes()),
            member("short", b'0', b""),
            member("link", b'2', b""),
            END.to_vec(),
        ];
        let expected = [
            ("a".to_owned(), Kind::File, b"one".to_vec()),
            ("dir/".to_owned(), Kind::Directory, vec![]),
            (long.clone(), Kind::File, vec![7; 513]),
            (long, Kind::File, vec![]),
            ("link".to_owned(), Kind::Other("a symbolic link"), vec![]),
        ];
        assert_eq!(walk(&archive.concat()).unwrap(), expected);
    }

    #[test]
    fn refuses_truncated_and_damaged_archives() {
        let whole = [member("a", b'0', b"one"), END.to_vec()].concat();
        for length in [0, 100, 512, 514, 600, 1024] {
            assert!(walk(&whole[..length]).unwrap_err().contains("truncated"), "{length}");
        }
        let mut damaged = whole.clone();
        damaged[3] = b'x';
        assert!(walk(&damaged).unwrap_err().contains("checksum"));
        assert!(walk(&[&whole[..], &whole[..]].concat()).unwrap_err().contains("concatenated"));
        let pax = member("p", b'x', b"999 path=a\n");
        assert!(walk(&[&pax[..], &whole[..]].concat()).unwrap_err().contains("pax header"));
        assert!(
            walk(&[member("p", b'x', b"9 path=a\n"), END.to_vec()].concat())
                .unwrap_err()
                .contains("no member")
        );
        let huge = [&member("a", b'0', b"")[..124], b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"].concat();
        let mut huge = [&huge[..], &member("a", b'0', b"")[136..]].concat();
        huge[148..156].fill(b' ');
        let sum: u32 = huge.iter().map(|byte| u32::from(*byte)).sum();
        huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(walk(&huge).unwrap_err().contains("size"));
    }
}
