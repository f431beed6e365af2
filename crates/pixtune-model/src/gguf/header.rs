//! Reads the header of any GGUF file, of which nothing is trusted: every length is compared with what is left of the file before
//! memory is taken for it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use pixtune_core::text::counted;

use super::error::GgufError;
use super::metadata::{ALIGNMENT, MAGIC};

/// What a header holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The version of the format: 2 or 3.
    pub version: u32,
    /// The keys with their values, in the order of the file.
    pub metadata: Vec<(String, Found)>,
    /// The tensors, in the order of the file.
    pub tensors: Vec<FoundTensor>,
    /// Where the bytes of tensors begin.
    pub data_start: u64,
}

/// The value of a key, as far as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A whole number without a sign.
    Number(u64),
    /// A whole number with a sign.
    Signed(i64),
    /// A number with a fraction.
    Real(f64),
    /// A yes or a no.
    Bool(bool),
    /// A text.
    Text(String),
    /// So many elements.
    List(u64),
}

/// A tensor in the list of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTensor {
    /// Its name.
    pub name: String,
    /// Its sides, innermost first.
    pub dimensions: Vec<u64>,
    /// The number of its type.
    pub element: u32,
    /// Where its bytes begin, from the beginning of the data.
    pub offset: u64,
}

/// No vocabulary makes a longer header; the values of a longer one would fill the memory.
const MAX_HEADER: u64 = 512 << 20;

/// Longer texts are no names, keys or templates.
const MAX_TEXT: u64 = 16 << 20;

/// Lists in lists are in no file that a program writes.
const MAX_DEPTH: u32 = 2;

impl Header {
    /// Reads the header of a file.
    pub fn read(path: &Path) -> Result<Header, GgufError> {
        let failed = |source| GgufError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        Header::parse(BufReader::new(file), length).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                GgufError::Damaged { path: path.to_owned(), why: error.to_string() }
            }
            _ => failed(error),
        })
    }

    /// Reads a header from a file of `length` bytes. What is wrong with it is an error of the kind `InvalidData`, and an early
    /// end one of the kind `UnexpectedEof`.
    pub fn parse(input: impl Read, length: u64) -> io::Result<Header> {
        let readable = length.min(MAX_HEADER);
        let end = match length > MAX_HEADER {
            true => "its header is larger than any that a program writes",
            false => "it ends within its header",
        };
        let mut bytes = Bytes { input, left: readable, end };
        if bytes.array::<4>()? != MAGIC {
            return Err(wrong("it does not begin with `GGUF`"));
        }
        let version = bytes.u32()?;
        if version != 2 && version != 3 {
            return Err(wrong(&format!("version {version} is not supported, only 2 and 3")));
        }
        let (tensors, keys) = (bytes.u64()?, bytes.u64()?);
        // A tensor has at least 24 bytes, a key 12.
        let least = tensors.saturating_mul(24).saturating_add(keys.saturating_mul(12));
        if least > bytes.left {
            return Err(wrong(&format!(
                "{} and {} do not fit into it",
                counted(tensors, "tensor"),
                counted(keys, "key")
            )));
        }
        let mut header = Header { version, metadata: Vec::new(), tensors: Vec::new(), data_start: 0 };
        for _ in 0..keys {
            let key = bytes.text()?;
            let kind = bytes.u32()?;
            header.metadata.push((key, bytes.value(kind, 0)?));
        }
        for _ in 0..tensors {
            let name = bytes.text()?;
            let sides = bytes.u32()?;
            if sides > 4 {
                return Err(wrong(&format!("a tensor has {sides} dimensions")));
            }
            let dimensions = (0..sides).map(|_| bytes.u64()).collect::<io::Result<_>>()?;
            header.tensors.push(FoundTensor {
                name,
                dimensions,
                element: bytes.u32()?,
                offset: bytes.u64()?,
            });
        }
        let alignment = match header.get("general.alignment") {
            None => ALIGNMENT,
            Some(Found::Number(alignment)) if alignment.is_power_of_two() => *alignment,
            Some(other) => return Err(wrong(&format!("the alignment is {other:?}"))),
        };
        let read = readable - bytes.left;
        // A file without tensors may end before the boundary.
        header.data_start =
            read.checked_next_multiple_of(alignment).map_or(length, |start| start.min(length));
        Ok(header)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Found> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Found::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// What is left of a file.
struct Bytes<R> {
    input: R,
    left: u64,
    /// What it means that nothing is left.
    end: &'static str,
}

impl<R: Read> Bytes<R> {
    fn claim(&mut self, bytes: u64) -> io::Result<()> {
        let ends = || io::Error::new(io::ErrorKind::UnexpectedEof, self.end);
        self.left = self.left.checked_sub(bytes).ok_or_else(ends)?;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.claim(N as u64)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> io::Result<String> {
        let length = self.u64()?;
        if length > MAX_TEXT {
            return Err(wrong(&format!("a text has {length} bytes")));
        }
        self.claim(length)?;
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| wrong("a text is not UTF-8"))
    }

    fn value(&mut self, kind: u32, depth: u32) -> io::Result<Found> {
        Ok(match kind {
            0 => Found::Number(u64::from(self.array::<1>()?[0])),
            1 => Found::Signed(i64::from(i8::from_le_bytes(self.array()?))),
            2 => Found::Number(u64::from(u16::from_le_bytes(self.array()?))),
            3 => Found::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            4 => Found::Number(u64::from(self.u32()?)),
            5 => Found::Signed(i64::from(i32::from_le_bytes(self.array()?))),
            6 => Found::Real(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Found::Bool(self.array::<1>()?[0] != 0),
            8 => Found::Text(self.text()?),
            9 => {
                let (element, count) = (self.u32()?, self.u64()?);
                if depth >= MAX_DEPTH {
                    return Err(wrong("lists are nested too deeply"));
                }
                // Each takes a byte at least, so a wrong count ends with the file.
                for _ in 0..count {
                    self.value(element, depth + 1)?;
                }
                Found::List(count)
            }
            10 => Found::Number(self.u64()?),
            11 => Found::Signed(i64::from_le_bytes(self.array()?)),
            12 => Found::Real(f64::from_le_bytes(self.array()?)),
            other => return Err(wrong(&format!("a value has the unknown type {other}"))),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::super::element::Element;
    use super::super::metadata::{Entry, Metadata, Value, head};
    use super::*;

    fn file() -> Vec<u8> {
        let mut keys = Metadata::default();
        keys.text("general.architecture", "llama")
            .number("llama.block_count", 2)
            .real("llama.rope.freq_base", 1e4);
        keys.flag("tokenizer.ggml.add_bos_token", true);
        keys.put("tokenizer.ggml.tokens", Value::Texts(vec!["a".into(), "b".into()]));
        keys.put("tokenizer.ggml.token_type", Value::I32s(vec![1, 3]));
        let entry = |name: &str, dimensions: &[u64]| Entry {
            name: name.into(),
            dimensions: dimensions.into(),
            element: Element::BF16,
        };
        head(&keys, &[entry("a.weight", &[3, 5]), entry("b.weight", &[2])])
    }

    fn parse(bytes: &[u8]) -> io::Result<Header> {
        Header::parse(bytes, bytes.len() as u64)
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = file();
        assert!(bytes.len().is_multiple_of(32));
        let header = parse(&bytes).unwrap();
        assert_eq!((header.version, header.text("general.architecture")), (3, Some("llama")));
        assert_eq!(header.get("llama.block_count"), Some(&Found::Number(2)));
        assert_eq!(header.get("tokenizer.ggml.tokens"), Some(&Found::List(2)));
        assert_eq!(header.tensors[1].dimensions, [2]);
        assert_eq!((header.tensors[0].offset, header.tensors[1].offset), (0, 32));
        assert_eq!((header.tensors[0].element, header.data_start), (30, bytes.len() as u64));
    }

    #[test]
    fn data_begins_within_the_file() {
        for more in [0, 1, 7, 8] {
            let bytes = [&b"GGUF\x03"[..], &[0; 19], &vec![b'F'; more]].concat();
            assert_eq!(parse(&bytes).unwrap().data_start, bytes.len() as u64, "{more}");
        }
    }

    #[test]
    fn a_file_that_is_cut_anywhere_in_its_header_is_an_error() {
        let bytes = file();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        for length in 0..=end {
            assert!(parse(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn lengths_beyond_the_file_take_no_memory() {
        for (at, value) in [(8, u64::MAX), (16, u64::MAX), (24, u64::MAX), (24, 1 << 40)] {
            let mut bytes = file();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            assert!(parse(&bytes).is_err(), "{value} at {at}");
        }
    }
}
