//! A model directory: the checkpoint, how the model cuts images and lays out text, and its tokenizer.

use std::path::{Path, PathBuf};

use pixtune_core::spec::ModelSpec;
use pixtune_core::tokens::{ChatEncoder, Layout, Tekken};
use pixtune_io::tokens::TokenizerFile;
use pixtune_model::network::ModelShape;
use pixtune_model::weights::config::ModelConfig;
use pixtune_model::weights::{Checkpoint, Format, WeightsError};

use crate::error::ModelError;

/// The file that holds a vocabulary in a model directory.
const TEKKEN: &str = "tekken.json";

/// Where the tokenizer of a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSource {
    /// `tekken.json` in the model directory.
    Directory,
    /// `tekken.json` in the model directory; without one, the built-in vocabulary.
    DirectoryOrBuiltIn,
    /// The built-in vocabulary of Pixtral 12B.
    BuiltIn,
    /// This file.
    File(PathBuf),
}

/// A model that the network supports, with a tokenizer that fits it. Opening one reads headers and configuration; the
/// weights are mapped into memory when a network is made of them.
#[derive(Debug)]
pub struct ModelDirectory {
    path: PathBuf,
    checkpoint: Checkpoint,
    spec: ModelSpec,
    tokenizer: Option<TokenizerFile>,
}

impl ModelDirectory {
    /// Opens a checkpoint in either format and its tokenizer.
    pub fn open(path: &Path, tokenizer: &TokenizerSource) -> Result<ModelDirectory, ModelError> {
        let checkpoint = Checkpoint::open(path)?;
        ModelShape::new(checkpoint.config())?;
        let spec = checkpoint.config().spec();
        let tokenizer = read_tokenizer(path, tokenizer)?;
        check_tokenizer(path, checkpoint.config(), tokenizer.as_ref())?;
        Ok(ModelDirectory { path: path.to_owned(), checkpoint, spec, tokenizer })
    }

    /// Where it is, as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The weights and their configuration.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// How the model cuts images and how much it reads.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The tokenizer file; `None` for the built-in vocabulary.
    pub fn tokenizer(&self) -> Option<&TokenizerFile> {
        self.tokenizer.as_ref()
    }

    /// The vocabulary.
    pub fn tekken(&self) -> &Tekken {
        self.tokenizer.as_ref().map_or_else(|| Tekken::embedded(), |file| &file.tekken)
    }

    /// Encodes conversations as servers do.
    pub fn encoder(&self) -> ChatEncoder<'_> {
        ChatEncoder { spec: &self.spec, tekken: self.tekken(), layout: Layout::MistralCommon }
    }

    /// Tokens the network has positions for, where the configuration limits them. The context that the model was trained
    /// for ([`ModelSpec::context`]) may be shorter.
    pub fn max_tokens(&self) -> usize {
        self.checkpoint.config().text.max_positions.unwrap_or(self.spec.context)
    }
}

/// What data is prepared with: the configuration and the tokenizer of a model directory. It needs no weights.
#[derive(Debug)]
pub struct ModelFiles {
    /// The configuration.
    pub config: ModelConfig,
    /// The tokenizer file; `None` for the built-in vocabulary.
    pub tokenizer: Option<TokenizerFile>,
}

impl ModelFiles {
    /// Reads the configuration of a model in either format, and its tokenizer.
    pub fn read(path: &Path, tokenizer: &TokenizerSource) -> Result<ModelFiles, ModelError> {
        let config = ModelConfig::read(path, format(path)?).map_err(WeightsError::from)?;
        let tokenizer = read_tokenizer(path, tokenizer)?;
        check_tokenizer(path, &config, tokenizer.as_ref())?;
        Ok(ModelFiles { config, tokenizer })
    }
}

/// The format of the weights; without weights, that of the configuration.
fn format(path: &Path) -> Result<Format, WeightsError> {
    let formats = Checkpoint::formats(path)?.into_iter().chain([Format::Hf, Format::Mistral]);
    match formats.into_iter().find(|format| path.join(format.config_file()).is_file()) {
        Some(format) => Ok(format),
        None => Checkpoint::open(path).map(|checkpoint| checkpoint.format()),
    }
}

fn check_tokenizer(
    path: &Path,
    config: &ModelConfig,
    file: Option<&TokenizerFile>,
) -> Result<(), ModelError> {
    let tekken = match file {
        Some(file) => &file.tekken,
        None => Tekken::embedded(),
    };
    let (tokens, vocabulary) = (tekken.len(), config.text.vocab_size);
    let tokenizer = || match file {
        Some(file) => format!("`{}`", file.path.display()),
        None => "the built-in vocabulary of Pixtral 12B".to_owned(),
    };
    let directory = || path.to_owned();
    if tokens != vocabulary {
        let (directory, tokenizer) = (directory(), tokenizer());
        return Err(ModelError::VocabularySize { directory, tokenizer, tokens, vocabulary });
    }
    let (found, expected) = (tekken.marks().image, config.image_token);
    if found != expected {
        let (directory, tokenizer) = (directory(), tokenizer());
        return Err(ModelError::ImageToken { directory, tokenizer, found, expected });
    }
    Ok(())
}

fn read_tokenizer(directory: &Path, source: &TokenizerSource) -> Result<Option<TokenizerFile>, ModelError> {
    let beside = directory.join(TEKKEN);
    let path = match source {
        TokenizerSource::BuiltIn => return Ok(None),
        TokenizerSource::File(path) => path,
        _ if beside.exists() => &beside,
        TokenizerSource::DirectoryOrBuiltIn => return Ok(None),
        TokenizerSource::Directory => {
            return Err(ModelError::NoTokenizer {
                directory: directory.to_owned(),
                has_tokenizer_json: directory.join("tokenizer.json").exists(),
            });
        }
    };
    Ok(Some(TokenizerFile::read(path)?))
}
