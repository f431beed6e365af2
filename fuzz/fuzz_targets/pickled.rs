//! Files of torch.save: any bytes are read or rejected, and an accepted tensor is a range of the file with its size.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pixtune_model::weights::pickled;

fuzz_target!(|data: &[u8]| {
    let read_at = |buffer: &mut [u8], offset: u64| -> std::io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let bytes = data.get(start..end).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    };
    let Ok(tensors) = pickled::read(data.len() as u64, &read_at) else { return };
    let mut names = std::collections::HashSet::new();
    for tensor in &tensors {
        let info = &tensor.info;
        assert!(names.insert(&info.name));
        assert!(info.range.start <= info.range.end && info.range.end <= data.len() as u64);
        let elements: u64 = info.shape.iter().map(|side| *side as u64).product();
        assert_eq!(info.bytes(), elements * info.dtype.size() as u64);
        assert!(!tensor.transposed || info.shape.len() == 2);
    }
});
