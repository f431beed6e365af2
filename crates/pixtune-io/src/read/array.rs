//! The elements of one JSON array, as LLaVA's, Alpaca's and LLaMA-Factory's files have their rows: found without parsing,
//! so that an array of any size is read in little memory.

use std::io::{self, Chain, Cursor, Read, Repeat, Take};

use super::records::{Framing, Records};

/// Finds where an element ends: at the comma or bracket behind it.
#[derive(Debug, Default)]
pub(super) struct Element {
    depth: u64,
    place: Place,
}

#[derive(Debug, Default, Clone, Copy)]
enum Place {
    #[default]
    BetweenStrings,
    InString,
    /// Behind a backslash in a string.
    Escaped,
}

impl Element {
    /// The length of what is left of the element in `bytes`, with the comma or bracket behind it; `None` when more must be
    /// read. Brackets are counted, not matched: what is no JSON is told by whoever parses the element.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::InString => {
                    at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
                    let closes = bytes[at] == b'"';
                    self.place = if closes { Place::BetweenStrings } else { Place::Escaped };
                }
                Place::Escaped => self.place = Place::InString,
                Place::BetweenStrings => match bytes[at] {
                    b',' | b']' if self.depth == 0 => return Some(at + 1),
                    b'"' => self.place = Place::InString,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                },
            }
            at += 1;
        }
        None
    }
}

/// Where a reader of an array stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// Before the opening bracket.
    Before,
    /// At an element, or between two.
    Inside,
    /// Behind the closing bracket.
    Behind,
}

impl Stand {
    /// Why an array cannot go on as it does from where it stands.
    pub(super) fn refuse(self) -> io::Error {
        let why = match self {
            Stand::Before => "a JSON array should start here",
            Stand::Inside => "its JSON array is never closed: is the file cut short?",
            Stand::Behind => "text stands behind the end of its JSON array",
        };
        io::Error::new(io::ErrorKind::InvalidData, why)
    }
}

/// Whether a text is an array, as far as its first bytes tell.
pub(super) fn starts_array(start: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(start);
    text.trim_ascii_start().first() == Some(&b'[')
}

/// An array read as lines, an element each.
pub struct ArrayLines<R> {
    elements: Records<R>,
    line: Line,
}

/// What was kept of an element, spaces for the rest of one that is too long, so that its length is told, and a line end.
type Line = Chain<Chain<Cursor<Vec<u8>>, Take<Repeat>>, &'static [u8]>;

impl<R: Read> ArrayLines<R> {
    /// The lines of an array; at most `max_line` bytes of one are more than spaces.
    pub fn new(source: R, max_line: usize) -> ArrayLines<R> {
        let elements = Records::unhashed(source, Framing::Array, max_line);
        ArrayLines { elements, line: line(Vec::new(), 0, b"") }
    }
}

fn line(kept: Vec<u8>, missing: u64, end: &'static [u8]) -> Line {
    Cursor::new(kept).chain(io::repeat(b' ').take(missing)).chain(end)
}

impl<R: Read> Read for ArrayLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = self.line.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            let Some(row) = self.elements.next_row()? else { return Ok(0) };
            let kept = in_one_line(row.bytes);
            let missing = if row.cut.is_some() { row.length - kept.len() as u64 - 1 } else { 0 };
            self.line = line(kept, missing, b"\n");
        }
    }
}

/// An element without its line breaks and what indents the lines. In a string, where JSON allows none, a line break becomes
/// a carriage return, which JSON allows as little.
fn in_one_line(element: Vec<u8>) -> Vec<u8> {
    if memchr::memchr(b'\n', &element).is_none() {
        return element;
    }
    let mut line = Vec::with_capacity(element.len());
    let (mut in_string, mut escaped, mut is_indent) = (false, false, false);
    for byte in element {
        match byte {
            b'\n' if in_string => line.push(b'\r'),
            b'\n' => {
                line.truncate(line.trim_ascii_end().len());
                is_indent = true;
            }
            b' ' | b'\t' | b'\r' if is_indent => {}
            _ => {
                line.push(byte);
                is_indent = false;
                in_string ^= byte == b'"' && !escaped;
            }
        }
        escaped = in_string && byte == b'\\' && !escaped;
    }
    line
}

#[cfg(test)]
mod tests {
    use pixtune_core::json;
    use proptest::prelude::*;

    use super::*;

    /// The elements by number and bytes, or why there is an end to them.
    fn elements(text: &str, max_row: usize) -> Result<Vec<(u64, String)>, String> {
        let mut records = Records::new(text.as_bytes(), Framing::Array, max_row);
        let mut rows = Vec::new();
        while let Some(row) = records.next_row().map_err(|error| error.to_string())? {
            let end = (row.offset + row.length) as usize;
            assert!(text.as_bytes()[row.offset as usize..end].starts_with(&row.bytes));
            rows.push((row.line, String::from_utf8(row.bytes).unwrap()));
        }
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        assert_eq!(records.fingerprint(), (text.len() as u64, hash));
        Ok(rows)
    }

    fn lines(text: &str, max_line: usize) -> String {
        let mut out = String::new();
        ArrayLines::new(text.as_bytes(), max_line).read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn elements_are_numbered_and_stand_alone() {
        let text = "\u{feff} [\n  {\"a\": [1, \"]},\\\"\"]} ,\r\n  [2],3\n]\n";
        let expected = ["{\"a\": [1, \"]},\\\"\"]}", "[2]", "3"].map(str::to_owned);
        assert_eq!(elements(text, 100).unwrap(), (1..).zip(expected).collect::<Vec<_>>());
        for empty in ["[]", "[ \n ] "] {
            assert_eq!(elements(empty, 100).unwrap(), [], "{empty}");
        }
    }

    #[test]
    fn a_comma_too_many_is_an_element_that_is_no_json() {
        assert_eq!(elements("[1,]", 9).unwrap(), [(1, "1".into()), (2, String::new())]);
        assert_eq!(elements("[,1]", 9).unwrap(), [(1, String::new()), (2, "1".into())]);
    }

    #[test]
    fn an_array_that_does_not_end_and_text_behind_its_end_are_told() {
        for cut in ["[", "[1", "[1,", "[{\"a\": 1", "[{\"a\": 1}", "[\"]", "[[]"] {
            assert!(elements(cut, 100).unwrap_err().contains("never closed"), "{cut}");
        }
        for more in ["[1] 2", "[1]]", "[],", "[]\n[]"] {
            assert!(elements(more, 100).unwrap_err().contains("behind the end"), "{more}");
        }
        for other in ["", "{}", "\"[\""] {
            assert!(elements(other, 100).unwrap_err().contains("should start here"), "{other}");
        }
    }

    #[test]
    fn lines_of_elements_that_are_too_long_have_their_length() {
        let text = format!("[{{\"a\":\n\r1}}\n , \"{}\",3]", "x".repeat(50));
        assert_eq!(lines(&text, 13), format!("{{\"a\":1}}\n\"{}{}\n3\n", "x".repeat(12), " ".repeat(39)));
    }

    #[test]
    fn line_breaks_go_and_those_in_strings_stay_wrong() {
        let text = "[{\r\n  \"a\": \"b\\\"\nc  d\\\\\" ,\n\t\"e\" : [ 1,  2\n] }]";
        let line = "{\"a\": \"b\\\"\rc  d\\\\\" ,\"e\" : [ 1,  2] }\n";
        assert_eq!(lines(text, 100), line);
        assert!(json::parse(line.trim_end()).is_err() && json::parse(&line.replace('\r', "")).is_ok());
    }

    proptest! {
        #[test]
        fn elements_are_those_of_a_parser(
            texts in prop::collection::vec(prop::collection::vec(any::<char>(), 0..6), 0..6),
            (before, after) in ("[ \n\t]{0,3}", "[ \n\t]{0,3}"),
            nested in any::<bool>(),
        ) {
            let quoted = texts.iter().map(|text| json::quoted(&text.iter().collect::<String>()));
            let values: Vec<String> = quoted
                .map(|text| if nested { format!("{{\"k,]\":{before}[{text},{{}}]{after}}}") } else { text })
                .collect();
            let spaced: Vec<String> = values.iter().map(|value| format!("{before}{value}{after}")).collect();
            let text = format!("{after}[{}]{before}", spaced.join(","));
            let found = elements(&text, 1 << 20).unwrap();
            prop_assert_eq!(&found, &(1..).zip(values.iter().cloned()).collect::<Vec<_>>());
            let parsed = json::parse(&text).unwrap().value.to_string();
            let again: Vec<String> = lines(&text, 1 << 20)
                .lines()
                .map(|line| json::parse(line).unwrap().value.to_string())
                .collect();
            prop_assert_eq!(parsed, format!("[{}]", again.join(",")));
        }
    }
}
