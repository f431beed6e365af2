//! manifest.json beside prepared data: whatever is in it, reading ends, and what was read can be asked about any file.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pixtune_train::data::Manifest;

fuzz_target!(|text: &str| {
    let Ok(manifest) = Manifest::parse(Path::new("data/manifest.json"), text) else { return };
    for (name, _) in &manifest.outputs {
        // A path through directories names no file of this one.
        if Path::new(name).file_name().is_some_and(|file| file == name.as_str()) {
            assert!(manifest.hash_of(&Path::new("data").join(name)).is_some());
        }
    }
});
