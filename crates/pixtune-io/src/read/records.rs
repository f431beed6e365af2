//! Cutting a stream into rows: the part that all text formats share.
//!
//! A row is never held beyond a limit, whatever the file contains: the rest of an oversized row is skipped.

use std::io::{self, Read};

use super::blocks::BYTE_ORDER_MARK;
use super::framing::{Approach, Framing};
use super::{Cut, Fingerprint, Format, Row, RowRef};

/// Reads rows one by one, hashing every byte it passes.
#[derive(Debug)]
pub struct Records<R> {
    source: R,
    framing: Box<dyn Framing>,
    file: u32,
    max_row: usize,
    buffer: Vec<u8>,
    /// The unread bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
    at_eof: bool,
    /// Nothing was read yet.
    at_start: bool,
    number: u64,
    offset: u64,
    /// Line ends so far, and the start of the line, if the framing needs it.
    lines: u64,
    line_start: u64,
    /// What comes next cannot be read, so that nothing more is.
    is_broken: bool,
    hash: Option<blake3::Hasher>,
}

const READ_SIZE: usize = 256 << 10;

impl<R: Read> Records<R> {
    /// A reader of `source` that keeps at most `max_row` bytes of a row.
    pub fn new(source: R, format: Format, max_row: usize) -> Records<R> {
        Records {
            source,
            framing: format.framing(),
            file: 0,
            max_row,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            at_eof: false,
            at_start: true,
            number: 1,
            offset: 0,
            lines: 0,
            line_start: 0,
            is_broken: false,
            hash: Some(blake3::Hasher::new()),
        }
    }

    /// The same reader without a fingerprint, which would cost more than finding the rows.
    pub(super) fn unhashed(self) -> Records<R> {
        Records { hash: None, ..self }
    }

    /// The same reader for the file that has this index among the inputs of a run.
    pub fn of_file(self, file: u32) -> Records<R> {
        Records { file, ..self }
    }

    /// The same reader for a source that begins with this row of a file.
    pub(super) fn starting_at(self, at: RowRef) -> Records<R> {
        let RowRef { file, number, offset, .. } = at;
        Records { file, number, offset, at_start: false, ..self }
    }

    /// The next row that is not blank, and where it is. An element of an array is never skipped.
    pub fn next_row(&mut self) -> io::Result<Option<(RowRef, Row)>> {
        loop {
            let Some((at, row)) = self.next_line()? else { return Ok(None) };
            if !row.is_blank() || !self.framing.skips_blank() {
                return Ok(Some((at, row)));
            }
        }
    }

    /// The next row, blank or not.
    pub fn next_line(&mut self) -> io::Result<Option<(RowRef, Row)>> {
        if std::mem::take(&mut self.at_start) {
            self.skip_byte_order_mark()?;
        }
        match self.approach() {
            Ok(true) => self.next_record(),
            Ok(false) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData && self.framing.names_places() => {
                self.broken(&error).map(Some)
            }
            Err(error) => Err(error),
        }
    }

    /// The row that stands for what is wrong between rows. The rest of the input is read for its fingerprint alone.
    fn broken(&mut self, error: &io::Error) -> io::Result<(RowRef, Row)> {
        let unread = &self.buffer[self.start..self.end];
        self.consume(unread.len() - unread.trim_ascii_start().len());
        let column = self.offset - self.line_start + 1;
        let why = format!("line {}, column {column}: {error}", self.lines + 1);
        let at = RowRef { file: self.file, number: self.number, offset: self.offset, length: 0 };
        loop {
            self.consume(self.end - self.start);
            if !self.fill()? {
                break;
            }
        }
        self.is_broken = true;
        Ok((at, Row { cut: Some(Cut::Unreadable { why }), ..Row::default() }))
    }

    /// The fingerprint of the input up to the last row read; of the whole input once rows have ended.
    pub fn fingerprint(&self) -> Fingerprint {
        let hash = self.hash.as_ref().map(|hash| hash.finalize().to_hex().to_string());
        Fingerprint { bytes: self.offset, blake3: hash.unwrap_or_default(), version: None }
    }

    /// The first byte after the rows read so far.
    pub(super) fn position(&self) -> u64 {
        self.offset
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        while self.end - self.start < BYTE_ORDER_MARK.len() && self.fill()? {}
        if self.buffer[self.start..self.end].starts_with(BYTE_ORDER_MARK) {
            self.consume(BYTE_ORDER_MARK.len());
        }
        Ok(())
    }

    /// Skips what precedes the next row; false after the last row.
    fn approach(&mut self) -> io::Result<bool> {
        if self.is_broken {
            return Ok(false);
        }
        loop {
            let (skipped, next) = self.framing.approach(&self.buffer[self.start..self.end])?;
            self.consume(skipped);
            if next == Approach::Row {
                return Ok(true);
            }
            if !self.fill()? {
                return self.framing.end_of_input().map(|()| false);
            }
        }
    }

    fn next_record(&mut self) -> io::Result<Option<(RowRef, Row)>> {
        let (number, offset) = (self.number, self.offset);
        let mut kept = Vec::new();
        loop {
            let unread = &self.buffer[self.start..self.end];
            let found = self.framing.end(unread);
            let taken = &unread[..found.unwrap_or(unread.len())];
            self.number += self.framing.count(taken, found.is_some());
            let room = self.max_row - kept.len();
            kept.extend_from_slice(&taken[..taken.len().min(room)]);
            self.consume(taken.len());
            if found.is_some() || !self.fill()? {
                break;
            }
        }
        let length = self.offset - offset;
        if length == 0 {
            return Ok(None);
        }
        let ends_open = self.at_eof && self.start == self.end && self.framing.is_open();
        let at = RowRef { file: self.file, number, offset, length };
        Ok(Some((at, finish(kept, at, ends_open, self.framing.as_ref()))))
    }

    fn consume(&mut self, length: usize) {
        if let Some(hash) = &mut self.hash {
            hash.update(&self.buffer[self.start..self.start + length]);
        }
        if self.framing.names_places() {
            let passed = &self.buffer[self.start..self.start + length];
            if let Some(last) = memchr::memrchr(b'\n', passed) {
                self.lines += memchr::memchr_iter(b'\n', passed).count() as u64;
                self.line_start = self.offset + last as u64 + 1;
            }
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

/// The row of which these bytes were kept.
fn finish(mut kept: Vec<u8>, at: RowRef, ends_open: bool, framing: &dyn Framing) -> Row {
    let cut = match () {
        () if kept.len() as u64 != at.length => Some(Cut::TooLarge { bytes: at.length }),
        () if ends_open => Some(Cut::UnclosedQuote),
        () => None,
    };
    if kept.len() as u64 == at.length {
        framing.trim(&mut kept);
    }
    Row { cut, ..Row::whole(kept) }
}

/// The row at a place of which these bytes were read again: all of them, or as many as are kept of a row.
pub(super) fn reread(bytes: Vec<u8>, at: RowRef, format: Format) -> Row {
    let mut framing = format.framing();
    let ends_open = framing.end(&bytes).is_none() && framing.is_open();
    finish(bytes, at, ends_open, framing.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that gives one byte at a time, so that a buffer ends in every state.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((byte, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *byte;
            self.0 = rest;
            Ok(1)
        }
    }

    fn rows(text: &str, format: Format, max_row: usize) -> Vec<(u64, u64, u64, String, Option<Cut>)> {
        let read = |source: &mut dyn Read| {
            let mut records = Records::new(source, format, max_row);
            let mut rows = Vec::new();
            while let Some((at, row)) = records.next_row().unwrap() {
                let bytes = String::from_utf8(row.bytes).unwrap();
                rows.push((at.number, at.offset, at.length, bytes, row.cut));
            }
            let blake3 = blake3::hash(text.as_bytes()).to_hex().to_string();
            assert_eq!(
                records.fingerprint(),
                Fingerprint { bytes: text.len() as u64, blake3, version: None }
            );
            rows
        };
        let whole = read(&mut text.as_bytes());
        assert_eq!(read(&mut Dribble(text.as_bytes())), whole);
        whole
    }

    const CSV: Format = Format::Table { separator: b',' };

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
    fn skips_the_rest_of_an_oversized_row() {
        let long = "x".repeat(1000);
        let text = format!("a,b\n\"{long}\n{long}\",1\nc,d\n");
        let rows = rows(&text, CSV, 10);
        let cuts: Vec<_> = rows.iter().map(|row| (row.0, row.4.clone())).collect();
        assert_eq!(cuts, [(1, None), (2, Some(Cut::TooLarge { bytes: 2006 })), (4, None)]);
        assert_eq!(rows[1].3, "\"xxxxxxxxx");
    }

    #[test]
    fn reports_a_quote_that_is_never_closed() {
        assert_eq!(
            rows("a,b\n\"1,2\n3,4\n", CSV, 100)[1],
            (2, 4, 9, "\"1,2\n3,4".into(), Some(Cut::UnclosedQuote))
        );
        assert_eq!(rows("a\n\"1\"", CSV, 100)[1].4, None);
    }

    #[test]
    fn quotes_mean_nothing_in_lines() {
        let numbers: Vec<u64> = rows("\"a\n\nb\"\n", Format::JsonLines, 9).iter().map(|row| row.0).collect();
        assert_eq!(numbers, [1, 3]);
    }
}
