//! Records of a table and their cells (RFC 4180).

/// Finds where a record ends: at the line end outside quotes.
#[derive(Debug)]
pub(super) struct Record {
    separator: u8,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CellStart,
    Unquoted,
    Quoted,
    /// Behind a quote inside a quoted cell: the cell's end, or the first half of an escaped quote.
    AfterQuote,
}

impl Record {
    pub(super) fn new(separator: u8) -> Record {
        Record { separator, state: State::CellStart }
    }

    /// Whether a quoted cell is open.
    pub(super) fn is_quoted(&self) -> bool {
        self.state == State::Quoted
    }

    /// The length of what is left of the record in `bytes`, its line end included; `None` when more must be read.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Quoted => {
                    at += memchr::memchr(b'"', &bytes[at..])?;
                    self.state = State::AfterQuote;
                }
                State::Unquoted => {
                    at += memchr::memchr2(self.separator, b'\n', &bytes[at..])?;
                    if bytes[at] == b'\n' {
                        return Some(at + 1);
                    }
                    self.state = State::CellStart;
                }
                State::CellStart | State::AfterQuote => {
                    self.state = match bytes[at] {
                        b'"' => State::Quoted,
                        b'\n' => return Some(at + 1),
                        byte if byte == self.separator => State::CellStart,
                        // Text behind a closing quote belongs to the cell, as Python's csv module has it.
                        _ => State::Unquoted,
                    };
                }
            }
            at += 1;
        }
        None
    }
}

/// The cells of one table record, quotes undone.
pub fn cells(record: &str, separator: u8) -> Vec<String> {
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

/// The first cell and what stands behind its separator, if there is one.
fn cell(text: &str, separator: u8) -> (String, Option<&str>) {
    let mut cell = String::new();
    let mut rest = text;
    if let Some(mut quoted) = rest.strip_prefix('"') {
        loop {
            let Some(quote) = memchr::memchr(b'"', quoted.as_bytes()) else {
                cell.push_str(quoted);
                return (cell, None);
            };
            cell.push_str(&quoted[..quote]);
            rest = &quoted[quote + 1..];
            match rest.strip_prefix('"') {
                Some(after) => {
                    cell.push('"');
                    quoted = after;
                }
                None => break,
            }
        }
    }
    match memchr::memchr(separator, rest.as_bytes()) {
        Some(at) => {
            cell.push_str(&rest[..at]);
            (cell, Some(&rest[at + 1..]))
        }
        None => {
            cell.push_str(rest);
            (cell, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_lose_their_quotes() {
        assert_eq!(cells("a,\"b,\"\"c\"\"\nd\",,\"e\"f, g ", b','), ["a", "b,\"c\"\nd", "", "ef", " g "]);
        assert_eq!(cells("a\t\"b", b'\t'), ["a", "b"]);
        assert_eq!(cells("", b','), [""]);
    }
}
