//! Reads `fixtures/vectors`: one JSON object a line, compressed.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};

/// Every line of a file of vectors.
pub(crate) fn read(name: &str) -> Vec<Value<'static>> {
    read_from(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors").join(name))
}

fn read_from(path: &Path) -> Vec<Value<'static>> {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(|line| json::parse(line).unwrap().value.into_owned()).collect()
}

/// The directory of the vectors of newer tokenizers: the fixtures, or another one with the same files.
fn family_directory() -> PathBuf {
    match std::env::var_os("PIXTUNE_VECTORS") {
        Some(directory) => directory.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors_family"),
    }
}

/// Every line of a file of vectors of newer tokenizers.
pub(crate) fn family(name: &str) -> Vec<Value<'static>> {
    read_from(&family_directory().join(name))
}

/// A text file beside these vectors; another directory may lack it.
pub(crate) fn family_file(name: &str) -> String {
    let given = std::fs::read_to_string(family_directory().join(name));
    given.unwrap_or_else(|_| {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors_family");
        std::fs::read_to_string(fixtures.join(name)).unwrap()
    })
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
