//! The base models that this server trains and answers with.

use std::path::{Path, PathBuf};

use pixtune_core::text::counted;
use pixtune_infer::{ModelError, ModelFiles, TokenizerSource};

use crate::sample_rules::SampleRules;

/// A base model.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseModel {
    /// Its name in the API: that of its directory, unless the user gave it one.
    pub id: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// Its directory.
    pub path: PathBuf,
    /// What it is, for people.
    pub description: String,
    /// The longest conversation, in tokens.
    pub context: usize,
    /// The learning rate that its size suggests.
    pub learning_rate: f64,
    /// Which samples it is trained on.
    pub rules: SampleRules,
}

impl BaseModel {
    /// What is known of a base that is not available any more.
    pub fn gone(id: &str) -> BaseModel {
        let description = "not available on this server".to_owned();
        BaseModel {
            id: id.to_owned(),
            aliases: Vec::new(),
            path: PathBuf::new(),
            description,
            context: 0,
            learning_rate: 0.0,
            rules: SampleRules::default(),
        }
    }
}

/// Why the models of a server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A directory is not a model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Two models have the same name.
    #[error("two models are called `{0}`: name one with `--models NAME=DIR`")]
    Duplicate(String),
    /// An alias is of no model.
    #[error("the alias `{alias}` is of `{model}`, which is not a model of this server")]
    Alias {
        /// The alias.
        alias: String,
        /// What it is to stand for.
        model: String,
    },
    /// A name has characters that an id cannot have.
    #[error("`{0}` is not a name for a model: letters, digits, `-`, `_` and `.` are allowed")]
    Name(String),
}

/// Every base model.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    models: Vec<BaseModel>,
}

/// Names of Pixtral 12B at Mistral, which scripts use.
const PIXTRAL_12B: [&str; 4] =
    ["pixtral-12b", "pixtral-12b-2409", "pixtral-12b-latest", "mistralai/Pixtral-12B-2409"];

impl Catalog {
    /// Opens directories, each perhaps with a name, and gives them aliases.
    pub fn open(
        models: &[(Option<String>, PathBuf)],
        aliases: &[(String, String)],
    ) -> Result<Catalog, CatalogError> {
        let mut catalog = Catalog::default();
        for (name, path) in models {
            let model = open(name.as_deref(), path)?;
            if catalog.find(&model.id).is_some() {
                return Err(CatalogError::Duplicate(model.id));
            }
            catalog.models.push(model);
        }
        for (alias, of) in aliases {
            let known = catalog.models.iter_mut().find(|model| model.id == *of);
            let model =
                known.ok_or_else(|| CatalogError::Alias { alias: alias.clone(), model: of.clone() })?;
            model.aliases.push(alias.clone());
        }
        Ok(catalog)
    }

    /// The model with this name.
    pub fn find(&self, name: &str) -> Option<&BaseModel> {
        self.models.iter().find(|model| model.id == name || model.aliases.iter().any(|alias| alias == name))
    }

    /// Every model.
    pub fn models(&self) -> &[BaseModel] {
        &self.models
    }

    /// The different rules of the models; those of Pixtral 12B without models.
    pub fn rules(&self) -> Vec<SampleRules> {
        let mut rules: Vec<SampleRules> = Vec::new();
        for model in &self.models {
            if !rules.contains(&model.rules) {
                rules.push(model.rules);
            }
        }
        if rules.is_empty() { vec![SampleRules::default()] } else { rules }
    }

    /// Every name.
    pub fn names(&self) -> Vec<String> {
        self.models.iter().flat_map(|model| [&model.id].into_iter().chain(&model.aliases)).cloned().collect()
    }
}

fn open(name: Option<&str>, path: &Path) -> Result<BaseModel, CatalogError> {
    let files = ModelFiles::read(path, &TokenizerSource::DirectoryOrBuiltIn)?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let id = match name {
        Some(name) => name.to_owned(),
        None => path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
    };
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(CatalogError::Name(id));
    }
    let config = &files.config;
    let weights = config.decoder_linear_weights();
    // The directory of a Pixtral 12B answers to the names that scripts use for it.
    let is_pixtral_12b =
        config.text.hidden_size == 5120 && config.text.layers == 40 && config.text.vocab_size == 131_072;
    let aliases =
        PIXTRAL_12B.iter().filter(|alias| is_pixtral_12b && **alias != id).map(|alias| (*alias).to_owned());
    let layers = counted(config.text.layers as u64, "layer");
    let description = format!("{layers} of width {}", config.text.hidden_size);
    Ok(BaseModel {
        aliases: aliases.collect(),
        description,
        context: config.text.max_positions.unwrap_or(config.spec().context),
        learning_rate: pixtune_core::plan::defaults::learning_rate(weights),
        rules: SampleRules::new(&config.spec(), files.version),
        id,
        path,
    })
}
