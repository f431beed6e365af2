//! The adapter in the output of a training run.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Listing, Wanted};

/// The adapter in the output of a run that has none in its own directory: that of `pixtune train`, the newest checkpoint of a
/// trainer, or the newest checkpoint of the newest version, as ms-swift names them (`v0-20261129-101500`).
pub fn adapter_of_run(directory: &Path) -> Option<PathBuf> {
    if Listing::of(directory).has(Wanted::Adapter) {
        return None;
    }
    let own = directory.join("adapter");
    let found = if Listing::of(&own).has(Wanted::Adapter) { Some(own) } else { newest_checkpoint(directory) };
    found.or_else(|| newest_checkpoint(&newest_version(directory)?))
}

fn newest_checkpoint(directory: &Path) -> Option<PathBuf> {
    let newest = directory.join(Listing::of(directory).newest(".", "checkpoint-")?);
    Listing::of(&newest).has(Wanted::Adapter).then_some(newest)
}

fn newest_version(directory: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(directory).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix('v')?.split('-').next()?.parse::<u64>().ok()?;
        Some((number, entry.path()))
    });
    versions.max().map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_newest_checkpoint() {
        let run = tempfile::tempdir().unwrap();
        let path = |name: &str| run.path().join(name);
        assert_eq!(adapter_of_run(run.path()), None);
        for name in ["v0-20261129/checkpoint-9", "v10-20261130/checkpoint-10", "v9-20261129/checkpoint-70"] {
            fs::create_dir_all(path(name)).unwrap();
            fs::write(path(name).join("adapter_model.safetensors"), "").unwrap();
        }
        assert_eq!(adapter_of_run(run.path()), Some(path("v10-20261130/checkpoint-10")));
        for name in ["checkpoint-2", "checkpoint-10"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("adapter_model.safetensors"), "").unwrap();
        }
        assert_eq!(adapter_of_run(run.path()), Some(path("checkpoint-10")));
        fs::write(path("adapter_model.safetensors"), "").unwrap();
        assert_eq!(adapter_of_run(run.path()), None);
    }
}
