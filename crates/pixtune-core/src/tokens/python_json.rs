//! JSON as Python's `json` module reads and writes it: the text between tool tokens is written with it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;

use crate::json::{self, Value, write_string};

/// Why Python would raise an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unprintable(pub(super) &'static str);

/// Python does not convert longer integers (`sys.get_int_max_str_digits`).
const MAX_DIGITS: usize = 4300;

/// The value that `json.loads` returns; `None` if the text is not JSON.
pub(super) fn loads(text: &str) -> Result<Option<Value<'_>>, Unprintable> {
    match json::parse(text) {
        Ok(parsed) => Ok(Some(parsed.value)),
        Err(error) if error.is_limit() => Err(Unprintable(error.what)),
        Err(_) => Ok(None),
    }
}

/// Whether a text is JSON with half of a surrogate pair, which Python keeps.
pub(super) fn has_lone_surrogate(text: &str) -> bool {
    text.contains("\\u") && json::parse(text).is_ok_and(|parsed| parsed.lone_surrogate.is_some())
}

/// Appends the result of `json.dumps(value, ensure_ascii=False)`.
pub(super) fn dumps(value: &Value<'_>, out: &mut String) -> Result<(), Unprintable> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => dump_number(number, out)?,
        Value::String(text) => write_string(text, out),
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                separate(index, out);
                dumps(value, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, value)) in without_duplicates(members).into_iter().enumerate() {
                separate(index, out);
                write_string(key, out);
                out.push_str(": ");
                dumps(value, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn separate(index: usize, out: &mut String) {
    if index > 0 {
        out.push_str(", ");
    }
}

/// The members as a Python dict has them: the last value of a key, at the position of its first.
pub(super) fn without_duplicates<'v, 'a>(
    members: &'v [(Cow<'a, str>, Value<'a>)],
) -> Vec<(&'v str, &'v Value<'a>)> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(members.len());
    let mut unique: Vec<(&str, &Value<'a>)> = Vec::with_capacity(members.len());
    for (key, value) in members {
        match places.entry(&**key) {
            Entry::Occupied(place) => unique[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(unique.len());
                unique.push((key, value));
            }
        }
    }
    unique
}

/// An integer stays as it is written, a float is parsed and formatted again.
fn dump_number(number: &str, out: &mut String) -> Result<(), Unprintable> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        if digits.len() > MAX_DIGITS {
            return Err(Unprintable("an integer of more than 4300 digits"));
        }
        out.push_str(if digits == "0" { "0" } else { number });
        return Ok(());
    }
    match number.parse::<f64>() {
        Ok(value) => dump_float(value, out),
        Err(_) => out.push_str(number),
    }
    Ok(())
}

/// Python's `repr` of a float: the shortest digits that read back, in powers of ten from 1e16 and below 1e-4.
fn dump_float(value: f64, out: &mut String) {
    if !value.is_finite() {
        let word = if value.is_nan() { "NaN" } else { "Infinity" };
        out.push_str(if value < 0.0 { "-" } else { "" });
        out.push_str(word);
        return;
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) || value == 0.0 {
        let fixed = format!("{value}");
        out.push_str(&fixed);
        if !fixed.contains('.') {
            out.push_str(".0");
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{mantissa}e{sign}{:02}", exponent.abs()).expect("a String takes any text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, printed: &str) {
        let mut out = String::new();
        dumps(&loads(text).unwrap().unwrap(), &mut out).unwrap();
        assert_eq!(out, printed);
    }

    #[test]
    fn writes_numbers_like_python() {
        for (text, printed) in [
            ("1e5", "100000.0"),
            ("1e16", "1e+16"),
            ("1e15", "1000000000000000.0"),
            ("9999999999999998.0", "9999999999999998.0"),
            ("1E400", "Infinity"),
            ("-1E400", "-Infinity"),
            ("NaN", "NaN"),
            ("-0.0", "-0.0"),
            ("-0", "0"),
            ("0.0001", "0.0001"),
            ("0.00001234", "1.234e-05"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("12.50", "12.5"),
            ("0.1", "0.1"),
        ] {
            check(text, printed);
        }
    }

    #[test]
    fn objects_keep_their_order_and_the_last_of_duplicates() {
        check(r#" {"b":1,"a":[ ],"b":{"c":null}} "#, r#"{"b": {"c": null}, "a": []}"#);
    }

    #[test]
    fn escapes_strings_like_python() {
        check(
            "\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\\\/\u{7f}\u{2028}é\"",
            "\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\/\u{7f}\u{2028}é\"",
        );
    }

    #[test]
    fn rejects_what_python_cannot_convert() {
        let long = "1".repeat(4301);
        assert!(dumps(&loads(&long).unwrap().unwrap(), &mut String::new()).is_err());
        assert!(loads(&"[".repeat(300)).is_err());
        assert_eq!(loads("not json"), Ok(None));
    }
}
