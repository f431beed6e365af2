//! A GGUF header: it is read without a panic, and its list of tensors fits into the file.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_model::gguf::Header;

fuzz_target!(|file: &[u8]| {
    let Ok(header) = Header::parse(file, file.len() as u64) else { return };
    assert!(header.data_start <= file.len() as u64);
    // A tensor has at least 24 bytes in the list, a key 13.
    assert!(header.tensors.len() * 24 + header.metadata.len() * 13 <= file.len());
    // As texts: a number may be NaN, which is not equal to itself.
    let again = Header::parse(file, file.len() as u64);
    assert_eq!(format!("{:?}", again.ok()), format!("{:?}", Some(header)));
});
