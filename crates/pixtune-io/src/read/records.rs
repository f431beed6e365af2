//! Cutting a stream into rows: lines of JSON, elements of a JSON array, or records of a table whose quoted cells may hold
//! line ends.
//!
//! A row is never held beyond a limit, whatever the file says: the rest of an oversized row is read past.

use std::io::{self, Read};

use super::array::{Element, Stand};
use super::table::Record;

/// How rows end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// At every line end.
    Lines,
    /// At the commas of one JSON array.
    Array,
    /// At line ends outside quotes (RFC 4180), cells separated by this byte.
    Table {
        /// The separator of cells.
        separator: u8,
    },
}

/// One row as it stands in the input, without what ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRow {
    /// Its first line, from 1; of an array, which may be one line, the number of the element.
    pub line: u64,
    /// Its first byte.
    pub offset: u64,
    /// Its bytes in the input, line end or comma included.
    pub length: u64,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Why `bytes` is not the whole row, if it is not.
    pub cut: Option<Cut>,
}

impl RawRow {
    /// Tells the row from any other at its place.
    pub fn hash(&self) -> u64 {
        twox_hash::XxHash3_64::oneshot_with_seed(self.offset ^ self.length << 32, &self.bytes)
    }
}

/// Why a row is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It is larger than the limit.
    TooLarge,
    /// The input ends inside a quoted cell.
    UnclosedQuote,
}

/// Reads rows one by one, hashing every byte it passes.
pub struct Records<R> {
    source: R,
    framing: Framing,
    max_row: usize,
    buffer: Vec<u8>,
    /// The unread bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
    at_eof: bool,
    /// Nothing was read yet.
    at_start: bool,
    /// Where in an array.
    stand: Stand,
    line: u64,
    offset: u64,
    hash: Option<blake3::Hasher>,
    has_byte_order_mark: bool,
}

const READ_SIZE: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<R: Read> Records<R> {
    /// A reader of `source` that keeps at most `max_row` bytes of a row.
    pub fn new(source: R, framing: Framing, max_row: usize) -> Records<R> {
        let hash = Some(blake3::Hasher::new());
        let buffer = Vec::new();
        Records {
            source,
            framing,
            max_row,
            buffer,
            start: 0,
            end: 0,
            at_eof: false,
            at_start: true,
            stand: Stand::Before,
            line: 1,
            offset: 0,
            hash,
            has_byte_order_mark: false,
        }
    }

    /// The same, for reading lines without a fingerprint, which would cost more than finding them.
    pub fn unhashed(source: R, framing: Framing, max_row: usize) -> Records<R> {
        Records { hash: None, ..Records::new(source, framing, max_row) }
    }

    /// The same, for a source that begins with a row somewhere in a file.
    pub fn inside(self) -> Records<R> {
        Records { at_start: false, stand: Stand::Inside, ..self }
    }

    /// The next row, blank or not.
    pub fn next_line(&mut self) -> io::Result<Option<RawRow>> {
        if std::mem::take(&mut self.at_start) {
            self.skip_byte_order_mark()?;
        }
        if self.framing == Framing::Array && !self.stands_at_element()? {
            return Ok(None);
        }
        self.next_record()
    }

    /// Whether the input started with a byte order mark; known once a row was read.
    pub fn has_byte_order_mark(&self) -> bool {
        self.has_byte_order_mark
    }

    /// The next row that is not blank; in an array nothing may be.
    pub fn next_row(&mut self) -> io::Result<Option<RawRow>> {
        loop {
            let Some(row) = self.next_line()? else { return Ok(None) };
            let is_kept = row.cut.is_some() || self.framing == Framing::Array;
            if is_kept || row.bytes.iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Ok(Some(row));
            }
        }
    }

    /// Bytes and BLAKE3 hash of the input up to the last row read; of the whole input once rows have ended. The hash is
    /// empty for [`Records::unhashed`].
    pub fn fingerprint(&self) -> (u64, String) {
        let hash = self.hash.as_ref().map(|hash| hash.finalize().to_hex().to_string());
        (self.offset, hash.unwrap_or_default())
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        while self.end - self.start < BYTE_ORDER_MARK.len() && self.fill()? {}
        if self.buffer[self.start..self.end].starts_with(BYTE_ORDER_MARK) {
            self.consume(BYTE_ORDER_MARK.len());
            self.has_byte_order_mark = true;
        }
        Ok(())
    }

    /// Passes what stands between two elements of an array; false behind the last.
    fn stands_at_element(&mut self) -> io::Result<bool> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            let next = unread.iter().position(|byte| !byte.is_ascii_whitespace());
            self.consume(next.unwrap_or(unread.len()));
            let next = self.buffer[self.start..self.end].first().copied();
            match (self.stand, next) {
                (_, None) if self.fill()? => {}
                (Stand::Behind, None) => return Ok(false),
                (Stand::Before, Some(b'[')) => {
                    self.consume(1);
                    self.stand = Stand::Inside;
                }
                (Stand::Inside, Some(b']')) if self.line == 1 => {
                    self.consume(1);
                    self.stand = Stand::Behind;
                }
                (Stand::Inside, Some(_)) => return Ok(true),
                (stand, _) => return Err(stand.refuse()),
            }
        }
    }

    fn next_record(&mut self) -> io::Result<Option<RawRow>> {
        let (line, offset) = (self.line, self.offset);
        let mut scan = Scan::new(self.framing);
        let mut kept = Vec::new();
        let mut too_large = false;
        loop {
            let unread = &self.buffer[self.start..self.end];
            let found = scan.end(unread);
            let taken = &unread[..found.unwrap_or(unread.len())];
            if self.framing != Framing::Array {
                self.line += memchr::memchr_iter(b'\n', taken).count() as u64;
            } else if found.is_some() {
                self.line += 1;
                self.stand = if taken.ends_with(b"]") { Stand::Behind } else { Stand::Inside };
            }
            if kept.len() + taken.len() > self.max_row {
                let room = self.max_row - kept.len();
                kept.extend_from_slice(&taken[..room]);
                too_large = true;
            } else {
                kept.extend_from_slice(taken);
            }
            self.consume(taken.len());
            if found.is_some() || !self.fill()? {
                break;
            }
        }
        if self.offset == offset {
            return Ok(None);
        }
        let ends_quoted = self.at_eof && self.start == self.end && scan.is_quoted();
        let cut = match (too_large, ends_quoted) {
            (true, _) => Some(Cut::TooLarge),
            (_, true) => Some(Cut::UnclosedQuote),
            _ => None,
        };
        if !too_large && self.framing == Framing::Array {
            trim_element(&mut kept);
        } else if !too_large {
            trim_line_end(&mut kept);
        }
        Ok(Some(RawRow { line, offset, length: self.offset - offset, bytes: kept, cut }))
    }

    fn consume(&mut self, length: usize) {
        if let Some(hash) = &mut self.hash {
            hash.update(&self.buffer[self.start..self.start + length]);
        }
        self.start += length;
        self.offset += length as u64;
    }

    /// Reads more; false at the end of the input. Unread bytes stay.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.buffer.resize(self.end + READ_SIZE, 0);
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    self.at_eof = read == 0;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn trim_line_end(row: &mut Vec<u8>) {
    if row.last() == Some(&b'\n') {
        row.pop();
        if row.last() == Some(&b'\r') {
            row.pop();
        }
    }
}

/// The comma or bracket behind an element, and white space before that.
fn trim_element(row: &mut Vec<u8>) {
    if matches!(row.last(), Some(b',' | b']')) {
        row.pop();
    }
    row.truncate(row.trim_ascii_end().len());
}

enum Scan {
    Line,
    Element(Element),
    Record(Record),
}

impl Scan {
    fn new(framing: Framing) -> Scan {
        match framing {
            Framing::Lines => Scan::Line,
            Framing::Array => Scan::Element(Element::default()),
            Framing::Table { separator } => Scan::Record(Record::new(separator)),
        }
    }

    fn is_quoted(&self) -> bool {
        matches!(self, Scan::Record(record) if record.is_quoted())
    }

    /// The length of the row that `bytes` continue, what ends it included; `None` when more must be read.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Scan::Line => memchr::memchr(b'\n', bytes).map(|at| at + 1),
            Scan::Element(element) => element.end(bytes),
            Scan::Record(record) => record.end(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that gives one byte at a time, so that every state is met at a buffer's end.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((byte, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *byte;
            self.0 = rest;
            Ok(1)
        }
    }

    fn rows(text: &str, framing: Framing, max_row: usize) -> Vec<(u64, u64, u64, String, Option<Cut>)> {
        let read = |source: &mut dyn Read| {
            let mut records = Records::new(source, framing, max_row);
            let mut rows = Vec::new();
            while let Some(row) = records.next_row().unwrap() {
                let bytes = String::from_utf8(row.bytes).unwrap();
                rows.push((row.line, row.offset, row.length, bytes, row.cut));
            }
            let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
            assert_eq!(records.fingerprint(), (text.len() as u64, hash));
            rows
        };
        let whole = read(&mut text.as_bytes());
        assert_eq!(read(&mut Dribble(text.as_bytes())), whole);
        whole
    }

    const CSV: Framing = Framing::Table { separator: b',' };

    #[test]
    fn quoted_cells_hold_line_ends() {
        let text = "\u{feff}a,b\r\n\"1\n\"\"x\"\"\",2\r\n\n3,4\" pipe\n5,6";
        assert_eq!(
            rows(text, CSV, 100),
            [
                (1, 3, 5, "a,b".into(), None),
                (2, 8, 13, "\"1\n\"\"x\"\"\",2".into(), None),
                (5, 22, 10, "3,4\" pipe".into(), None),
                (6, 32, 3, "5,6".into(), None),
            ]
        );
    }

    #[test]
    fn oversized_rows_are_read_past() {
        let long = "x".repeat(1000);
        let text = format!("a,b\n\"{long}\n{long}\",1\nc,d\n");
        let rows = rows(&text, CSV, 10);
        assert_eq!(
            rows.iter().map(|row| (row.0, row.4)).collect::<Vec<_>>(),
            [(1, None), (2, Some(Cut::TooLarge)), (4, None)]
        );
        assert_eq!(rows[1].3, "\"xxxxxxxxx");
    }

    #[test]
    fn a_quote_that_never_closes_is_told() {
        assert_eq!(
            rows("a,b\n\"1,2\n3,4\n", CSV, 100)[1],
            (2, 4, 9, "\"1,2\n3,4".into(), Some(Cut::UnclosedQuote))
        );
        assert_eq!(rows("a\n\"1\"", CSV, 100)[1].4, None);
    }

    #[test]
    fn lines_know_no_quotes() {
        assert_eq!(
            rows("\"a\n\nb\"\n", Framing::Lines, 9).iter().map(|row| row.0).collect::<Vec<_>>(),
            [1, 3]
        );
    }
}
