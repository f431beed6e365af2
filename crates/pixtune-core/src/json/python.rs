//! Python literals, as `str()` writes lists and dicts: what a CSV file holds after pandas has written such a column, and
//! what a file of printed dicts holds.
//!
//! Only literals: nothing is evaluated. Tuples are read as arrays.

use std::borrow::Cow;

use super::{MAX_DEPTH, MAX_VALUES, SyntaxError, Value};

/// Parses one Python literal, followed by white space only.
pub fn parse_python(text: &str) -> Result<Value<'static>, SyntaxError> {
    let mut parser = Parser { text, at: 0, values: 0 };
    parser.skip_space();
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.error("text after the end of the value"));
    }
    Ok(value)
}

/// A dict as `print` writes it: it begins with a key in single quotes, which no JSON does.
pub fn python_dict(text: &str) -> Option<Value<'static>> {
    let text = text.trim();
    if text.starts_with("{'") { parse_python(text).ok() } else { None }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    values: usize,
}

impl Parser<'_> {
    fn error(&self, what: &'static str) -> SyntaxError {
        SyntaxError { offset: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'static>, SyntaxError> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(self.error("nested too deeply, or too many values"));
        }
        match self.peek() {
            Some(b'[') => self.items(b']', depth).map(Value::Array),
            Some(b'(') => self.items(b')', depth).map(Value::Array),
            Some(b'{') => self.members(depth),
            Some(quote @ (b'\'' | b'"')) => self.quoted(quote),
            _ => self.word(),
        }
    }

    fn items(&mut self, close: u8, depth: usize) -> Result<Vec<Value<'static>>, SyntaxError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.peek() == Some(close) {
                self.at += 1;
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {}
                _ => return Err(self.error("expected a comma or the end of the list")),
            }
        }
    }

    fn members(&mut self, depth: usize) -> Result<Value<'static>, SyntaxError> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.skip_space();
            if self.peek() == Some(b'}') {
                self.at += 1;
                return Ok(Value::Object(members));
            }
            let key = match self.value(depth + 1)? {
                Value::String(key) | Value::Number(key) => key,
                _ => return Err(self.error("a key is neither a string nor a number")),
            };
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.error("expected a colon after a key"));
            }
            self.at += 1;
            self.skip_space();
            members.push((key, self.value(depth + 1)?));
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err(self.error("expected a comma or the end of the dict")),
            }
        }
    }

    /// A string. NumPy prints arrays without commas: `['yes' 'no']` is two values, which Python would join into one.
    fn quoted(&mut self, quote: u8) -> Result<Value<'static>, SyntaxError> {
        self.at += 1;
        let mut text = String::new();
        self.string(quote, &mut text)?;
        let end = self.at;
        self.skip_space();
        if matches!(self.peek(), Some(b'\'' | b'"')) {
            self.at = end;
            return Err(self.error("two strings without a comma between them, as NumPy prints arrays"));
        }
        Ok(Value::String(Cow::Owned(text)))
    }

    fn string(&mut self, quote: u8, out: &mut String) -> Result<(), SyntaxError> {
        loop {
            let rest = &self.text[self.at..];
            let found = memchr::memchr2(quote, b'\\', rest.as_bytes());
            let length = found.ok_or_else(|| self.error("a string is not closed"))?;
            out.push_str(&rest[..length]);
            self.at += length + 1;
            if rest.as_bytes()[length] == quote {
                return Ok(());
            }
            self.escape(out)?;
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), SyntaxError> {
        let escaped = self.text[self.at..].chars().next();
        let escaped = escaped.ok_or_else(|| self.error("a string is not closed"))?;
        self.at += escaped.len_utf8();
        let plain = match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            '0' => '\0',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '\\' | '\'' | '"' => escaped,
            'x' => self.hex(2)?,
            'u' => self.hex(4)?,
            'U' => self.hex(8)?,
            '\n' => return Ok(()),
            // Python keeps the backslash of an escape that it does not know.
            other => {
                out.push('\\');
                other
            }
        };
        out.push(plain);
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Result<char, SyntaxError> {
        let text = self.text.get(self.at..self.at + digits);
        let code = text.and_then(|text| u32::from_str_radix(text, 16).ok());
        let code = code.ok_or_else(|| self.error("an escape has too few hexadecimal digits"))?;
        self.at += digits;
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// A number or one of Python's words.
    fn word(&mut self) -> Result<Value<'static>, SyntaxError> {
        let rest = &self.text[self.at..];
        let is_end = |character: char| !(character.is_ascii_alphanumeric() || "+-._".contains(character));
        let word = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        let value = match word {
            "None" | "null" => Value::Null,
            "True" | "true" => Value::Bool(true),
            "False" | "false" => Value::Bool(false),
            "nan" => Value::Null,
            _ if super::parse(word).is_ok_and(|parsed| matches!(parsed.value, Value::Number(_))) => {
                Value::Number(Cow::Owned(word.to_owned()))
            }
            _ => return Err(self.error("not a Python literal")),
        };
        self.at += word.len();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, &'static str> {
        parse_python(text).map(|value| value.to_string()).map_err(|error| error.what)
    }

    #[test]
    fn reads_what_str_prints() {
        for (python, json) in [
            ("['yes', \"it's\"]", r#"["yes","it's"]"#),
            ("{'a': None, 'b': (1, -2.5e3), 'c': True}", r#"{"a":null,"b":[1,-2.5e3],"c":true}"#),
            (r"['a\n\x41\u00e9\\ \q']", r#"["a\nAé\\ \\q"]"#),
            ("[]", "[]"),
            ("('only',)", r#"["only"]"#),
            ("[[], {}]", "[[],{}]"),
        ] {
            assert_eq!(read(python).as_deref(), Ok(json), "{python}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in
            ["", "[", "['a'", "[1 2]", "['a' 'b']", "os.system('x')", "{1}", "['\\x4']", "[1]]", "{[1]: 2}"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&"[".repeat(100_000)).is_err());
    }
}
