//! An array, or other rows that are not lines, read as JSON Lines.

use std::io::{self, Chain, Cursor, Read, Repeat, Take};

use super::blocks::unreadable_line;
use super::records::Records;
use super::{Cut, Format};

/// An array read as JSON Lines, one element per line.
pub struct ArrayLines<R> {
    elements: Records<R>,
    line: Line,
}

/// The bytes kept of an element, spaces for the rest of one that is too long, so that its length is known, and a line end.
type Line = Chain<Chain<Cursor<Vec<u8>>, Take<Repeat>>, &'static [u8]>;

impl<R: Read> ArrayLines<R> {
    /// The lines of an array or of other rows of this format; at most `max_line` bytes of one are kept.
    pub fn new(source: R, format: Format, max_line: usize) -> ArrayLines<R> {
        let elements = Records::new(source, format, max_line).unhashed();
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
            let Some((_, row)) = self.elements.next_row()? else { return Ok(0) };
            if let Some(Cut::Unreadable { why }) = &row.cut {
                self.line = line(unreadable_line(why), 0, b"\n");
                continue;
            }
            let length = row.oversized();
            let kept = in_one_line(row.bytes);
            let missing = length.map_or(0, |length| length - kept.len() as u64 - 1);
            self.line = line(kept, missing, b"\n");
        }
    }
}

/// An element without its line breaks and the indentation behind them. In a string, where JSON allows neither, a line
/// break becomes a carriage return.
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

    use super::*;

    fn lines(text: &str, max_line: usize) -> String {
        let mut out = String::new();
        ArrayLines::new(text.as_bytes(), Format::JsonArray, max_line).read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn lines_of_oversized_elements_keep_their_length() {
        let text = format!("[{{\"a\":\n\r1}}\n , \"{}\",3]", "x".repeat(50));
        assert_eq!(lines(&text, 13), format!("{{\"a\":1}}\n\"{}{}\n3\n", "x".repeat(12), " ".repeat(39)));
    }

    #[test]
    fn removes_line_breaks_but_keeps_those_in_strings_invalid() {
        let text = "[{\r\n  \"a\": \"b\\\"\nc  d\\\\\" ,\n\t\"e\" : [ 1,  2\n] }]";
        let line = "{\"a\": \"b\\\"\rc  d\\\\\" ,\"e\" : [ 1,  2] }\n";
        assert_eq!(lines(text, 100), line);
        assert!(json::parse(line.trim_end()).is_err() && json::parse(&line.replace('\r', "")).is_ok());
    }
}
