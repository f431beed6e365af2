//! Compiled kernels in the user's cache directory, so that a program compiles them once per machine.
//!
//! The name of a file is the hash of all that its contents depend on. Files are written whole. A cache that cannot be read or
//! written is not used: the kernels are compiled again, which takes seconds.

use std::fs;
use std::path::PathBuf;

use super::compile;
use crate::source::{HEADERS, Module};

/// The name of the compiled module.
pub(super) fn key(module: &Module, architecture: &str, version: (i32, i32)) -> String {
    let mut hash = blake3::Hasher::new();
    let mut add = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    add(module.text);
    HEADERS.iter().for_each(|(name, text)| {
        add(name);
        add(text);
    });
    compile::options(module, architecture).iter().for_each(|option| add(option));
    add(&format!("{version:?}"));
    format!("{}-{architecture}-{}.cubin", module.name, &hash.finalize().to_hex()[..32])
}

/// `kernels` in the program's cache directory, which is in `XDG_CACHE_HOME`, or in `~/.cache`.
fn directory() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    Some(base.join("pixtune").join("kernels"))
}

pub(super) fn read(key: &str) -> Option<Vec<u8>> {
    fs::read(directory()?.join(key)).ok()
}

pub(super) fn write(key: &str, cubin: &[u8]) {
    let Some(directory) = directory() else { return };
    if fs::create_dir_all(&directory).is_ok() {
        let _ = pixtune_files::write(&directory.join(key), cubin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MODULES;

    #[test]
    fn keys_differ_by_source_options_and_compiler() {
        let [first, second] = [&MODULES[0], &MODULES[1]];
        let keys = [
            key(first, "sm_80", (13, 0)),
            key(second, "sm_80", (13, 0)),
            key(first, "sm_90", (13, 0)),
            key(first, "sm_80", (12, 9)),
            key(&Module { text: "other", ..*first }, "sm_80", (13, 0)),
            key(&Module { defines: &["HEAD_16"], ..*first }, "sm_80", (13, 0)),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(keys[index + 1..].iter().all(|other| other != one), "{one}");
        }
        assert_eq!(keys[0], key(first, "sm_80", (13, 0)));
    }
}
