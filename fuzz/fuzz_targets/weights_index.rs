//! The index of a sharded checkpoint: it names only files of its own directory.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pixtune_core::json;
use pixtune_model::weights::parse_index;

fuzz_target!(|text: &str| {
    let Ok(parsed) = json::parse(text) else { return };
    let directory = Path::new("directory");
    let Ok(files) = parse_index(&directory.join("model.safetensors.index.json"), &parsed.value) else {
        return;
    };
    for file in files.values() {
        let path = directory.join(file);
        assert_eq!(path.parent(), Some(directory));
        assert!(file.ends_with(".safetensors") && !file.contains(['/', '\\', '\0', ':']));
    }
});
