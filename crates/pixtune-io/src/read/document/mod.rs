//! JSON documents that are neither lines nor an array: objects over several lines, an object around a list of rows, and an
//! object with a row per key. Rows are found without parsing, so a document of any size is read in little memory.

mod keyed;
mod list;
mod objects;

use std::io;

use pixtune_core::content::{is_conversation, is_image_reference};
use pixtune_core::conversation;
use pixtune_core::foreign::is_record;
use pixtune_core::json::{self, Value};

use super::array::Element;

pub(super) use keyed::keyed_row;
pub(super) use list::ListFraming;
pub(super) use objects::ObjectsFraming;

/// Keys under which datasets keep the list of their rows, the likeliest first: DocVQA and TextVQA (`data`), COCO
/// (`annotations`), Karpathy's splits (`images`), and what scripts call it.
const LISTS: [&str; 12] = [
    "data",
    "annotations",
    "rows",
    "samples",
    "examples",
    "items",
    "records",
    "entries",
    "questions",
    "conversations",
    "dataset",
    "images",
];

/// What a text that starts with an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// An object per line.
    Lines,
    /// Objects that span lines, one after another.
    Objects,
    /// One object with the list of rows under this key.
    List(&'static str),
    /// Captions under `annotations` of images under `images`, as COCO has them.
    Coco,
    /// One object whose values are the rows.
    Keyed,
    /// One object with lists under keys that are not known to be those of rows.
    Unknown(Vec<String>),
}

impl Shape {
    /// The shape of a text that starts like this.
    pub(super) fn of(text: &[u8], is_whole: bool) -> Shape {
        let mut element = Element::default();
        let start = text.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(text.len());
        let text = &text[start..];
        let end = element.object_end(text);
        let first = &text[..end.unwrap_or(text.len())];
        let follows = end.is_some_and(|end| !text[end..].trim_ascii().is_empty());
        let is_only = if end.is_some() { !follows && is_whole } else { true };
        if is_only && !is_row(first) {
            match wrapper(&members(first)) {
                // The rest of a row might decide it.
                Some(Shape::Unknown(_)) if end.is_none() => {}
                Some(shape) => return shape,
                None => {}
            }
        }
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let is_line = line.len() == text.len() || is_object(line);
        // A line that is damaged does not make objects of all lines: those are indented behind the first bracket.
        let second = text[line.len()..].get(1).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'"'));
        let is_object = second && end.is_none_or(|end| is_object(&text[..end]));
        if !is_line && is_object { Shape::Objects } else { Shape::Lines }
    }
}

/// Whether an object is a sample by itself.
fn is_row(object: &[u8]) -> bool {
    let parsed = std::str::from_utf8(object).ok().and_then(|text| json::parse(text).ok());
    parsed.is_some_and(|parsed| conversation::is_conversation(&parsed.value) || is_record(&parsed.value))
}

fn is_object(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| json::parse(line).is_ok())
}

/// What an only object is, unless it is a row itself.
fn wrapper(members: &[Member]) -> Option<Shape> {
    let has = |key: &str, kind: Kind| members.iter().any(|member| member.key == key && member.kind == kind);
    let is_sample = |member: &Member| {
        member.kind == Kind::Conversation
            || member.kind == Kind::Text && OF_SAMPLES.contains(&member.key.to_ascii_lowercase().as_str())
    };
    if members.iter().any(is_sample) {
        return None;
    }
    if has("images", Kind::Objects) && (has("annotations", Kind::Objects) || members.len() == 1) {
        let is_coco = has("annotations", Kind::Objects);
        return Some(if is_coco { Shape::Coco } else { Shape::List("images") });
    }
    let lists = members.iter().filter(|member| member.kind == Kind::Objects);
    let lists: Vec<&str> =
        lists.map(|member| &*member.key).filter(|key| !DESCRIPTIONS.contains(key)).collect();
    if let Some(key) = LISTS.into_iter().find(|key| lists.contains(key)) {
        // A second list may be the other half of the rows, or of the dataset.
        let is_only = lists.len() == 1;
        return Some(if is_only { Shape::List(key) } else { Shape::Unknown(texts(&lists)) });
    }
    let is_keyed = |kinds: &[Kind]| members.iter().all(|member| kinds.contains(&member.kind));
    let by_image = members.first().is_some_and(|member| is_image_reference(&member.key));
    if members.len() > 1 && is_keyed(&[Kind::Object]) || by_image && !is_keyed(&[Kind::Other]) {
        return Some(Shape::Keyed);
    }
    let is_row = members.iter().any(|member| member.kind == Kind::Text);
    (!lists.is_empty() && !is_row).then(|| Shape::Unknown(texts(&lists)))
}

/// Keys of texts that a sample has and a dataset has not.
const OF_SAMPLES: [&str; 14] = [
    "image",
    "image_path",
    "file_name",
    "prompt",
    "question",
    "instruction",
    "query",
    "system",
    "completion",
    "answer",
    "response",
    "output",
    "caption",
    "text",
];

/// Lists that describe a dataset.
const DESCRIPTIONS: [&str; 4] = ["licenses", "categories", "contributors", "tags"];

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A member of the outermost object.
struct Member {
    key: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    /// A list of objects, other than a conversation.
    Objects,
    Conversation,
    Text,
    Other,
}

/// The members of an object of which this is the beginning; the last one may be cut.
fn members(text: &[u8]) -> Vec<Member> {
    let mut found = Vec::new();
    let Some(mut rest) = text.strip_prefix(b"{") else { return found };
    // More members say nothing more about the shape.
    while found.len() < 1000 {
        rest = rest.trim_ascii_start();
        let Some(quoted) = rest.strip_prefix(b"\"") else { break };
        let Some(end) = string_end(quoted) else { break };
        let key = String::from_utf8_lossy(&quoted[..end]).into_owned();
        let Some(value) = quoted[end + 1..].trim_ascii_start().strip_prefix(b":") else { break };
        let value = value.trim_ascii_start();
        let end = Element::default().end_at(value, b'}');
        found.push(Member { key, kind: kind(&value[..end.unwrap_or(value.len())]) });
        match end {
            Some(end) if value[end - 1] == b',' => rest = &value[end..],
            _ => break,
        }
    }
    found
}

/// The length of a string up to its closing quote.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn kind(value: &[u8]) -> Kind {
    match value.first() {
        Some(b'{') => Kind::Object,
        Some(b'"') => Kind::Text,
        Some(b'[') => {
            let first = value[1..].trim_ascii_start();
            if first.first() != Some(&b'{') {
                return Kind::Other;
            }
            let mut element = Element::default();
            let length = element.object_end(first).unwrap_or(first.len());
            let object = std::str::from_utf8(&first[..length]).ok().and_then(|text| json::parse(text).ok());
            let is_message = |object: Value<'_>| is_conversation(&Value::Array(vec![object]));
            if object.is_some_and(|parsed| is_message(parsed.value)) {
                Kind::Conversation
            } else {
                Kind::Objects
            }
        }
        _ => Kind::Other,
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::super::records::Records;
    use super::super::{Cut, Format};
    use super::*;

    fn rows(text: &str, format: Format) -> Vec<(u64, String)> {
        let read = |source: &mut dyn io::Read| {
            let mut records = Records::new(source, format, 1000);
            let mut rows = Vec::new();
            while let Some((at, row)) = records.next_row().unwrap() {
                let shown = match row.cut {
                    Some(Cut::Unreadable { why }) => why,
                    _ => String::from_utf8(row.bytes).unwrap(),
                };
                rows.push((at.number, shown));
            }
            rows
        };
        let whole = read(&mut text.as_bytes());
        // One byte at a time: a buffer ends in every state.
        let mut pieces: Box<dyn io::Read> = Box::new(io::empty());
        for byte in text.as_bytes().iter().rev() {
            pieces = Box::new(io::Read::chain(io::Cursor::new(vec![*byte]), pieces));
        }
        assert_eq!(read(&mut pieces), whole, "{text}");
        whole
    }

    fn shape(text: &str) -> Shape {
        Shape::of(text.as_bytes(), true)
    }

    #[test]
    fn recognizes_documents() {
        for (text, expected) in [
            ("{\"a\":1}\n{\"a\":2}\n", Shape::Lines),
            ("{\"a\":1}", Shape::Lines),
            ("{\"image\":\"a.png\",\"boxes\":[{\"x\":1}]}", Shape::Lines),
            ("{\"question\":\"q\",\"answer\":\"a\",\"annotations\":[{\"x\":1}]}", Shape::Lines),
            ("{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}", Shape::Lines),
            ("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", Shape::Objects),
            ("{\"a\":1}x\n{\"a\":2}\n", Shape::Lines),
            ("{\"version\":1,\"data\":[{\"q\":1}]}", Shape::List("data")),
            ("{\n \"data\": [\n  {\"q\": 1}\n ]\n}\n", Shape::List("data")),
            ("{\"info\":{},\"images\":[{\"id\":1}],\"annotations\":[{\"id\":2}]}", Shape::Coco),
            ("{\"images\":[{\"filename\":\"a.jpg\"}],\"dataset\":\"coco\"}", Shape::List("images")),
            ("{\"1\":{\"q\":1},\"2\":{\"q\":2}}", Shape::Keyed),
            ("{\"a.jpg\":\"a cat\",\"b.jpg\":\"a dog\"}", Shape::Keyed),
            ("{\"pairs\":[{\"q\":1}],\"n\":1}", Shape::Unknown(texts(&["pairs"]))),
            (
                "{\"data\":[{\"q\":1}],\"test\":[{\"q\":2}],\"licenses\":[{\"id\":1}]}",
                Shape::Unknown(texts(&["data", "test"])),
            ),
            ("{\"licenses\":[{\"id\":1}],\"data\":[{\"q\":1}]}", Shape::List("data")),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
        // As much as fits into the sample.
        assert_eq!(Shape::of(b"{\"data\":[{\"q\":1},{\"q\"", false), Shape::List("data"));
    }

    #[test]
    fn objects_span_lines() {
        let text = "{\n  \"a\": {\n    \"b\": \"}\"\n  }\n}\n\n{\"a\": 2}{\"a\": 3}\nno object\n{\n  \"a\": [\n{\"a\": 4}\n";
        let shown: Vec<(u64, String)> = rows(text, Format::JsonObjects);
        let numbers: Vec<u64> = shown.iter().map(|row| row.0).collect();
        assert_eq!(numbers, [1, 7, 7, 8, 9, 11]);
        assert_eq!(shown[1].1, "{\"a\": 2}");
        assert_eq!(shown[2].1, "{\"a\": 3}");
        assert_eq!(shown[4].1, "{\n  \"a\": [");
        assert_eq!(shown[5].1, "{\"a\": 4}");
    }

    #[test]
    fn rows_are_found_under_a_key() {
        let text = "{\"in\\\"fo\":{\"data\":[1]},\"data\" : [ {\"q\":1}, {\"q\":[2]} ], \"rest\": [3]}";
        let expected = [(1, "{\"q\":1}".to_owned()), (2, "{\"q\":[2]}".to_owned())];
        assert_eq!(rows(text, Format::JsonList { key: "data" }), expected);
        assert!(rows("{\"data\":[]}", Format::JsonList { key: "data" }).is_empty());
        let cut = rows("{\"data\":[\n{\"q\":1},", Format::JsonList { key: "data" });
        assert_eq!(
            cut[1],
            (2, "line 2, column 9: the JSON array is never closed; is the file truncated?".to_owned())
        );
    }

    #[test]
    fn members_are_rows() {
        let text = "{\"a.jpg\": {\"q\": 1},\n \"b.jpg\": \"x, y\"}\n";
        let rows = rows(text, Format::JsonKeyed);
        assert_eq!(rows, [(1, "\"a.jpg\": {\"q\": 1}".to_owned()), (2, "\"b.jpg\": \"x, y\"".to_owned())]);
        let row = |member: &str| {
            keyed_row(json::parse(&format!("{{{member}}}")).unwrap().value.into_owned()).to_string()
        };
        assert_eq!(row(&rows[0].1), "{\"key\":\"a.jpg\",\"q\":1}");
        assert_eq!(row("\"a\":{\"key\":1}"), "{\"document_key\":\"a\",\"key\":1}");
        assert_eq!(row(&rows[1].1), "{\"key\":\"b.jpg\",\"value\":\"x, y\"}");
    }
}
