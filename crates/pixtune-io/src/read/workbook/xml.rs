//! XML of a part, element by element, with a limit on what one element can hold.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Bytes of one tag or one text. Spreadsheet programs allow 32,767 characters in a cell.
const LARGEST_NODE: usize = 16 << 20;

/// A part of a workbook.
pub(super) struct Xml {
    reader: Reader<Limited>,
    buffer: Vec<u8>,
}

/// What comes next. Names are without their prefixes.
pub(super) enum Node<'x> {
    Start(Element<'x>),
    Text(String),
    End(String),
    EndOfFile,
}

/// A tag and its attributes.
pub(super) struct Element<'x>(BytesStart<'x>);

impl Element<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.0.local_name().as_ref() == name
    }

    /// The value of an attribute, by its name without a prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let found = self.0.attributes().filter_map(Result::ok);
        let found = found.into_iter().find(|attribute| attribute.key.local_name().as_ref() == name)?;
        quick_xml::escape::unescape(&found.value).ok().map(Cow::into_owned)
    }
}

impl Xml {
    pub(super) fn new(stream: impl Read + Send + 'static) -> Xml {
        let stream: Box<dyn Read + Send> = Box::new(stream);
        let mut reader = Reader::from_reader(Limited { source: BufReader::new(stream), rest: LARGEST_NODE });
        reader.config_mut().expand_empty_elements = true;
        Xml { reader, buffer: Vec::new() }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.reader.buffer_position()
    }

    /// The next tag or text; what is neither is skipped.
    pub(super) fn next(&mut self) -> io::Result<Node<'_>> {
        loop {
            self.buffer.clear();
            self.reader.get_mut().rest = LARGEST_NODE;
            let event = self.reader.read_event_into(&mut self.buffer).map_err(invalid)?;
            let node = match event {
                Event::Start(start) => Node::Start(Element(start.into_owned())),
                Event::End(end) => Node::End(end.local_name().as_ref().to_owned()),
                Event::Text(text) => Node::Text(one_line_end(&text)),
                Event::CData(text) => Node::Text(one_line_end(&text)),
                Event::GeneralRef(name) => Node::Text(reference(&name)?),
                // Entities of its own could multiply a small text; no program that writes workbooks uses them.
                Event::DocType(_) => return Err(invalid("it declares a document type")),
                Event::Eof => Node::EndOfFile,
                _ => continue,
            };
            return Ok(node);
        }
    }

    /// Calls `found` for each tag.
    pub(super) fn each_element(mut self, mut found: impl FnMut(&Element<'_>)) -> io::Result<()> {
        loop {
            match self.next()? {
                Node::Start(element) => found(&element),
                Node::EndOfFile => return Ok(()),
                _ => {}
            }
        }
    }

    /// The text in the `t` elements until the end of an element, without phonetic readings.
    pub(super) fn text_until(&mut self, end: &str, limit: usize) -> io::Result<String> {
        let (mut text, mut is_text, mut phonetic) = (String::new(), false, false);
        loop {
            match self.next()? {
                Node::Start(element) if element.is("rPh") => phonetic = true,
                Node::Start(element) => is_text = element.is("t"),
                Node::Text(part) if is_text && !phonetic => text.push_str(&part),
                Node::Text(_) => {}
                Node::End(name) if name == end => return Ok(unescaped(text)),
                Node::End(name) => {
                    phonetic &= name != "rPh";
                    is_text = false;
                }
                Node::EndOfFile => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            if text.len() > limit {
                return Err(invalid("a text is too large"));
            }
        }
    }

    /// All text until the end of an element.
    pub(super) fn value_until(&mut self, end: &str) -> io::Result<String> {
        let mut value = String::new();
        loop {
            match self.next()? {
                Node::Text(part) => value.push_str(&part),
                Node::End(name) if name == end => return Ok(value),
                Node::EndOfFile => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
            if value.len() > LARGEST_NODE {
                return Err(invalid("a text is too large"));
            }
        }
    }
}

/// Characters that XML cannot hold are written as `_x000B_` (ECMA-376, 22.9.2.19).
pub(super) fn unescaped(text: String) -> String {
    if !text.contains("_x") {
        return text;
    }
    let mut units: Vec<u16> = Vec::new();
    let mut rest = text.as_str();
    while let Some(character) = rest.chars().next() {
        let code = rest
            .strip_prefix("_x")
            .filter(|code| code.as_bytes().get(4) == Some(&b'_'))
            .and_then(|code| code.get(..4))
            .filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|code| u16::from_str_radix(code, 16).ok());
        match code {
            Some(unit) => {
                units.push(unit);
                rest = &rest[7..];
            }
            None => {
                units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    String::from_utf16_lossy(&units)
}

/// A line end is one character, however the file writes it (XML 1.0, 2.11).
fn one_line_end(text: &str) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() }
}

fn reference(name: &str) -> io::Result<String> {
    let escaped = format!("&{name};");
    quick_xml::escape::unescape(&escaped).map(Cow::into_owned).map_err(invalid)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Fails where one element has too many bytes.
struct Limited {
    source: BufReader<Box<dyn Read + Send>>,
    rest: usize,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer)
    }
}

impl BufRead for Limited {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest == 0 {
            return Err(invalid("an element is too large"));
        }
        self.source.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.rest = self.rest.saturating_sub(amount);
        self.source.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(xml: &'static str) -> io::Result<String> {
        let mut xml = Xml::new(xml.as_bytes());
        loop {
            match xml.next()? {
                Node::Start(element) if element.is("si") => return xml.text_until("si", 100),
                Node::EndOfFile => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }

    #[test]
    fn texts_are_put_together() {
        let read = |xml| text(xml).unwrap();
        assert_eq!(read("<si><t xml:space=\"preserve\"> a </t></si>"), " a ");
        assert_eq!(
            read("<x:si><x:r><x:rPr><b/></x:rPr><x:t>a</x:t></x:r><x:r><x:t>b</x:t></x:r></x:si>"),
            "ab"
        );
        assert_eq!(
            read("<si><t>東京</t><rPh sb=\"0\" eb=\"2\"><t>とうきょう</t></rPh><phoneticPr/></si>"),
            "東京"
        );
        assert_eq!(
            read("<si><t>a &lt;b&gt; &amp;amp; &#228;&#xE9;<![CDATA[<c>]]></t></si>"),
            "a <b> &amp; äé<c>"
        );
        assert_eq!(read("<si><t>a\r\nb</t></si>"), "a\nb");
        assert_eq!(read("<si><t/></si>"), "");
        assert_eq!(read("<si><t>_x0041__x005F_x000D_ _xZZ _xD83D__xDE42_</t></si>"), "A_x000D_ _xZZ 🙂");
    }

    #[test]
    fn hostile_xml_is_an_error() {
        assert!(text("<!DOCTYPE a [<!ENTITY b \"c\">]><si><t>&b;</t></si>").is_err());
        assert!(text("<si><t>&b;</t></si>").is_err());
        assert!(text("<si><t>a</t>").is_err());
        let long = format!("<si><t>{}</t></si>", "x".repeat(101));
        assert!(text(long.leak()).is_err());
        let endless = io::repeat(b'x');
        assert!(Xml::new(b"<a b=\"".chain(endless)).next().is_err());
    }
}
