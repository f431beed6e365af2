//! The JSON parser.

mod strings;

use std::borrow::Cow;
use std::ops::Range;

use super::Value;

/// Maximum nesting: a conversation needs about six levels, a tool schema rarely twenty.
pub const MAX_DEPTH: usize = 256;

/// Maximum values in one text, so that a hostile line of `[0,0,0,…` takes at most about 200 MB.
pub const MAX_VALUES: usize = 4_000_000;

/// A parsed JSON text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<'a> {
    /// The value.
    pub value: Value<'a>,
    /// Byte offset of the first lone surrogate escape (`"\ud800"`), which UTF-8 cannot encode.
    pub lone_surrogate: Option<usize>,
    /// Where the payloads of data URIs begin and how many base64 characters follow: images are large, and their checks need
    /// not read every byte again.
    pub base64: Vec<Range<usize>>,
}

/// Where and why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct SyntaxError {
    /// Byte offset into the text.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl SyntaxError {
    /// Whether the text exceeds a limit of this parser and may otherwise be valid.
    pub fn is_limit(&self) -> bool {
        self.what == TOO_DEEP || self.what == TOO_MANY
    }
}

const TOO_DEEP: &str = "nested too deeply";
const TOO_MANY: &str = "too many values in one text";

/// Parses one JSON text, followed by white space only.
pub fn parse(text: &str) -> Result<Parsed<'_>, SyntaxError> {
    let mut parser = Parser::new(text.as_bytes(), Input::Text);
    let value = parser.whole()?;
    if parser.at < text.len() {
        return Err(parser.error("text after the end of the value"));
    }
    Ok(Parsed { value, lone_surrogate: parser.lone_surrogate, base64: parser.base64 })
}

/// Parses the first line of a text that may have more, and returns its length in bytes with the line end. UTF-8 is checked
/// and the line end found while parsing, so that every byte is read once. `None` if the line is not JSON: `parse` gives the
/// reason.
pub fn parse_line(lines: &[u8]) -> Option<(Parsed<'_>, usize)> {
    let mut parser = Parser::new(lines, Input::Lines);
    let value = parser.whole().ok()?;
    let length = match parser.peek() {
        None => parser.at,
        Some(b'\n') => parser.at + 1,
        Some(_) => return None,
    };
    Some((Parsed { value, lone_surrogate: parser.lone_surrogate, base64: parser.base64 }, length))
}

/// The input of a parser.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    /// One text, known to be UTF-8.
    Text,
    /// Lines of arbitrary bytes, of which the first is parsed.
    Lines,
}

struct Parser<'a> {
    bytes: &'a [u8],
    input: Input,
    at: usize,
    values: usize,
    lone_surrogate: Option<usize>,
    base64: Vec<Range<usize>>,
}

impl<'a> Parser<'a> {
    fn new(bytes: &'a [u8], input: Input) -> Parser<'a> {
        Parser { bytes, input, at: 0, values: 0, lone_surrogate: None, base64: Vec::new() }
    }

    /// The value and the white space around it.
    fn whole(&mut self) -> Result<Value<'a>, SyntaxError> {
        self.skip_space();
        let value = self.value(0)?;
        self.skip_space();
        Ok(value)
    }

    fn error(&self, what: &'static str) -> SyntaxError {
        SyntaxError { offset: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips white space, only up to the line end if there may be more lines.
    #[inline]
    fn skip_space(&mut self) {
        while match self.peek() {
            Some(b' ' | b'\t' | b'\r') => true,
            Some(b'\n') => self.input == Input::Text,
            _ => false,
        } {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.error(TOO_MANY));
        }
        match self.peek() {
            None => Err(self.error("the text ends where a value is expected")),
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
        }
    }

    fn word(&mut self) -> Result<Value<'a>, SyntaxError> {
        const WORDS: [(&str, Value<'static>); 5] = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Number(Cow::Borrowed("NaN"))),
            ("Infinity", Value::Number(Cow::Borrowed("Infinity"))),
        ];
        for (word, value) in WORDS {
            if self.bytes[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error(match self.peek() {
            Some(b'\'') => "a single quote where JSON needs double quotes",
            Some(b'}' | b']') => "a closing bracket where a value is expected (an extra comma?)",
            _ => "not a JSON value",
        }))
    }

    fn number(&mut self) -> Result<Value<'a>, SyntaxError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.bytes[self.at..].starts_with(b"Infinity") {
            self.at += "Infinity".len();
            return self.run(start, self.at, true).map(|number| Value::Number(Cow::Borrowed(number)));
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits("a minus sign without a number")?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("a decimal point without digits")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("an exponent without digits")?;
        }
        self.run(start, self.at, true).map(|number| Value::Number(Cow::Borrowed(number)))
    }

    fn digits(&mut self, otherwise: &'static str) -> Result<(), SyntaxError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error(otherwise)) } else { Ok(()) }
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        self.enter(depth)?;
        let mut values = Vec::new();
        if self.closes(b']') {
            return Ok(Value::Array(values));
        }
        loop {
            self.skip_space();
            values.push(self.value(depth + 1)?);
            if self.ends_list(b']', "expected a comma or `]` after an element")? {
                return Ok(Value::Array(values));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, SyntaxError> {
        self.enter(depth)?;
        let mut members = Vec::new();
        if self.closes(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a key in double quotes"));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.error("expected a colon after a key"));
            }
            self.at += 1;
            self.skip_space();
            members.push((key, self.value(depth + 1)?));
            if self.ends_list(b'}', "expected a comma or `}` after a member")? {
                return Ok(Value::Object(members));
            }
        }
    }

    fn enter(&mut self, depth: usize) -> Result<(), SyntaxError> {
        if depth >= MAX_DEPTH {
            return Err(self.error(TOO_DEEP));
        }
        self.at += 1;
        Ok(())
    }

    fn closes(&mut self, bracket: u8) -> bool {
        self.skip_space();
        let closes = self.peek() == Some(bracket);
        self.at += usize::from(closes);
        closes
    }

    fn ends_list(&mut self, bracket: u8, otherwise: &'static str) -> Result<bool, SyntaxError> {
        self.skip_space();
        let ends = match self.peek() {
            Some(b',') => false,
            Some(byte) if byte == bracket => true,
            _ => return Err(self.error(otherwise)),
        };
        self.at += 1;
        Ok(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(text: &str, offset: usize, what: &str) {
        let error = parse(text).unwrap_err();
        assert_eq!((error.offset, error.what), (offset, what), "{text}");
    }

    #[test]
    fn unescapes_strings() {
        let parsed = parse(r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#).unwrap();
        assert_eq!(parsed.value.as_str(), Some("a\"\\/\u{8}\u{c}\n\r\té😀z"));
        assert_eq!(parsed.lone_surrogate, None);
    }

    #[test]
    fn records_lone_surrogates() {
        for (text, unescaped) in [
            (r#""x\ud800""#, "x\u{fffd}"),
            (r#""x\ude00y""#, "x\u{fffd}y"),
            (r#""x\ud83d\u0041""#, "x\u{fffd}A"),
            (r#""x\ud83d\ud83d\ude00""#, "x\u{fffd}😀"),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed.value.as_str(), Some(unescaped));
            assert_eq!(parsed.lone_surrogate, Some(2));
        }
    }

    #[test]
    fn errors_have_offset_and_reason() {
        fails("", 0, "the text ends where a value is expected");
        fails("{\"a\":1,}", 7, "expected a key in double quotes");
        fails("[1,]", 3, "a closing bracket where a value is expected (an extra comma?)");
        fails("{'a':1}", 1, "expected a key in double quotes");
        fails("['a']", 1, "a single quote where JSON needs double quotes");
        fails("{\"a\" 1}", 5, "expected a colon after a key");
        fails("\"abc", 4, "the text ends inside a string");
        fails("\"a\nb\"", 2, "a control character inside a string");
        fails("[01]", 2, "expected a comma or `]` after an element");
        fails("1.", 2, "a decimal point without digits");
        fails("{} {}", 3, "text after the end of the value");
        fails("\"\\ud8\"", 2, "a \\u escape without four hexadecimal digits");
    }

    #[test]
    fn rejects_deep_and_wide_values() {
        fails(&"[".repeat(100_000), MAX_DEPTH, "nested too deeply");
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert_eq!(parse(&many).unwrap_err().what, "too many values in one text");
    }

    #[test]
    fn unterminated_string_is_reported_before_its_content() {
        fails("\"a\u{1}b", 4, "the text ends inside a string");
    }

    fn line(lines: &[u8]) -> Option<(String, usize)> {
        parse_line(lines).map(|(parsed, length)| (parsed.value.to_string(), length))
    }

    #[test]
    fn parses_up_to_the_line_end() {
        assert_eq!(line(b"{\"a\":\"\xc3\xa9\"} \r\nx"), Some(("{\"a\":\"é\"}".into(), 13)));
        assert_eq!(line(b" 12"), Some(("12".into(), 3)));
        for other in
            [&b""[..], b"\n1", b"[1,\n2]", b"1 2\n", b"\"a\nb\"", b"\"\xc3\"\n", b"\"\xff\"", b"\xc3\xa9"]
        {
            assert_eq!(line(other), None, "{other:?}");
        }
    }

    #[test]
    fn records_payloads_of_data_uris() {
        let ranges = |text: &str| -> Vec<_> {
            parse(text).unwrap().base64.into_iter().map(|run| (run.start, run.end)).collect()
        };
        assert_eq!(ranges(r#"["data:image/png;base64,AAAA","data:,","x"]"#), [(24, 28), (37, 37)]);
        assert_eq!(ranges(r#""data:a,AB\/C==""#), [(8, 10)]);
        assert_eq!(ranges(r#""data:\u0061,AB""#), []);
        assert_eq!(parse("\"data:\\u0061,é\\n\"").unwrap().value.as_str(), Some("data:a,é\n"));
        let far = format!("\"data:{},AB\"", "x".repeat(200));
        assert_eq!(ranges(&far), []);
        assert!(parse("\"data:a,AB").is_err() && parse("\"data:a,AB\u{1}\"").is_err());
    }
}
