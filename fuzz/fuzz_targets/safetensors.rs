//! A safetensors header: an accepted header covers its file exactly, and a new layout of its tensors reads back.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_model::weights::safetensors::{Header, Layout, TensorSpec};

fuzz_target!(|file: &[u8]| {
    let Ok(header) = Header::parse(file) else { return };
    let mut end = header.data_start;
    for tensor in &header.tensors {
        assert_eq!(tensor.range.start, end);
        let elements: usize = tensor.shape.iter().product();
        assert_eq!(tensor.bytes(), (elements * tensor.dtype.size()) as u64);
        end = tensor.range.end;
    }
    assert_eq!(end, file.len() as u64);
    let spec = |tensor: &pixtune_model::weights::safetensors::TensorInfo| TensorSpec {
        name: tensor.name.clone(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
    };
    let specs: Vec<TensorSpec> = header.tensors.iter().map(spec).collect();
    let layout = Layout::new(&specs).expect("names are distinct and sizes fit");
    let mut again = layout.head.clone();
    again.resize(layout.file_length() as usize, 0);
    assert_eq!(Header::parse(&again), Ok(layout.header));
});
