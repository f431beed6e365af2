//! The keys and values at the beginning of a file, and the list of its tensors.

use super::element::Element;

/// A value of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A number without a sign.
    U32(u32),
    /// A number with a fraction.
    F32(f32),
    /// A yes or a no.
    Bool(bool),
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// Numbers with a sign.
    I32s(Vec<i32>),
    /// Numbers with fractions.
    F32s(Vec<f32>),
}

impl Value {
    /// The number of the type (`gguf_metadata_value_type`).
    fn number(&self) -> u32 {
        match self {
            Value::U32(_) => 4,
            Value::F32(_) => 6,
            Value::Bool(_) => 7,
            Value::Text(_) => 8,
            Value::Texts(_) | Value::I32s(_) | Value::F32s(_) => 9,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.number().to_le_bytes());
        match self {
            Value::U32(value) => out.extend(value.to_le_bytes()),
            Value::F32(value) => out.extend(value.to_le_bytes()),
            Value::Bool(value) => out.push(u8::from(*value)),
            Value::Text(text) => write_text(text, out),
            Value::Texts(texts) => {
                write_length(8, texts.len(), out);
                texts.iter().for_each(|text| write_text(text, out));
            }
            Value::I32s(values) => {
                write_length(5, values.len(), out);
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
            Value::F32s(values) => {
                write_length(6, values.len(), out);
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The type and the number of elements of a list.
fn write_length(element: u32, length: usize, out: &mut Vec<u8>) {
    out.extend(element.to_le_bytes());
    out.extend((length as u64).to_le_bytes());
}

/// Keys with their values, in the order in which they are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Metadata(pub Vec<(String, Value)>);

impl Metadata {
    /// Adds a number without a sign.
    pub fn number(&mut self, key: impl Into<String>, value: usize) -> &mut Metadata {
        // Sizes of a model are checked when its checkpoint is opened: none is near 2^32.
        self.put(key, Value::U32(u32::try_from(value).unwrap_or(u32::MAX)))
    }

    /// Adds a number with a fraction.
    pub fn real(&mut self, key: impl Into<String>, value: f64) -> &mut Metadata {
        self.put(key, Value::F32(value as f32))
    }

    /// Adds a text.
    pub fn text(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Metadata {
        self.put(key, Value::Text(value.into()))
    }

    /// Adds a yes or a no.
    pub fn flag(&mut self, key: impl Into<String>, value: bool) -> &mut Metadata {
        self.put(key, Value::Bool(value))
    }

    /// Adds a value.
    pub fn put(&mut self, key: impl Into<String>, value: Value) -> &mut Metadata {
        self.0.push((key.into(), value));
        self
    }
}

/// Offsets of tensors are multiples of this, and so is the beginning of the data (`GGUF_DEFAULT_ALIGNMENT`).
pub(super) const ALIGNMENT: u64 = 32;

/// What a file begins with.
pub(super) const MAGIC: [u8; 4] = *b"GGUF";

/// The version that is written.
pub(super) const VERSION: u32 = 3;

/// A tensor in the list of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub name: String,
    /// Innermost first, unlike everywhere else.
    pub dimensions: Vec<u64>,
    pub element: Element,
}

impl Entry {
    /// Bytes of the tensor, without those up to the next one.
    pub fn bytes(&self) -> u64 {
        self.element.bytes(self.dimensions.iter().fold(1, |all: u64, side| all.saturating_mul(*side)))
    }
}

/// The next multiple of the alignment.
pub(super) fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT)
}

/// Everything before the data: the keys, the list of tensors, and zeros up to the first of them.
pub(super) fn head(metadata: &Metadata, entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend((entries.len() as u64).to_le_bytes());
    out.extend((metadata.0.len() as u64).to_le_bytes());
    for (key, value) in &metadata.0 {
        write_text(key, &mut out);
        value.write(&mut out);
    }
    let mut offset = 0u64;
    for entry in entries {
        write_text(&entry.name, &mut out);
        out.extend((entry.dimensions.len() as u32).to_le_bytes());
        entry.dimensions.iter().for_each(|side| out.extend(side.to_le_bytes()));
        out.extend(entry.element.number().to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset = aligned(offset.saturating_add(entry.bytes()));
    }
    out.resize(aligned(out.len() as u64) as usize, 0);
    out
}
