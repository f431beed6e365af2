//! A model directory: the checkpoint, how the model cuts images and lays out text, and its tokenizer.

use std::path::{Path, PathBuf};

use pixtune_core::spec::ModelSpec;
use pixtune_core::tokens::{ChatEncoder, Layout, Tokenizer, TokenizerVersion};
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
    /// The built-in tokenizer of this version.
    BuiltIn(TokenizerVersion),
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
        let tokenizer = Chosen::read(path, checkpoint.config(), tokenizer)?;
        let spec = ModelSpec { tokenizer: tokenizer.get().version(), ..checkpoint.config().spec() };
        let tokenizer = tokenizer.file();
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

    /// The tokenizer file; `None` for the built-in tokenizer.
    pub fn tokenizer(&self) -> Option<&TokenizerFile> {
        self.tokenizer.as_ref()
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Tokenizer {
        match &self.tokenizer {
            Some(file) => &file.tokenizer,
            None => Tokenizer::built_in(self.spec.tokenizer),
        }
    }

    /// Encodes conversations as servers do.
    pub fn encoder(&self) -> ChatEncoder<'_> {
        ChatEncoder { spec: &self.spec, tokenizer: self.vocabulary(), layout: Layout::MistralCommon }
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
    /// The version of the tokenizer.
    pub version: TokenizerVersion,
    /// The tokenizer file; `None` for the built-in tokenizer of the version.
    pub tokenizer: Option<TokenizerFile>,
}

impl ModelFiles {
    /// Reads the configuration of a model in either format, and its tokenizer.
    pub fn read(path: &Path, tokenizer: &TokenizerSource) -> Result<ModelFiles, ModelError> {
        let config = ModelConfig::read(path, format(path)?).map_err(WeightsError::from)?;
        let tokenizer = Chosen::read(path, &config, tokenizer)?;
        let version = tokenizer.get().version();
        Ok(ModelFiles { config, version, tokenizer: tokenizer.file() })
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

/// The tokenizer that was chosen for a model.
enum Chosen {
    BuiltIn(&'static Tokenizer),
    File(Box<TokenizerFile>),
}

impl Chosen {
    /// Reads the tokenizer; one that does not fit the model is an error.
    fn read(path: &Path, config: &ModelConfig, source: &TokenizerSource) -> Result<Chosen, ModelError> {
        let chosen = Chosen::find(path, config, source)?;
        chosen.check(path, config)?;
        Ok(chosen)
    }

    fn find(directory: &Path, config: &ModelConfig, source: &TokenizerSource) -> Result<Chosen, ModelError> {
        let beside = directory.join(TEKKEN);
        let path = match source {
            TokenizerSource::BuiltIn(version) => return Ok(Chosen::BuiltIn(Tokenizer::built_in(*version))),
            TokenizerSource::File(path) => path,
            _ if beside.exists() => &beside,
            TokenizerSource::DirectoryOrBuiltIn => {
                return match config.tokenizer_versions() {
                    [version] => Ok(Chosen::BuiltIn(Tokenizer::built_in(*version))),
                    versions => {
                        Err(ModelError::AmbiguousVersion { directory: directory.to_owned(), versions })
                    }
                };
            }
            TokenizerSource::Directory => {
                return Err(ModelError::NoTokenizer {
                    directory: directory.to_owned(),
                    has_tokenizer_json: directory.join("tokenizer.json").exists(),
                });
            }
        };
        Ok(Chosen::File(Box::new(TokenizerFile::read(path)?)))
    }

    fn get(&self) -> &Tokenizer {
        match self {
            Chosen::BuiltIn(tokenizer) => tokenizer,
            Chosen::File(file) => &file.tokenizer,
        }
    }

    fn file(self) -> Option<TokenizerFile> {
        match self {
            Chosen::BuiltIn(_) => None,
            Chosen::File(file) => Some(*file),
        }
    }

    /// The tokenizer, as a message names it.
    fn name(&self) -> String {
        match self {
            Chosen::File(file) => format!("`{}`", file.path.display()),
            Chosen::BuiltIn(tokenizer) => match tokenizer.version() {
                TokenizerVersion::V3 => "the built-in vocabulary of Pixtral 12B".to_owned(),
                version => format!("the built-in tokenizer {version}"),
            },
        }
    }

    fn check(&self, directory: &Path, config: &ModelConfig) -> Result<(), ModelError> {
        let (tokens, vocabulary) = (self.get().len(), config.text.vocab_size);
        let directory = || directory.to_owned();
        if tokens != vocabulary {
            let (directory, tokenizer) = (directory(), self.name());
            return Err(ModelError::VocabularySize { directory, tokenizer, tokens, vocabulary });
        }
        let (found, expected) = (self.get().version(), config.tokenizer_versions());
        if !expected.contains(&found) {
            let (directory, tokenizer) = (directory(), self.name());
            return Err(ModelError::Version { directory, tokenizer, found, expected });
        }
        let (found, expected) = (self.get().marks().image, config.image_token);
        if found != expected {
            let (directory, tokenizer) = (directory(), self.name());
            return Err(ModelError::ImageToken { directory, tokenizer, found, expected });
        }
        Ok(())
    }
}
