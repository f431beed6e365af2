//! The header: eight bytes of length, then JSON.

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use pixtune_core::json::{self, Value};
use pixtune_core::text::{counted, counted_as};
use pixtune_files::direct::DirectFile;

use crate::weights::dtype::Dtype;

/// Longer headers are refused, as the safetensors library does: 100 MB are a million tensors.
pub const MAX_HEADER: u64 = 100_000_000;

/// A tensor as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the file.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its sides, outermost first; none for a single number.
    pub shape: Vec<usize>,
    /// Where its bytes are, counted from the start of the file.
    pub range: Range<u64>,
}

impl TensorInfo {
    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// A header that describes its file exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The tensors in the order of their bytes, without gaps, up to the end of the file.
    pub tensors: Vec<TensorInfo>,
    /// `__metadata__`, in the order written.
    pub metadata: Vec<(String, String)>,
    /// Where the data begins.
    pub data_start: u64,
}

/// What is wrong with a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant")]
pub enum HeaderError {
    #[error("it has {}; a safetensors file has at least 10", counted(*found, "byte"))]
    TooShort { found: u64 },
    #[error("its header claims {}, the file has {file}", counted(*claimed, "byte"))]
    Truncated { claimed: u64, file: u64 },
    #[error("its header claims {}; the limit is {MAX_HEADER}", counted(*claimed, "byte"))]
    TooLong { claimed: u64 },
    #[error("its header is not UTF-8")]
    NotUtf8,
    #[error("its header is not JSON: {source}")]
    NotJson { source: json::SyntaxError },
    #[error("its header is {found}, not an object")]
    NotObject { found: &'static str },
    #[error("`__metadata__` is not an object of strings")]
    Metadata,
    #[error("`{name}` is in the header twice")]
    Duplicate { name: String },
    #[error("`{name}` needs `dtype`, `shape` and `data_offsets`, each once, and nothing else")]
    Fields { name: String },
    #[error("`{name}` has the unknown dtype `{dtype}`")]
    UnknownDtype { name: String, dtype: String },
    #[error("the shape of `{name}` is not a list of sizes, or is too large for any memory")]
    Shape { name: String },
    #[error("the data_offsets of `{name}` are not two offsets in order")]
    Offsets { name: String },
    #[error("`{name}` spans {}, but {dtype} of shape {shape:?} has {needs}", counted(*spans, "byte"))]
    Size { name: String, spans: u64, dtype: Dtype, shape: Vec<usize>, needs: u64 },
    #[error(
        "`{name}` ends at byte {end} of the data, which has {data}: the file is cut off or the header is wrong"
    )]
    OutOfFile { name: String, end: u64, data: u64 },
    #[error("`{name}` and `{other}` share bytes")]
    Overlap { name: String, other: String },
    #[error("{} to no tensor before `{name}`", counted_as(*bytes, "byte belongs", "bytes belong"))]
    Hole { name: String, bytes: u64 },
    #[error("{} to no tensor at the end of the file", counted_as(*bytes, "byte belongs", "bytes belong"))]
    Trailing { bytes: u64 },
}

impl Header {
    /// Reads the header of a file of this length. The outer result is about reading, the inner about what was read.
    pub fn read(file: &DirectFile, length: u64) -> io::Result<Result<Header, HeaderError>> {
        if length < 10 {
            return Ok(Err(HeaderError::TooShort { found: length }));
        }
        let mut prefix = [0; 8];
        file.read_at(&mut prefix, 0)?;
        let claimed = match check_length(u64::from_le_bytes(prefix), length) {
            Ok(claimed) => claimed,
            Err(error) => return Ok(Err(error)),
        };
        let mut text = vec![0; claimed];
        file.read_at(&mut text, 8)?;
        Ok(Header::from_json(&text, length))
    }

    /// The header at the start of `bytes`, which are a whole file.
    pub fn parse(bytes: &[u8]) -> Result<Header, HeaderError> {
        let length = bytes.len() as u64;
        let Some((prefix, rest)) = bytes.split_first_chunk().filter(|_| length >= 10) else {
            return Err(HeaderError::TooShort { found: length });
        };
        let claimed = check_length(u64::from_le_bytes(*prefix), length)?;
        Header::from_json(&rest[..claimed], length)
    }

    /// The tensor of this name.
    pub fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn from_json(text: &[u8], file_length: u64) -> Result<Header, HeaderError> {
        let data_start = 8 + text.len() as u64;
        let text = std::str::from_utf8(text).map_err(|_| HeaderError::NotUtf8)?;
        let parsed = json::parse(text).map_err(|source| HeaderError::NotJson { source })?.value;
        let Some(members) = parsed.as_object() else {
            return Err(HeaderError::NotObject { found: parsed.kind() });
        };
        let mut names = HashSet::with_capacity(members.len());
        let mut tensors = Vec::with_capacity(members.len());
        let mut metadata = Vec::new();
        for (name, value) in members {
            if !names.insert(name.as_ref()) {
                return Err(HeaderError::Duplicate { name: name.to_string() });
            }
            // MLX writes `null` where there is none, and the safetensors library accepts it.
            if name == "__metadata__" && *value == Value::Null {
                continue;
            }
            if name == "__metadata__" {
                metadata = read_metadata(value).ok_or(HeaderError::Metadata)?;
            } else {
                tensors.push(read_tensor(name, value, data_start)?);
            }
        }
        tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
        check_cover(&tensors, data_start, file_length)?;
        Ok(Header { tensors, metadata, data_start })
    }
}

fn check_length(claimed: u64, file: u64) -> Result<usize, HeaderError> {
    if claimed > MAX_HEADER {
        return Err(HeaderError::TooLong { claimed });
    }
    if claimed > file - 8 {
        return Err(HeaderError::Truncated { claimed, file });
    }
    usize::try_from(claimed).map_err(|_| HeaderError::TooLong { claimed })
}

fn read_metadata(value: &Value<'_>) -> Option<Vec<(String, String)>> {
    value
        .as_object()?
        .iter()
        .map(|(key, value)| Some((key.to_string(), value.as_str()?.to_owned())))
        .collect()
}

fn read_tensor(name: &str, value: &Value<'_>, data_start: u64) -> Result<TensorInfo, HeaderError> {
    let name = name.to_owned();
    let fields = value.as_object().unwrap_or_default();
    let (Some(dtype), Some(shape), Some(offsets), 3) =
        (value.get("dtype"), value.get("shape"), value.get("data_offsets"), fields.len())
    else {
        return Err(HeaderError::Fields { name });
    };
    let Some(dtype_name) = dtype.as_str() else {
        return Err(HeaderError::UnknownDtype { name, dtype: dtype.to_string() });
    };
    let Some(dtype) = Dtype::parse(dtype_name) else {
        return Err(HeaderError::UnknownDtype { name, dtype: dtype_name.to_owned() });
    };
    let sides = shape.as_array().map(|sides| sides.iter().map(whole::<usize>).collect());
    let Some(Some(shape)) = sides else {
        return Err(HeaderError::Shape { name });
    };
    let shape: Vec<usize> = shape;
    let Some(needs) = size_of(dtype, &shape) else {
        return Err(HeaderError::Shape { name });
    };
    let (start, end) = match offsets.as_array() {
        Some([start, end]) => match (whole::<u64>(start), whole::<u64>(end)) {
            (Some(start), Some(end)) if start <= end && end <= u64::MAX - data_start => (start, end),
            _ => return Err(HeaderError::Offsets { name }),
        },
        _ => return Err(HeaderError::Offsets { name }),
    };
    if end - start != needs {
        return Err(HeaderError::Size { name, spans: end - start, dtype, shape, needs });
    }
    Ok(TensorInfo { name, dtype, shape, range: data_start + start..data_start + end })
}

/// Bytes of a tensor, unless no machine could address them.
pub(super) fn size_of(dtype: Dtype, shape: &[usize]) -> Option<u64> {
    let elements = shape.iter().try_fold(1u64, |size, side| size.checked_mul(*side as u64))?;
    let bytes = elements.checked_mul(dtype.size() as u64)?;
    (bytes <= i64::MAX as u64).then_some(bytes)
}

/// A number written as plain digits, as positions and sizes are.
fn whole<N: std::str::FromStr>(value: &Value<'_>) -> Option<N> {
    match value {
        Value::Number(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

/// Every byte of the data belongs to exactly one tensor.
fn check_cover(tensors: &[TensorInfo], data_start: u64, file_length: u64) -> Result<(), HeaderError> {
    let mut end = data_start;
    let mut before = "";
    for TensorInfo { name: this, range, .. } in tensors {
        let name = || this.clone();
        if range.end > file_length {
            let (end, data) = (range.end - data_start, file_length - data_start);
            return Err(HeaderError::OutOfFile { name: name(), end, data });
        }
        if range.start > end {
            return Err(HeaderError::Hole { name: name(), bytes: range.start - end });
        }
        if range.start < end {
            return Err(HeaderError::Overlap { name: name(), other: before.to_owned() });
        }
        end = range.end;
        before = this;
    }
    match file_length - end {
        0 => Ok(()),
        bytes => Err(HeaderError::Trailing { bytes }),
    }
}
