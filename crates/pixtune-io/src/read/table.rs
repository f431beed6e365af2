//! Tables: CSV and TSV records and their cells (RFC 4180).

use std::borrow::Cow;

use super::framing::Framing;

/// Records end at line ends outside quotes.
#[derive(Debug)]
pub(super) struct TableFraming {
    separator: u8,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CellStart,
    Unquoted,
    Quoted,
    /// After a quote inside a quoted cell: the cell's end, or the first half of an escaped quote.
    AfterQuote,
}

impl TableFraming {
    pub(super) fn new(separator: u8) -> TableFraming {
        TableFraming { separator, state: State::CellStart }
    }
}

impl Framing for TableFraming {
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Quoted => {
                    at += memchr::memchr(b'"', &bytes[at..])?;
                    self.state = State::AfterQuote;
                }
                State::Unquoted => {
                    at += memchr::memchr2(self.separator, b'\n', &bytes[at..])?;
                    self.state = State::CellStart;
                    if bytes[at] == b'\n' {
                        return Some(at + 1);
                    }
                }
                State::CellStart | State::AfterQuote => {
                    self.state = match bytes[at] {
                        b'"' => State::Quoted,
                        b'\n' => {
                            self.state = State::CellStart;
                            return Some(at + 1);
                        }
                        byte if byte == self.separator => State::CellStart,
                        // Text after a closing quote belongs to the cell, as in Python's csv module.
                        _ => State::Unquoted,
                    };
                }
            }
            at += 1;
        }
        None
    }

    /// Whether a quoted cell is open.
    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }
}

/// The cells of one record, unquoted. A cell is copied only if it has parts between quotes: it may have hundreds of megabytes.
pub fn cells(record: &str, separator: u8) -> Vec<Cow<'_, str>> {
    let mut cells = Vec::new();
    let mut rest = record;
    loop {
        let (cell, after) = cell(rest, separator);
        cells.push(cell);
        match after {
            Some(after) => rest = after,
            None => return cells,
        }
    }
}

/// The first cell, and what follows its separator, if there is one.
fn cell(text: &str, separator: u8) -> (Cow<'_, str>, Option<&str>) {
    let mut cell = Cow::Borrowed("");
    let mut rest = text;
    if let Some(mut quoted) = rest.strip_prefix('"') {
        loop {
            let Some(quote) = memchr::memchr(b'"', quoted.as_bytes()) else {
                cell += quoted;
                return (cell, None);
            };
            cell += &quoted[..quote];
            rest = &quoted[quote + 1..];
            match rest.strip_prefix('"') {
                Some(after) => {
                    cell += "\"";
                    quoted = after;
                }
                None => break,
            }
        }
    }
    match memchr::memchr(separator, rest.as_bytes()) {
        Some(at) => {
            cell += &rest[..at];
            (cell, Some(&rest[at + 1..]))
        }
        None => {
            cell += rest;
            (cell, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unquotes_cells() {
        assert_eq!(cells("a,\"b,\"\"c\"\"\nd\",,\"e\"f, g ", b','), ["a", "b,\"c\"\nd", "", "ef", " g "]);
        assert_eq!(cells("a\t\"b", b'\t'), ["a", "b"]);
        assert_eq!(cells("", b','), [""]);
    }
}
