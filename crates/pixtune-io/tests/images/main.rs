//! Images against the reference, against truncation and against malice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod graphics;
mod hostile;
mod mutations;
mod reference;
mod structure;

use std::path::PathBuf;

/// The repository's fixtures.
fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/images")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).unwrap()
}

/// All image files among the fixtures, by name.
fn all_fixtures() -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|kind| kind != "md" && kind != "jsonl"))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), fixture(&name))).collect()
}
