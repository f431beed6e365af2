//! Reads `fixtures/vectors`: one JSON object a line, compressed.

use std::io::Read as _;
use std::path::Path;

use pixtune_core::json::{self, Value};

/// Every line of a file of vectors.
pub(crate) fn read(name: &str) -> Vec<Value<'static>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors").join(name);
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(|line| json::parse(line).unwrap().value.into_owned()).collect()
}

pub(crate) fn number(value: &Value<'_>) -> u32 {
    match value {
        Value::Number(number) => number.parse().unwrap(),
        other => panic!("{other} is no number"),
    }
}

pub(crate) fn numbers(value: &Value<'_>) -> Vec<u32> {
    value.as_array().unwrap().iter().map(number).collect()
}

pub(crate) fn text<'v>(value: &'v Value<'_>, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap()
}
