//! The model of `--model`: a known name, or a model directory, as `train` takes it.

use std::path::{Path, PathBuf};

use pixtune_core::plan::ModelShape;
use pixtune_core::spec::{self, ModelSpec};
use pixtune_core::tokens::{Tokenizer, TokenizerVersion};
use pixtune_infer::{ModelFiles, TokenizerSource};
use pixtune_io::config::choose_model;
use pixtune_io::tokens::TokenizerFile;
use pixtune_model::weights::config::ModelConfig;

use crate::error::Error;

/// How images are divided, and what counts tokens. It lives as long as the process, which has one.
pub struct Model {
    /// How images are divided, and the model's limits.
    pub spec: &'static ModelSpec,
    /// The tokenizer file; `None` for the built-in tokenizer.
    pub tokenizer: Option<&'static TokenizerFile>,
    directory: Option<(PathBuf, ModelConfig)>,
}

impl Model {
    /// The model of a known name, or of a directory. `tokenizer` is a file, or the name of the model whose built-in
    /// tokenizer is meant.
    pub fn open(name: &str, tokenizer: Option<&Path>) -> Result<Model, Error> {
        Model::open_with(name, tokenizer, TokenizerSource::Directory)
    }

    /// The same for commands that have no option for the tokenizer: without a `tekken.json` in the directory, it is the
    /// built-in one, if the vocabulary has its size.
    pub fn open_without_option(name: &str) -> Result<Model, Error> {
        Model::open_with(name, None, TokenizerSource::DirectoryOrBuiltIn)
    }

    fn open_with(name: &str, tokenizer: Option<&Path>, otherwise: TokenizerSource) -> Result<Model, Error> {
        if !names_directory(name) {
            let spec = choose_model(name)?;
            let file = tokenizer_file(tokenizer, spec)?.map(|path| TokenizerFile::read_for(path, spec));
            let tokenizer = file.transpose()?.map(|file| &*Box::leak(Box::new(file)));
            return Ok(Model { spec, tokenizer, directory: None });
        }
        let path = Path::new(name);
        let ModelFiles { config, version, tokenizer } =
            ModelFiles::read(path, &source(tokenizer, otherwise))?;
        let id =
            path.canonicalize().ok().and_then(|path| path.file_name().map(std::ffi::OsStr::to_os_string));
        let id = id.map_or_else(|| name.to_owned(), |id| id.to_string_lossy().into_owned());
        let spec = ModelSpec { id: Box::leak(id.into_boxed_str()), tokenizer: version, ..config.spec() };
        Ok(Model {
            spec: Box::leak(Box::new(spec)),
            tokenizer: tokenizer.map(|file| &*Box::leak(Box::new(file))),
            directory: Some((path.to_owned(), config)),
        })
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &'static Tokenizer {
        self.tokenizer.map_or_else(|| Tokenizer::built_in(self.spec.tokenizer), |file| &file.tokenizer)
    }

    /// The model's directory, if it has one.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_ref().map(|(path, _)| path.as_path())
    }

    /// The sizes that the cost of training depends on.
    pub fn shape(&self) -> Option<ModelShape> {
        match &self.directory {
            None => ModelShape::of(self.spec).copied(),
            Some((path, config)) => Some(shape(self.spec, path, config)),
        }
    }
}

/// Where a tokenizer comes from that may be set with an option.
pub fn source(given: Option<&Path>, otherwise: TokenizerSource) -> TokenizerSource {
    match given {
        None => otherwise,
        Some(path) => match built_in(path) {
            Some(version) => TokenizerSource::BuiltIn(version),
            None => TokenizerSource::File(path.to_owned()),
        },
    }
}

/// The version of the built-in tokenizer that the name of a model stands for.
fn built_in(name: &Path) -> Option<TokenizerVersion> {
    name.to_str().and_then(spec::find).map(|spec| spec.tokenizer)
}

/// The file of a tokenizer that is set for a model with a name. The built-in tokenizer of another version is an error.
pub fn tokenizer_file<'p>(given: Option<&'p Path>, model: &ModelSpec) -> Result<Option<&'p Path>, Error> {
    let Some(path) = given else { return Ok(None) };
    match built_in(path) {
        None => Ok(Some(path)),
        Some(version) if version == model.tokenizer => Ok(None),
        Some(version) => Err(Error::argument(format!(
            "the tokenizer of {} has version {version}; that of {} has version {}",
            path.display(),
            model.id,
            model.tokenizer
        ))),
    }
}

/// Known names are names, wherever the command runs. Anything else is a directory if it exists, or looks like a path.
pub fn names_directory(name: &str) -> bool {
    spec::find(name).is_none() && (Path::new(name).exists() || name.contains(['/', '\\']))
}

fn shape(spec: &ModelSpec, path: &Path, config: &ModelConfig) -> ModelShape {
    let (text, vision) = (&config.text, &config.vision);
    let number = |size: usize| size as u64;
    let source = format!("the configuration in `{}`", path.display());
    ModelShape {
        id: spec.id,
        layers: number(text.layers),
        hidden: number(text.hidden_size),
        query: number(text.heads * text.head_dim),
        key: number(text.kv_heads * text.head_dim),
        head: number(text.head_dim),
        feed_forward: number(text.intermediate_size),
        vocabulary: number(text.vocab_size),
        tied: config.tied,
        vision: (number(vision.layers), number(vision.hidden_size), number(vision.intermediate_size)),
        patch: (number(vision.patch_size), number(config.projector.spatial_merge)),
        max_side: u64::from(spec.max_side),
        source: Box::leak(source.into_boxed_str()),
    }
}
