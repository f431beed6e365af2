//! The model of a run: its checkpoint as the network reads it, its tokenizer, and whether the data was prepared for it.

use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::spec::{self, ModelSpec, PIXTRAL_12B};
use pixtune_core::tokens::{ChatEncoder, Layout, Tekken};
use pixtune_io::tokens::TokenizerFile;
use pixtune_model::weights::{Checkpoint, Family, ModelConfig};

use crate::data::Manifest;
use crate::error::TrainError;
use crate::settings::Input;

/// Which tokenizer is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// `tekken.json` in the model's directory.
    Beside,
    /// The vocabulary of Pixtral 12B that is built in.
    BuiltIn,
    /// This file.
    File(PathBuf),
}

/// A model that can be trained with a tokenizer that fits it.
#[derive(Debug)]
pub struct Model {
    directory: PathBuf,
    checkpoint: Checkpoint,
    spec: ModelSpec,
    tokenizer: Option<TokenizerFile>,
}

impl Model {
    /// Opens a checkpoint in either format and finds its tokenizer. Nothing large is read yet.
    pub fn open(directory: &Path, choice: &Choice) -> Result<Model, TrainError> {
        let checkpoint = Checkpoint::open(directory)?;
        let config = checkpoint.config();
        let spec = spec_of(config)?;
        let tokenizer = match choice {
            Choice::BuiltIn => None,
            Choice::File(path) => Some(TokenizerFile::read(path)?),
            Choice::Beside => Some(beside(directory)?),
        };
        let model = Model { directory: directory.to_owned(), checkpoint, spec, tokenizer };
        model.check_tokenizer()?;
        Ok(model)
    }

    /// What makes ids of conversations, as they are served.
    pub fn encoder(&self) -> ChatEncoder<'_> {
        ChatEncoder { spec: &self.spec, tekken: self.tekken(), layout: Layout::MistralCommon }
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The tokenizer file, where it is not the built-in vocabulary.
    pub fn tokenizer(&self) -> Option<&TokenizerFile> {
        self.tokenizer.as_ref()
    }

    /// The vocabulary.
    pub fn tekken(&self) -> &Tekken {
        self.tokenizer.as_ref().map_or_else(|| Tekken::embedded(), |file| &file.tekken)
    }

    /// What of the model a run depends on: its weights by name and size, its configuration and tokenizer by hash.
    pub fn inputs(&self) -> Result<Vec<Input>, TrainError> {
        let mut inputs = Vec::new();
        let config = self.directory.join(self.checkpoint.format().config_file());
        let text = fs::read(&config)
            .map_err(|source| crate::data::DataError::Read { path: config.clone(), source })?;
        let hash = |bytes: &[u8]| Some(blake3::hash(bytes).to_hex().to_string());
        inputs.push(Input { path: name(&config), bytes: text.len() as u64, blake3: hash(&text) });
        for file in self.checkpoint.files() {
            let bytes = file.path().metadata().map_or(0, |about| about.len());
            inputs.push(Input { path: name(file.path()), bytes, blake3: None });
        }
        if let Some(TokenizerFile { path, blake3, .. }) = &self.tokenizer {
            let bytes = path.metadata().map_or(0, |about| about.len());
            inputs.push(Input { path: name(path), bytes, blake3: Some(blake3.clone()) });
        }
        Ok(inputs)
    }

    fn check_tokenizer(&self) -> Result<(), TrainError> {
        let (tekken, config) = (self.tekken(), self.checkpoint.config());
        let refuse =
            |reason: String| Err(TrainError::Tokenizer { directory: self.directory.clone(), reason });
        if tekken.len() != config.text.vocab_size {
            return refuse(format!(
                "the tokenizer has {} tokens, the model {}",
                tekken.len(),
                config.text.vocab_size
            ));
        }
        let image = tekken.marks().image;
        if image != config.image_token {
            return refuse(format!(
                "its [IMG] is {image}, the model's image token is {}",
                config.image_token
            ));
        }
        Ok(())
    }

    /// Refuses data that was prepared for a model that cuts images otherwise; what is only worth knowing is returned.
    pub fn check_manifest(&self, manifest: &Manifest) -> Result<Option<String>, TrainError> {
        let cut = |spec: &ModelSpec| (spec.patch, spec.merge, spec.max_side);
        let told = |(patch, merge, side): (u32, u32, u32)| {
            format!("patches of {patch} pixels merged {merge}x{merge} and sides up to {side}")
        };
        let here = cut(&self.spec);
        let other = |prepared: String| TrainError::OtherModel {
            path: manifest.path.clone(),
            prepared,
            here: told(here),
        };
        match spec::find(&manifest.model) {
            None => Err(other(format!("`{}`", manifest.model))),
            Some(spec) if cut(spec) != here => Err(other(format!("{} ({})", spec.id, told(cut(spec))))),
            Some(_) => Ok(self.other_tokenizer(manifest)),
        }
    }

    fn other_tokenizer(&self, manifest: &Manifest) -> Option<String> {
        let here = self.tokenizer.as_ref().map(|file| &file.blake3);
        let differs = match (&manifest.tokenizer, here) {
            (Some(prepared), Some(here)) => prepared != here,
            (Some(_), None) => true,
            (None, _) => self.tekken().len() != Tekken::embedded().len(),
        };
        let text = "was counted with another tokenizer than this model's; its token counts do not hold here";
        differs.then(|| format!("`{}` {text}", manifest.path.display()))
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn beside(directory: &Path) -> Result<TokenizerFile, TrainError> {
    let path = directory.join("tekken.json");
    if !path.exists() {
        let reason = match directory.join("tokenizer.json").exists() {
            true => "there is no tekken.json; tokenizer.json does not say how images and tools are laid out",
            false => "there is no tekken.json",
        };
        return Err(TrainError::Tokenizer { directory: directory.to_owned(), reason: reason.to_owned() });
    }
    Ok(TokenizerFile::read(&path)?)
}

fn spec_of(config: &ModelConfig) -> Result<ModelSpec, TrainError> {
    if config.family != Family::Pixtral || config.projector.spatial_merge != 1 {
        let reason = "only the Pixtral layout can be trained so far, without merging of patches".to_owned();
        return Err(TrainError::Setting { reason });
    }
    let whole = |number: usize, what: &str| {
        u32::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| TrainError::Setting { reason: format!("the configuration's {what} is {number}") })
    };
    Ok(ModelSpec {
        patch: whole(config.vision.patch_size, "patch_size")?,
        max_side: whole(config.vision.image_size, "image_size")?,
        context: PIXTRAL_12B.context.min(config.text.max_positions.unwrap_or(usize::MAX)),
        ..PIXTRAL_12B
    })
}
