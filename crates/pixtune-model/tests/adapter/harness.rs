//! Conversions and merges into directories of their own, and what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};
use pixtune_files::Existing;
use pixtune_model::adapter::{Adapter, AdapterError, Conversion, ConversionReport, Dialect, Merge};
use pixtune_model::weights::convert::{Options, Report};
use pixtune_model::weights::dtype::to_f32;
use pixtune_model::weights::{Checkpoint, Dtype, Format};
use sha2::{Digest as _, Sha256};

use super::support::{fixture, read};

/// Directories that go away with the test.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes an adapter in another dialect to `name`.
    pub fn convert(
        &self,
        source: &Path,
        to: Dialect,
        name: &str,
        dtype: Option<Dtype>,
    ) -> Result<ConversionReport, AdapterError> {
        let base = Checkpoint::open(&fixture("hf_bf16")).unwrap();
        let adapter = Adapter::open(source, None)?;
        Conversion::new(&adapter, &base, to, &self.path(name), dtype, Existing::Keep)?.run()
    }

    /// Merges an adapter into a base of the fixture, to `name`.
    pub fn merge(
        &self,
        base: &str,
        adapter: &Path,
        to: Format,
        dtype: Option<Dtype>,
        name: &str,
    ) -> Result<Report, AdapterError> {
        self.merge_from(&fixture(base), None, adapter, to, dtype, name)
    }

    /// Merges an adapter into a base anywhere, or into its original.
    pub fn merge_from(
        &self,
        base: &Path,
        original: Option<&Path>,
        adapter: &Path,
        to: Format,
        dtype: Option<Dtype>,
        name: &str,
    ) -> Result<Report, AdapterError> {
        let adapter = Adapter::open(adapter, None)?;
        let base_files = original.map(Path::to_owned);
        let options = Options { base: base_files, dtype, ..Options::new(base, self.path(name), to) };
        Merge::new(&adapter, options)?.run(&mut |_| {})
    }
}

/// Bytes of every tensor of a file.
pub fn tensors(path: &Path) -> BTreeMap<String, Vec<u8>> {
    read(path).into_iter().map(|stored| (stored.spec.name, stored.bytes)).collect()
}

/// Values of every tensor of a file.
pub fn values(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let value = |stored: super::support::Stored| {
        (stored.spec.name.clone(), to_f32(stored.spec.dtype, &stored.bytes).unwrap())
    };
    read(path).into_iter().map(value).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A JSON file.
pub fn json_file(path: &Path) -> Value<'static> {
    json::parse(&fs::read_to_string(path).unwrap()).unwrap().value.into_owned()
}

/// Hashes of the fixture: `merged_f32_hf_sha256/all`.
pub fn hashes(pointer: &str) -> BTreeMap<String, String> {
    let meta = json_file(&fixture("meta.json"));
    let found = pointer.split('/').fold(&meta, |value, step| value.get(step).unwrap());
    found
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, hash)| (name.to_string(), hash.as_str().unwrap().to_owned()))
        .collect()
}

/// Whole text of an error, with its causes.
pub fn text(error: &AdapterError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}
