//! JSON arrays: an element per row, as in the files of LLaVA, Alpaca and LLaMA-Factory; and objects with a row per member.
//! Elements are found without parsing, so an array of any size is read in little memory.

use std::io;

use super::framing::{Approach, Framing};

/// Elements end at the commas of the array and at its closing bracket.
#[derive(Debug, Default)]
pub(super) struct ArrayFraming {
    holder: Holder,
    position: Position,
    /// Nothing but the opening bracket was read.
    is_empty: bool,
    /// The array is a part of something, which goes on behind it.
    is_inside: bool,
    element: Element,
}

/// What holds the elements.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Holder {
    #[default]
    Array,
    /// An object, whose elements are its members with their keys.
    Object,
}

impl Holder {
    fn brackets(self) -> (u8, u8) {
        match self {
            Holder::Array => (b'[', b']'),
            Holder::Object => (b'{', b'}'),
        }
    }

    /// Why the text cannot go on like this.
    fn refuse(self, position: Position) -> io::Error {
        let why = match (self, position) {
            (Holder::Array, Position::Before) => "a JSON array should start here",
            (Holder::Array, Position::Inside) => "the JSON array is never closed; is the file truncated?",
            (Holder::Array, Position::Behind) => "there is text after the end of the JSON array",
            (Holder::Object, Position::Before) => "a JSON object should start here",
            (Holder::Object, Position::Inside) => "the JSON object is never closed; is the file truncated?",
            (Holder::Object, Position::Behind) => "there is text after the end of the JSON object",
        };
        io::Error::new(io::ErrorKind::InvalidData, why)
    }
}

/// Where in the array a reader is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Position {
    #[default]
    Before,
    Inside,
    Behind,
}

impl Framing for ArrayFraming {
    fn approach(&mut self, unread: &[u8]) -> io::Result<(usize, Approach)> {
        let (opening, closing) = self.holder.brackets();
        let mut at = 0;
        loop {
            let Some(space) = unread[at..].iter().position(|byte| !byte.is_ascii_whitespace()) else {
                return Ok((unread.len(), Approach::More));
            };
            at += space;
            match (self.position, unread[at]) {
                (Position::Before, byte) if byte == opening => {
                    (self.position, self.is_empty) = (Position::Inside, true);
                    at += 1;
                }
                (Position::Inside, byte) if self.is_empty && byte == closing => {
                    self.position = Position::Behind;
                    at += 1;
                }
                (Position::Inside, _) => {
                    self.is_empty = false;
                    return Ok((at, Approach::Row));
                }
                (Position::Behind, _) if self.is_inside => return Ok((at, Approach::More)),
                (position, _) => return Err(self.holder.refuse(position)),
            }
        }
    }

    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let (_, closing) = self.holder.brackets();
        let end = self.element.end_at(bytes, closing)?;
        self.position = if bytes[end - 1] == closing { Position::Behind } else { Position::Inside };
        self.element = Element::default();
        Some(end)
    }

    fn end_of_input(&self) -> io::Result<()> {
        if self.is_behind() { Ok(()) } else { Err(self.holder.refuse(self.position)) }
    }

    fn count(&self, _taken: &[u8], is_end: bool) -> u64 {
        u64::from(is_end)
    }

    /// Takes off the comma or bracket after an element, and the white space before that.
    fn trim(&self, row: &mut Vec<u8>) {
        let (_, closing) = self.holder.brackets();
        if row.last().is_some_and(|last| [b',', closing].contains(last)) {
            row.pop();
        }
        row.truncate(row.trim_ascii_end().len());
    }

    fn skips_blank(&self) -> bool {
        false
    }

    fn names_places(&self) -> bool {
        true
    }
}

impl ArrayFraming {
    /// The framing of an object, each of whose members is a row: `"key": value`.
    pub(super) fn of_members() -> ArrayFraming {
        ArrayFraming { holder: Holder::Object, ..ArrayFraming::default() }
    }

    /// The framing of an array inside of something else.
    pub(super) fn inside() -> ArrayFraming {
        ArrayFraming { is_inside: true, ..ArrayFraming::default() }
    }

    /// Whether the array was closed.
    pub(super) fn is_behind(&self) -> bool {
        self.position == Position::Behind
    }
}

/// Finds where an element ends: at the comma or bracket behind it.
#[derive(Debug, Default)]
pub(super) struct Element {
    depth: u64,
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    BetweenStrings,
    InString,
    /// Behind a backslash in a string.
    Escaped,
}

impl Element {
    /// The length of what is left of an element or member in `bytes`, including the comma or bracket behind it; `None` when more
    /// must be read. Brackets are counted, not matched: whoever parses the element reports invalid JSON.
    pub(super) fn end_at(&mut self, bytes: &[u8], closing: u8) -> Option<usize> {
        self.find(bytes, |byte, depth| depth == 0 && (byte == b',' || byte == closing))
    }

    /// The length of what is left of an object in `bytes`, including its closing bracket.
    pub(super) fn object_end(&mut self, bytes: &[u8]) -> Option<usize> {
        self.find(bytes, |byte, depth| depth == 1 && byte == b'}')
    }

    /// The length up to the first byte outside of strings that ends the element, given how many brackets are open.
    fn find(&mut self, bytes: &[u8], ends: impl Fn(u8, u64) -> bool) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::InString => {
                    at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
                    let closes = bytes[at] == b'"';
                    self.state = if closes { State::BetweenStrings } else { State::Escaped };
                }
                State::Escaped => self.state = State::InString,
                State::BetweenStrings => match bytes[at] {
                    byte if ends(byte, self.depth) => return Some(at + 1),
                    b'"' => self.state = State::InString,
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

/// Whether a text that starts with these bytes is an array.
pub(super) fn starts_array(start: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(start);
    text.trim_ascii_start().first() == Some(&b'[')
}

#[cfg(test)]
mod tests {
    use pixtune_core::json;
    use proptest::prelude::*;

    use super::super::array_lines::ArrayLines;
    use super::super::records::Records;
    use super::super::{Cut, Fingerprint, Format};
    use super::*;

    /// The elements by number and bytes, or why the array does not end well.
    fn elements(text: &str, max_row: usize) -> Result<Vec<(u64, String)>, String> {
        let mut records = Records::new(text.as_bytes(), Format::JsonArray, max_row);
        let mut rows = Vec::new();
        while let Some((at, row)) = records.next_row().map_err(|error| error.to_string())? {
            if let Some(Cut::Unreadable { why }) = row.cut {
                return Err(why);
            }
            let end = (at.offset + at.length) as usize;
            assert!(text.as_bytes()[at.offset as usize..end].starts_with(&row.bytes));
            rows.push((at.number, String::from_utf8(row.bytes).unwrap()));
        }
        let blake3 = blake3::hash(text.as_bytes()).to_hex().to_string();
        assert_eq!(records.fingerprint(), Fingerprint { bytes: text.len() as u64, blake3, version: None });
        Ok(rows)
    }

    #[test]
    fn numbers_elements_without_their_separators() {
        let text = "\u{feff} [\n  {\"a\": [1, \"]},\\\"\"]} ,\r\n  [2],3\n]\n";
        let expected = ["{\"a\": [1, \"]},\\\"\"]}", "[2]", "3"].map(str::to_owned);
        assert_eq!(elements(text, 100).unwrap(), (1..).zip(expected).collect::<Vec<_>>());
        for empty in ["[]", "[ \n ] "] {
            assert_eq!(elements(empty, 100).unwrap(), [], "{empty}");
        }
    }

    #[test]
    fn reads_an_extra_comma_as_an_empty_element() {
        assert_eq!(elements("[1,]", 9).unwrap(), [(1, "1".into()), (2, String::new())]);
        assert_eq!(elements("[,1]", 9).unwrap(), [(1, String::new()), (2, "1".into())]);
    }

    #[test]
    fn refuses_an_unclosed_array_and_text_after_its_end() {
        for cut in ["[", "[1", "[1,", "[{\"a\": 1", "[{\"a\": 1}", "[\"]", "[[]"] {
            assert!(elements(cut, 100).unwrap_err().contains("never closed"), "{cut}");
        }
        for more in ["[1] 2", "[1]]", "[],", "[]\n[]"] {
            assert!(elements(more, 100).unwrap_err().contains("after the end"), "{more}");
        }
        for other in ["", "{}", "\"[\""] {
            assert!(elements(other, 100).unwrap_err().contains("should start here"), "{other}");
        }
    }

    proptest! {
        #[test]
        fn finds_the_elements_that_a_parser_finds(
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
            let lines = ArrayLines::new(text.as_bytes(), Format::JsonArray, 1 << 20);
            let again: Vec<String> = io::read_to_string(lines)
                .unwrap()
                .lines()
                .map(|line| json::parse(line).unwrap().value.to_string())
                .collect();
            prop_assert_eq!(parsed, format!("[{}]", again.join(",")));
        }
    }
}
