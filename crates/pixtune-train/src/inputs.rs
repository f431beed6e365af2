//! What of a model a run depends on, and whether the data was prepared for it.

use std::fs::{self, File};
use std::path::Path;

use pixtune_core::spec::{self, ModelSpec};
use pixtune_core::tokens::{Tokenizer, TokenizerVersion};
use pixtune_infer::ModelDirectory;
use pixtune_io::manifest::Manifest;
use pixtune_model::adapter::Adapter;

use crate::data::{DataError, DataFiles};
use crate::error::TrainError;
use crate::plan::Input;

/// The files of a model: configuration and tokenizer by hash, weights by name and size.
pub fn model_inputs(model: &ModelDirectory) -> Result<Vec<Input>, TrainError> {
    let checkpoint = model.checkpoint();
    let config = model.path().join(checkpoint.format().config_file());
    let text = fs::read(&config).map_err(|source| DataError::Read { path: config.clone(), source })?;
    let hash = blake3::hash(&text).to_hex().to_string();
    let mut inputs = vec![Input { path: name(&config), bytes: text.len() as u64, blake3: Some(hash) }];
    for file in checkpoint.files() {
        inputs.push(Input { path: name(file.path()), bytes: size(file.path()), blake3: None });
    }
    if let Some(file) = model.tokenizer() {
        let blake3 = Some(file.blake3.clone());
        inputs.push(Input { path: name(&file.path), bytes: size(&file.path), blake3 });
    }
    Ok(inputs)
}

/// The file with the tensors of the adapter that a run starts with.
pub fn adapter_input(adapter: &Adapter) -> Result<Input, TrainError> {
    let path = adapter.tensors().path();
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let mut hasher = blake3::Hasher::new();
    File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut hasher)).map_err(failed)?;
    let blake3 = Some(hasher.finalize().to_hex().to_string());
    Ok(Input { path: name(path), bytes: size(path), blake3 })
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// Refuses data that was prepared for a model that cuts images differently. Returns a warning where its token counts were
/// made with another tokenizer.
pub fn check_manifest(model: &ModelDirectory, files: &DataFiles) -> Result<Option<String>, TrainError> {
    let Some(manifest) = &files.manifest else { return Ok(None) };
    let path = &files.manifest_path;
    let here = ImageGrid::of(model.spec());
    let other_model =
        |prepared: String| TrainError::OtherModel { path: path.clone(), prepared, here: here.to_string() };
    let of_directory = manifest.model_images();
    let of_directory = of_directory.map(|[patch, merge, max_side]| ImageGrid { patch, merge, max_side });
    match of_directory.or_else(|| spec::find(manifest.model()).map(ImageGrid::of)) {
        None => Err(other_model(format!("`{}`", manifest.model()))),
        Some(prepared) if prepared != here => {
            Err(other_model(format!("{} ({prepared})", manifest.model())))
        }
        Some(_) => Ok(counted_otherwise(model, manifest).then(|| {
            format!(
                "the token counts in `{}` were made with another tokenizer than this model's and do not apply to it",
                path.display()
            )
        })),
    }
}

/// Whether tokens were counted with another tokenizer than the model's.
fn counted_otherwise(model: &ModelDirectory, manifest: &Manifest) -> bool {
    match (manifest.tokenizer(), model.tokenizer()) {
        (Some(prepared), Some(here)) => *prepared != here.blake3,
        (Some(_), None) => true,
        (None, _) => {
            let prepared = spec::find(manifest.model()).map_or(TokenizerVersion::V3, |spec| spec.tokenizer);
            let (here, there) = (model.vocabulary(), Tokenizer::built_in(prepared));
            here.version() != prepared || here.len() != there.len()
        }
    }
}

/// How a model cuts images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ImageGrid {
    patch: u32,
    merge: u32,
    max_side: u32,
}

impl ImageGrid {
    fn of(&ModelSpec { patch, merge, max_side, .. }: &ModelSpec) -> ImageGrid {
        ImageGrid { patch, merge, max_side }
    }
}

impl std::fmt::Display for ImageGrid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ImageGrid { patch, merge, max_side } = self;
        write!(f, "patches of {patch} pixels merged {merge}x{merge} and sides up to {max_side}")
    }
}
