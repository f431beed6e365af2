//! The one writer of JSON: a value is described where it is written, and goes to the text as it is described.
//!
//! ```
//! use pixtune_core::json::{lines, list, object, spaced, text};
//!
//! let sizes = [(640u32, 480u32), (1, 1)];
//! let written = text(lines(object(|image| {
//!     image.field("name", "a \"b\"").field("caption", None::<&str>);
//!     image.field("sizes", list(sizes.iter().map(|(width, height)| spaced(list([*width, *height])))));
//! })));
//! assert_eq!(
//!     written,
//!     r#"{
//!   "name": "a \"b\"",
//!   "caption": null,
//!   "sizes": [
//!     [640, 480],
//!     [1, 1]
//!   ]
//! }"#
//! );
//! ```

mod values;

use std::fmt::Write as _;

use super::{Value, parse};
pub use values::{compact, fixed, lines, list, members, nested_lines, numbers, object, raw, spaced};

/// How the members of objects and the elements of lists are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `{"a":1,"b":[2,3]}`
    Compact,
    /// `{"a": 1, "b": [2, 3]}`
    Spaced,
    /// One to a line, indented by two spaces, as Python's `json.dumps(value, indent=2)` does it.
    Lines,
}

/// A place in the text that takes one value.
#[derive(Debug)]
pub struct Slot<'o> {
    out: &'o mut String,
    layout: Layout,
    depth: usize,
}

impl Slot<'_> {
    /// Writes an object into the place.
    pub fn object(self, write: impl FnOnce(&mut Object<'_>)) {
        let mut object = Object { container: Container::open(self, '{') };
        write(&mut object);
        object.container.close('}');
    }

    /// Writes a list into the place.
    pub fn list<T: ToJson>(self, values: impl IntoIterator<Item = T>) {
        let mut container = Container::open(self, '[');
        values.into_iter().for_each(|value| value.write_json(container.next()));
        container.close(']');
    }
}

/// Something that can be written as one JSON value.
pub trait ToJson {
    /// Writes the value into its place.
    fn write_json(self, slot: Slot<'_>);
}

/// `value` as JSON: compact, unless the value asks for another layout.
pub fn text(value: impl ToJson) -> String {
    let mut out = String::new();
    append(&mut out, value);
    out
}

/// `value` as the text of a file: over several lines, with a line end.
pub fn document(value: impl ToJson) -> String {
    let mut out = text(lines(value));
    out.push('\n');
    out
}

/// `value` as it reads back.
pub fn value(value: impl ToJson) -> Value<'static> {
    parse(&text(value)).expect("what is written is JSON").value.into_owned()
}

/// Appends `value` as JSON: compact, unless the value asks for another layout.
pub fn append(out: &mut String, value: impl ToJson) {
    value.write_json(Slot { out, layout: Layout::Compact, depth: 0 });
}

/// `value` as a line of JSON Lines, with its end.
pub fn line(value: impl ToJson) -> String {
    let mut out = String::new();
    append_line(&mut out, value);
    out
}

/// Appends `value` as a line of JSON Lines.
pub fn append_line(out: &mut String, value: impl ToJson) {
    append(out, value);
    out.push('\n');
}

/// The members of an object without its braces, for [`Object::splice`].
pub fn inner(write: impl FnOnce(&mut Object<'_>)) -> String {
    // Room for the counts of a sample: one allocation where growing step by step would take five.
    let mut out = String::with_capacity(224);
    let container = Container { out: &mut out, layout: Layout::Compact, depth: 0, is_empty: true };
    write(&mut Object { container });
    out
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

/// Appends `text` as a JSON string: only what JSON demands is escaped, as Python's `json.dumps(ensure_ascii=False)` does it.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = first_escaped(rest.as_bytes()) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            control => write!(out, "\\u{control:04x}").expect("a String takes any text"),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// The first byte that JSON demands to be escaped. Blocks without one are the rule, such as those of an image in base64:
/// a loop that does not stop within a block is vectorized.
fn first_escaped(text: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    let is_escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let plain = text
        .chunks_exact(BLOCK)
        .take_while(|block| !block.iter().fold(false, |escaped, byte| escaped | is_escaped(*byte)));
    let start = BLOCK * plain.count();
    text[start..].iter().position(|byte| is_escaped(*byte)).map(|at| start + at)
}

/// The members of an object, written one after the other.
#[derive(Debug)]
pub struct Object<'o> {
    container: Container<'o>,
}

impl Object<'_> {
    /// Writes a member.
    pub fn field(&mut self, key: impl AsRef<str>, value: impl ToJson) -> &mut Self {
        let slot = self.container.next();
        write_string(key.as_ref(), slot.out);
        slot.out.push_str(if slot.layout == Layout::Compact { ":" } else { ": " });
        value.write_json(slot);
        self
    }

    /// Writes members that are compact text already, of [`inner`].
    pub fn splice(&mut self, members: &str) -> &mut Self {
        if !members.is_empty() {
            self.container.next().out.push_str(members);
        }
        self
    }

    /// Writes a member if there is a value.
    pub fn optional(&mut self, key: impl AsRef<str>, value: Option<impl ToJson>) -> &mut Self {
        if let Some(value) = value {
            self.field(key, value);
        }
        self
    }

    /// Writes a member for each pair of an iterator.
    pub fn fields<K: AsRef<str>, V: ToJson>(
        &mut self,
        members: impl IntoIterator<Item = (K, V)>,
    ) -> &mut Self {
        for (key, value) in members {
            self.field(key, value);
        }
        self
    }
}

/// An object or a list that is being written: puts what stands between its values.
#[derive(Debug)]
struct Container<'o> {
    out: &'o mut String,
    layout: Layout,
    depth: usize,
    is_empty: bool,
}

impl<'o> Container<'o> {
    fn open(slot: Slot<'o>, bracket: char) -> Container<'o> {
        slot.out.push(bracket);
        let depth = slot.depth + usize::from(slot.layout == Layout::Lines);
        Container { out: slot.out, layout: slot.layout, depth, is_empty: true }
    }

    /// The place of the next value.
    fn next(&mut self) -> Slot<'_> {
        match (self.layout, self.is_empty) {
            (Layout::Compact, false) => self.out.push(','),
            (Layout::Spaced, false) => self.out.push_str(", "),
            (Layout::Lines, false) => self.out.push_str(",\n"),
            (Layout::Lines, true) => self.out.push('\n'),
            (Layout::Compact | Layout::Spaced, true) => {}
        }
        if self.layout == Layout::Lines {
            indent(self.depth, self.out);
        }
        self.is_empty = false;
        Slot { out: self.out, layout: self.layout, depth: self.depth }
    }

    fn close(self, bracket: char) {
        if self.layout == Layout::Lines && !self.is_empty {
            self.out.push('\n');
            indent(self.depth - 1, self.out);
        }
        self.out.push(bracket);
    }
}

fn indent(depth: usize, out: &mut String) {
    (0..depth).for_each(|_| out.push_str("  "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_only_the_escapes_json_demands() {
        assert_eq!(
            quoted("é\u{7f}\u{2028}\"\\\n\u{1}\u{8}\u{c}/"),
            "\"é\u{7f}\u{2028}\\\"\\\\\\n\\u0001\\b\\f/\""
        );
    }

    #[test]
    fn lays_values_out_as_python_does() {
        let value = parse(r#"{"a":[1,{"b":null}],"c":[],"d":{}}"#).unwrap().value;
        assert_eq!(text(compact(&value)), r#"{"a":[1,{"b":null}],"c":[],"d":{}}"#);
        assert_eq!(text(spaced(&value)), r#"{"a": [1, {"b": null}], "c": [], "d": {}}"#);
        let indented =
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": null\n    }\n  ],\n  \"c\": [],\n  \"d\": {}\n}";
        assert_eq!(text(lines(&value)), indented);
        assert_eq!(text(nested_lines(1, &value)), indented.replace('\n', "\n  "));
    }

    #[test]
    fn writes_ids_and_spliced_members() {
        assert_eq!(text(numbers(&[0, 7, 10, u32::MAX])), "[0,7,10,4294967295]");
        assert_eq!(text(numbers(&[])), "[]");
        let late = inner(|object| {
            object.field("a", 1u8).field("b", list([2u8]));
        });
        let whole = object(|object| {
            object.field("line", 3u8).splice(&late).splice("");
        });
        assert_eq!(text(whole), r#"{"line":3,"a":1,"b":[2]}"#);
    }

    #[test]
    fn layouts_nest() {
        let counts = object(|counts| {
            counts.field("rows", 2u64).optional("more", None::<u64>).optional("most", Some(3u64));
        });
        let all = object(|all| {
            all.field("counts", spaced(counts)).field("points", list([compact(list([1u8, 2]))]));
        });
        let expected = "{\n  \"counts\": {\"rows\": 2, \"most\": 3},\n  \"points\": [\n    [1,2]\n  ]\n}";
        assert_eq!(text(lines(all)), expected);
    }

    #[test]
    fn numbers_keep_their_last_bit_and_what_is_none_is_pythons() {
        assert_eq!(text(0.1 + 0.2), "0.30000000000000004");
        assert_eq!(text(list([f64::NAN, f64::INFINITY, f64::NEG_INFINITY])), "[NaN,Infinity,-Infinity]");
        assert_eq!(
            (text(fixed(2.0 / 3.0, 4)), text(fixed(2.5e9, 0))),
            ("0.6667".into(), "2500000000".into())
        );
    }
}
