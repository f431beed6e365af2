//! Headers that lie.

use pixtune_model::weights::Dtype;
use pixtune_model::weights::safetensors::{Header, HeaderError, Layout, SafetensorsFile, TensorSpec, Writer};
use proptest::prelude::*;

/// A file with this header and so many bytes of data.
fn file(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(bytes.len() + data, 7);
    bytes
}

#[track_caller]
fn refused(json: &str, data: usize, message: &str) {
    let error = Header::parse(&file(json, data)).expect_err("it is wrong");
    assert_eq!(error.to_string(), message);
}

fn tensor(name: &str, dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

#[test]
fn a_good_header_is_read() {
    let json = format!(
        r#"{{"__metadata__":{{"format":"pt"}},{},{},{}}}  "#,
        tensor("b", "F32", "[2]", "[4,12]"),
        tensor("a", "BF16", "[1,2]", "[0,4]"),
        tensor("none", "F32", "[0,9]", "[12,12]"),
    );
    let header = Header::parse(&file(&json, 12)).unwrap();
    assert_eq!(
        header.tensors.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(),
        ["a", "b", "none"]
    );
    assert_eq!(header.tensors[0].range, header.data_start..header.data_start + 4);
    assert_eq!(header.metadata, [("format".to_owned(), "pt".to_owned())]);
    assert_eq!(header.find("b").unwrap().shape, [2]);
}

#[test]
fn metadata_may_be_null_as_mlx_writes_it() {
    let json = format!(r#"{{"__metadata__":null,{}}}"#, tensor("a", "F32", "[2]", "[0,8]"));
    let header = Header::parse(&file(&json, 8)).unwrap();
    assert!(header.metadata.is_empty() && header.tensors.len() == 1);
}

#[test]
fn hostile_headers_are_refused_with_their_reason() {
    let one = |shape: &str, offsets: &str| format!("{{{}}}", tensor("a", "F32", shape, offsets));
    refused(
        &one("[2]", "[0,8]"),
        7,
        "`a` ends at byte 8 of the data, which has 7: the file is cut off or the header is wrong",
    );
    refused(&one("[2]", "[0,8]"), 9, "1 byte belongs to no tensor at the end of the file");
    refused(&one("[2]", "[1,9]"), 9, "1 byte belongs to no tensor before `a`");
    refused(&one("[2]", "[0,7]"), 7, "`a` spans 7 bytes, but F32 of shape [2] has 8");
    refused(&one("[2]", "[8,0]"), 8, "the data_offsets of `a` are not two offsets in order");
    refused(&one("[2]", "[0,8,8]"), 8, "the data_offsets of `a` are not two offsets in order");
    refused(&one("[2]", "[-8,0]"), 8, "the data_offsets of `a` are not two offsets in order");
    refused(
        &one("[2.0]", "[0,8]"),
        8,
        "the shape of `a` is not a list of sizes, or is too large for any memory",
    );
    let shape = "the shape of `a` is not a list of sizes, or is too large for any memory";
    refused(&one("[4294967296,4294967296]", "[0,0]"), 0, shape);
    refused(&one("[18446744073709551616]", "[0,0]"), 0, shape);
    refused(&one("8", "[0,8]"), 8, shape);
    refused(
        &one("[2]", "[18446744073709551600,18446744073709551608]"),
        8,
        "the data_offsets of `a` are not two offsets in order",
    );
    let two = |offsets: &str| {
        format!("{{{},{}}}", tensor("a", "F32", "[2]", "[0,8]"), tensor("b", "F32", "[2]", offsets))
    };
    refused(&two("[4,12]"), 12, "`b` and `a` share bytes");
    refused(&two("[0,8]"), 8, "`b` and `a` share bytes");
    let twice = format!("{{{},{}}}", tensor("a", "F32", "[2]", "[0,8]"), tensor("a", "F32", "[2]", "[8,16]"));
    refused(&twice, 16, "`a` is in the header twice");
    refused(&format!("{{{}}}", tensor("a", "F4", "[2]", "[0,1]")), 1, "`a` has the unknown dtype `F4`");
    let fields = "`a` needs `dtype`, `shape` and `data_offsets`, each once, and nothing else";
    refused(r#"{"a":{"dtype":"F32","shape":[]}}"#, 0, fields);
    refused(r#"{"a":{"dtype":"F32","shape":[],"shape":[],"data_offsets":[0,4]}}"#, 4, fields);
    refused(r#"{"a":3}"#, 0, fields);
    refused(r#"{"__metadata__":{"x":1}}"#, 0, "`__metadata__` is not an object of strings");
    refused("[]         ", 0, "its header is an array, not an object");
    refused("{} x", 0, "its header is not JSON: text after the end of the value at byte 3");
}

#[test]
fn lengths_are_checked_before_anything_is_read() {
    let mut bytes = file("{}", 0);
    assert_eq!(Header::parse(&bytes).map(|header| header.tensors.len()), Ok(0));
    bytes[..8].copy_from_slice(&(4u64 << 30).to_le_bytes());
    assert_eq!(Header::parse(&bytes), Err(HeaderError::TooLong { claimed: 4 << 30 }));
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(Header::parse(&bytes), Err(HeaderError::TooLong { claimed: u64::MAX }));
    bytes[..8].copy_from_slice(&3u64.to_le_bytes());
    assert_eq!(Header::parse(&bytes), Err(HeaderError::Truncated { claimed: 3, file: 10 }));
    assert_eq!(Header::parse(b"\x02\0\0\0\0\0\0\0{"), Err(HeaderError::TooShort { found: 9 }));
    assert_eq!(Header::parse(b""), Err(HeaderError::TooShort { found: 0 }));
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), b"\xff\xff\xff\xff\x00\0\0\0{}").unwrap();
    let error = SafetensorsFile::open(path.path()).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("claims 4,294,967,295 bytes"));
    assert_eq!(
        Header::parse(&[&[2u8, 0, 0, 0, 0, 0, 0, 0][..], b"\xff\xff"].concat()),
        Err(HeaderError::NotUtf8)
    );
}

#[test]
fn a_header_within_reach_of_the_limits_is_read() {
    let tensors: Vec<TensorSpec> = (0..20_000)
        .map(|index| TensorSpec { name: format!("tensor {index}"), dtype: Dtype::U8, shape: vec![1] })
        .collect();
    let layout = Layout::new(&tensors).unwrap();
    let mut bytes = layout.head.clone();
    bytes.resize(layout.file_length() as usize, 0);
    assert_eq!(Header::parse(&bytes).unwrap(), layout.header);
}

#[test]
fn a_writer_takes_exactly_what_it_announced() {
    let tensor = TensorSpec { name: "a".to_owned(), dtype: Dtype::U8, shape: vec![3] };
    let layout = Layout::new(std::slice::from_ref(&tensor)).unwrap();
    let mut writer = Writer::new(Vec::new(), &layout).unwrap();
    writer.write(b"ab").unwrap();
    assert!(writer.write(b"cd").is_err());
    let mut writer = Writer::new(Vec::new(), &layout).unwrap();
    writer.write(b"ab").unwrap();
    assert!(writer.finish().is_err());
    assert_eq!(Layout::new(&[tensor.clone(), tensor]), None);
}

proptest! {
    #[test]
    fn what_is_laid_out_reads_back(
        shapes in proptest::collection::vec((0usize..15, proptest::collection::vec(0usize..5, 0..4)), 0..8)
    ) {
        let spec = |(index, (dtype, shape)): (usize, (usize, Vec<usize>))| {
            TensorSpec { name: format!("\"\\ü{index}"), dtype: Dtype::ALL[dtype], shape }
        };
        let specs: Vec<TensorSpec> = shapes.into_iter().enumerate().map(spec).collect();
        let layout = Layout::new(&specs).unwrap();
        let mut bytes = layout.head.clone();
        bytes.resize(layout.file_length() as usize, 0);
        prop_assert_eq!(layout.header.data_start % 8, 0);
        prop_assert_eq!(Header::parse(&bytes).unwrap(), layout.header);
    }

    /// Whatever is changed in a header, what is accepted still lies within the file.
    #[test]
    fn a_damaged_header_never_leads_out_of_the_file(at in 8usize..150, byte in any::<u8>()) {
        let json = format!("{{{},{}}}", tensor("a", "F32", "[1,2]", "[0,8]"), tensor("b", "BF16", "[3]", "[8,14]"));
        let mut bytes = file(&json, 14);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert!(header.tensors.iter().all(|tensor| tensor.range.end <= bytes.len() as u64));
        }
    }
}
