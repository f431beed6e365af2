//! Strings: plain runs, escapes, and the payloads of data URIs.

use std::borrow::Cow;

use super::{Input, Parser, SyntaxError};
use crate::bytes::{Plain, base64_run, plain_run};

/// Maximum bytes before the comma that ends the header of a data URI.
const MOST_OF_MIME: usize = 128;

impl<'a> Parser<'a> {
    /// A string from its opening quote; borrowed if it has no escapes.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        self.at += 1;
        let first = self.plain()?;
        if self.bytes[self.at - 1] == b'"' {
            return Ok(Cow::Borrowed(first));
        }
        let mut text = first.to_owned();
        loop {
            let escaped = self.escape()?;
            text.push(escaped);
            text.push_str(self.plain()?);
            if self.bytes[self.at - 1] == b'"' {
                return Ok(Cow::Owned(text));
            }
        }
    }

    /// The part of a string before a quote or a backslash, which is consumed as well.
    #[inline]
    fn plain(&mut self) -> Result<&'a str, SyntaxError> {
        let start = self.at;
        let rest = &self.bytes[start..];
        let run = if rest.starts_with(b"data:") { self.data_uri() } else { plain_run(rest) };
        self.at += run.length;
        match self.peek() {
            Some(b'"' | b'\\') => {
                self.at += 1;
                self.run(start, self.at - 1, run.is_ascii)
            }
            Some(_) if memchr::memchr2(b'"', b'\\', &self.bytes[self.at..]).is_some() => {
                Err(self.error("a control character inside a string"))
            }
            _ => {
                self.at = self.bytes.len();
                Err(self.error("the text ends inside a string"))
            }
        }
    }

    /// The same for a string that may be an image; the length of its base64 is recorded.
    fn data_uri(&mut self) -> Plain {
        let rest = &self.bytes[self.at..];
        let comma = rest.iter().take(MOST_OF_MIME).position(|&byte| byte == b',');
        let head = plain_run(&rest[..comma.map_or(0, |comma| comma + 1)]);
        let mut length = 0;
        if comma.is_some_and(|comma| comma < head.length) {
            length = head.length + base64_run(&rest[head.length..]);
            self.base64.push(self.at + head.length..self.at + length);
        }
        let tail = plain_run(&rest[length..]);
        Plain { length: length + tail.length, is_ascii: head.is_ascii && tail.is_ascii }
    }

    /// A piece of the text between two ASCII characters.
    #[inline]
    pub(super) fn run(&self, start: usize, end: usize, is_ascii: bool) -> Result<&'a str, SyntaxError> {
        let run = &self.bytes[start..end];
        if is_ascii || self.input == Input::Text {
            // SAFETY: ASCII is UTF-8, and so is a text between two of its ASCII characters.
            return Ok(unsafe { std::str::from_utf8_unchecked(run) });
        }
        std::str::from_utf8(run).map_err(|_| self.error("bytes that are not UTF-8"))
    }

    /// The character of an escape, read after its backslash.
    fn escape(&mut self) -> Result<char, SyntaxError> {
        let simple = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.error("an unknown escape in a string")),
        };
        self.at += 1;
        Ok(simple)
    }

    fn unicode_escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.at - 1;
        let unit = self.hex4()?;
        if let Some(character) = char::from_u32(unit) {
            return Ok(character);
        }
        if unit < 0xdc00 && self.bytes[self.at..].starts_with(b"\\u") {
            let after_first = self.at;
            self.at += 1;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).expect("a surrogate pair is a code point"));
            }
            self.at = after_first;
        }
        self.lone_surrogate.get_or_insert(start);
        Ok(char::REPLACEMENT_CHARACTER)
    }

    /// Four hexadecimal digits after the `u` at the current position.
    fn hex4(&mut self) -> Result<u32, SyntaxError> {
        let digits = self.bytes.get(self.at + 1..self.at + 5);
        let Some(digits) = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)) else {
            return Err(self.error("a \\u escape without four hexadecimal digits"));
        };
        self.at += 5;
        Ok(digits.iter().fold(0, |unit, &digit| unit * 16 + char::from(digit).to_digit(16).unwrap_or(0)))
    }
}
