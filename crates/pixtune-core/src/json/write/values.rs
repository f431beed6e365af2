//! What can be written: objects and lists as they are described, layouts, and the types of the standard library.

use std::fmt::Write as _;

use super::{Layout, Object, Slot, ToJson, write_string};
use crate::json::Value;

/// An object whose members are written by a function.
pub fn object<F: FnOnce(&mut Object<'_>)>(write: F) -> impl ToJson {
    Described(write)
}

/// An object of the keys and values of an iterator.
pub fn members<K: AsRef<str>, V: ToJson>(members: impl IntoIterator<Item = (K, V)>) -> impl ToJson {
    object(|object| {
        object.fields(members);
    })
}

/// A list of the values of an iterator.
pub fn list<I: IntoIterator<Item: ToJson>>(values: I) -> impl ToJson {
    Listed(values)
}

/// A list of whole numbers, written faster than one by one.
pub fn numbers(numbers: &[u32]) -> impl ToJson {
    Numbers(numbers)
}

/// A value without any white space.
pub fn compact(value: impl ToJson) -> impl ToJson {
    LaidOut { layout: Layout::Compact, depth: None, value }
}

/// A value on one line, with a space after every comma and colon.
pub fn spaced(value: impl ToJson) -> impl ToJson {
    LaidOut { layout: Layout::Spaced, depth: None, value }
}

/// A value over several lines, indented by two spaces.
pub fn lines(value: impl ToJson) -> impl ToJson {
    LaidOut { layout: Layout::Lines, depth: None, value }
}

/// A value over several lines, as it stands `depth` levels deep in a document.
pub fn nested_lines(depth: usize, value: impl ToJson) -> impl ToJson {
    LaidOut { layout: Layout::Lines, depth: Some(depth), value }
}

/// A number with so many digits after the point.
pub fn fixed(number: f64, digits: usize) -> impl ToJson {
    Fixed { number, digits }
}

/// Text that is JSON already.
pub fn raw(text: &str) -> impl ToJson {
    Raw(text)
}

struct Described<F>(F);

impl<F: FnOnce(&mut Object<'_>)> ToJson for Described<F> {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(self.0);
    }
}

struct Listed<I>(I);

impl<I: IntoIterator<Item: ToJson>> ToJson for Listed<I> {
    fn write_json(self, slot: Slot<'_>) {
        slot.list(self.0);
    }
}

struct LaidOut<T> {
    layout: Layout,
    depth: Option<usize>,
    value: T,
}

impl<T: ToJson> ToJson for LaidOut<T> {
    fn write_json(self, slot: Slot<'_>) {
        let depth = self.depth.unwrap_or(slot.depth);
        self.value.write_json(Slot { out: slot.out, layout: self.layout, depth });
    }
}

struct Fixed {
    number: f64,
    digits: usize,
}

impl ToJson for Fixed {
    fn write_json(self, slot: Slot<'_>) {
        write!(slot.out, "{:.*}", self.digits, self.number).expect("a String takes any text");
    }
}

struct Numbers<'n>(&'n [u32]);

impl ToJson for Numbers<'_> {
    /// Formatting limits how fast ids are written, so the digits are made by hand.
    fn write_json(self, slot: Slot<'_>) {
        let mut bytes = std::mem::take(slot.out).into_bytes();
        bytes.reserve(2 + 7 * self.0.len());
        bytes.push(b'[');
        for (index, &number) in self.0.iter().enumerate() {
            let (mut text, mut start, mut rest) = ([b','; 11], 11, number);
            loop {
                start -= 1;
                text[start] = b'0' + (rest % 10) as u8;
                rest /= 10;
                if rest == 0 {
                    break;
                }
            }
            bytes.extend_from_slice(&text[start - usize::from(index > 0)..]);
        }
        bytes.push(b']');
        *slot.out = String::from_utf8(bytes).expect("digits and commas were added to a string");
    }
}

struct Raw<'t>(&'t str);

impl ToJson for Raw<'_> {
    fn write_json(self, slot: Slot<'_>) {
        slot.out.push_str(self.0);
    }
}

impl ToJson for &str {
    fn write_json(self, slot: Slot<'_>) {
        write_string(self, slot.out);
    }
}

impl ToJson for &String {
    fn write_json(self, slot: Slot<'_>) {
        write_string(self, slot.out);
    }
}

impl ToJson for bool {
    fn write_json(self, slot: Slot<'_>) {
        slot.out.push_str(if self { "true" } else { "false" });
    }
}

macro_rules! whole_numbers {
    ($($number:ty)*) => {$(
        impl ToJson for $number {
            fn write_json(self, slot: Slot<'_>) {
                write!(slot.out, "{self}").expect("a String takes any text");
            }
        }
    )*};
}

whole_numbers!(u8 u16 u32 u64 u128 usize i64);

macro_rules! floats {
    ($($number:ty)*) => {$(
        /// What is no number is written as Python's `json` writes it.
        impl ToJson for $number {
            fn write_json(self, slot: Slot<'_>) {
                match self {
                    _ if self.is_nan() => slot.out.push_str("NaN"),
                    <$number>::INFINITY => slot.out.push_str("Infinity"),
                    <$number>::NEG_INFINITY => slot.out.push_str("-Infinity"),
                    _ => write!(slot.out, "{self}").expect("a String takes any text"),
                }
            }
        }
    )*};
}

floats!(f32 f64);

impl<T: ToJson> ToJson for Option<T> {
    fn write_json(self, slot: Slot<'_>) {
        match self {
            Some(value) => value.write_json(slot),
            None => slot.out.push_str("null"),
        }
    }
}

impl<T: ToJson + Copy> ToJson for &T {
    fn write_json(self, slot: Slot<'_>) {
        (*self).write_json(slot);
    }
}

impl ToJson for &Value<'_> {
    fn write_json(self, slot: Slot<'_>) {
        match self {
            Value::Null => slot.out.push_str("null"),
            Value::Bool(value) => value.write_json(slot),
            Value::Number(text) => slot.out.push_str(text),
            Value::String(text) => write_string(text, slot.out),
            Value::Array(values) => slot.list(values),
            Value::Object(members) => slot.object(|object| {
                object.fields(members.iter().map(|(key, value)| (key, value)));
            }),
        }
    }
}
