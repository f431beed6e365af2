//! manifest.json of prepared data: any content is parsed or rejected, and an accepted one can be queried for any file.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pixtune_io::manifest::Manifest;

fuzz_target!(|text: &str| {
    let Ok(manifest) = Manifest::parse(text) else { return };
    for name in manifest.outputs.iter().map(|output| &output.path) {
        // A path with directories does not name a file of this directory.
        if Path::new(name).file_name().is_some_and(|file| file == name.as_str()) {
            assert!(manifest.output(&Path::new("data").join(name)).is_some());
        }
    }
});
