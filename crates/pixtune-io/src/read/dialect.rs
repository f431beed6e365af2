//! The dialect of a table: the separator of its cells, and whether a `sep=` line names it.

use super::framing::Framing as _;
use super::table::{TableFraming, cells};

/// What separates the cells of a table, found in its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// The byte between cells.
    pub(super) separator: u8,
    /// The first line is `sep=;`, as Excel reads it.
    pub(super) is_declared: bool,
}

/// Bytes that separate cells in the files that people have.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Records that show which of them it is.
const MOST_RECORDS: usize = 50;

impl Dialect {
    /// The dialect of a table with this beginning; `usual` is the separator that its file name implies.
    pub(super) fn of(start: &[u8], usual: u8) -> Dialect {
        let text = start.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(start);
        if let Some(separator) = declared(text) {
            return Dialect { separator, is_declared: true };
        }
        let others = SEPARATORS.into_iter().filter(|separator| *separator != usual);
        let mut best = (usual, fit(text, usual));
        for separator in others {
            let fit = fit(text, separator);
            if fit > best.1 {
                best = (separator, fit);
            }
        }
        Dialect { separator: best.0, is_declared: false }
    }
}

/// The separator in a first line such as `sep=;`, with or without quotes.
fn declared(text: &[u8]) -> Option<u8> {
    let line = text.split(|byte| *byte == b'\n').next()?.trim_ascii_end();
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let (key, separator) = line.split_at_checked(4)?;
    // A tab at the end of the line was trimmed above.
    match separator {
        [separator] if key.eq_ignore_ascii_case(b"sep=") => Some(*separator),
        [] if key.eq_ignore_ascii_case(b"sep=") => Some(b'\t'),
        _ => None,
    }
}

/// How well a separator fits, in percent: the share of records that have as many cells as the header, if that has several.
/// Few rows of a real table are wrong, so that separators that fit almost equally well are equal, and the usual one wins.
fn fit(text: &[u8], separator: u8) -> usize {
    let mut framing = TableFraming::new(separator);
    let mut rest = text;
    let mut header = 0;
    let (mut records, mut equal) = (0, 0);
    while records < MOST_RECORDS
        && let Some(end) = framing.end(rest)
    {
        let (record, after) = rest.split_at(end);
        rest = after;
        let record = String::from_utf8_lossy(record.trim_ascii_end());
        if record.is_empty() {
            continue;
        }
        let cells = cells(&record, separator).len();
        if records == 0 {
            header = cells;
        }
        records += 1;
        equal += usize::from(cells == header);
    }
    if records == 0 {
        // A header alone, or the only record that is in sight.
        header = cells(&String::from_utf8_lossy(rest.trim_ascii_end()), separator).len();
        (records, equal) = (1, 1);
    }
    if header < 2 { 0 } else { (equal * 100 / records).min(90) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_separator() {
        for (text, usual, separator) in [
            ("a,b\n1,2\n", b',', b','),
            ("a;b\n1;2\n", b',', b';'),
            ("image;prompt;answer\na.jpg;What, is it?;yes, it is\n", b',', b';'),
            ("a|b\n1|2,3\n", b',', b'|'),
            ("a\tb\n1\t2\n", b',', b'\t'),
            ("a,b\n1,2\n", b'\t', b','),
            ("a,b\n\"x;y\",\"1;2\"\n", b',', b','),
            ("a;x,b\n1,2\n", b',', b','),
            ("a;b", b',', b';'),
            ("one column\nx, y\n", b',', b','),
            ("", b',', b','),
        ] {
            assert_eq!(
                Dialect::of(text.as_bytes(), usual),
                Dialect { separator, is_declared: false },
                "{text}"
            );
        }
    }

    #[test]
    fn reads_a_declared_separator() {
        for (text, separator) in [
            ("sep=;\r\na;b\n", b';'),
            ("SEP=|\na|b", b'|'),
            ("\"sep=,\"\na,b\n", b','),
            ("sep=\t\na\tb", b'\t'),
        ] {
            assert_eq!(Dialect::of(text.as_bytes(), b','), Dialect { separator, is_declared: true });
        }
        assert!(!Dialect::of(b"sepia,b\n1,2\n", b',').is_declared);
    }
}
