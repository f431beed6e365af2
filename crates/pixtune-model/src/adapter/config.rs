//! adapter_config.json, read strictly: what changes an adapter's meaning is a type, a refusal or neutral, never ignored.

use pixtune_core::json::{self, Value};

use super::config_keys::{CHANGES_COMPUTATION, DIALECT_KEY, NEUTRAL, READ};
use super::pattern::{Pattern, PatternError, first_match};
use super::targets::{LayerChoice, Targets};

/// Real files have a few kilobytes; one that lists every module of a large model twice has a few hundred.
pub const MAX_BYTES: u64 = 8 << 20;

/// More patterns are refused: a large model has under a thousand linear layers.
const MAX_PATTERNS: usize = 20_000;

/// peft refuses no rank; a rank above a layer's width is never useful, and this is far above every width.
const MAX_RANK: u32 = 1 << 20;

/// Why adapter_config.json cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant")]
pub enum ConfigError {
    #[error("it is not JSON: {source}")]
    Syntax { source: json::SyntaxError },
    #[error("it is {found}, not an object")]
    NotObject { found: &'static str },
    #[error("`{key}` is there twice")]
    Duplicate { key: String },
    #[error("`peft_type` is {found}; only \"LORA\" is supported")]
    PeftType { found: String },
    #[error("`{key}` is missing")]
    Missing { key: &'static str },
    #[error("`{key}` is {found}, not {wanted}")]
    Type { key: String, found: String, wanted: &'static str },
    #[error("`{key}` is {rank}; a rank is at least 1 and at most {MAX_RANK}")]
    Rank { key: String, rank: String },
    #[error("`{key}` has {found} patterns; {MAX_PATTERNS} are the limit")]
    TooManyPatterns { key: &'static str, found: usize },
    #[error("in `{key}`, {source}")]
    Pattern { key: &'static str, source: PatternError },
}

/// The settings of a LoRA adapter.
#[derive(Debug, Clone)]
pub struct AdapterConfig {
    /// The rank of modules without one of their own.
    pub rank: u32,
    /// The numerator of the scaling of modules without one of their own.
    pub alpha: f64,
    /// Whether the scaling is alpha/√rank (rsLoRA) instead of alpha/rank.
    pub rank_stabilized: bool,
    /// Ranks of modules that match, the first match counts.
    pub rank_pattern: Vec<(Pattern, u32)>,
    /// Alphas of modules that match, the first match counts.
    pub alpha_pattern: Vec<(Pattern, f64)>,
    /// Which modules peft puts LoRA into when it loads this.
    pub targets: Targets,
    /// Modules that are left out although they match.
    pub exclude: Targets,
    /// Which layers `targets` is limited to.
    pub layers: Option<LayerChoice>,
    /// Modules trained in full and stored whole.
    pub modules_to_save: Vec<String>,
    /// Which biases were trained: `none`, `all` or `lora_only`.
    pub bias: String,
    /// Whether rows are renormalized (DoRA).
    pub dora: bool,
    /// `init_lora_weights` as text: `true`, `false` or the name of a method.
    pub initialization: String,
    /// Tokens whose rows were trained (`trainable_token_indices`), by the end of a module's path.
    pub token_indices: Vec<(String, Vec<usize>)>,
    /// What else changes the computation, by the key that turns it on: this program does not compute it.
    pub unsupported: Vec<String>,
    /// Keys unknown to peft 0.21.2 that have a value: they could mean anything.
    pub unknown: Vec<String>,
    /// The dialect that pixtune stored, if it cannot be detected from names.
    pub noted_dialect: Option<String>,
    /// The base model's name, for messages and model cards.
    pub base_model: Option<String>,
    /// The base model's revision.
    pub revision: Option<String>,
    /// peft's task, usually `CAUSAL_LM`.
    pub task_type: Option<String>,
    /// Dropout in training; none at inference.
    pub dropout: f64,
}

impl AdapterConfig {
    /// The configuration in a file's text.
    pub fn parse(text: &str) -> Result<AdapterConfig, ConfigError> {
        let parsed = json::parse(text).map_err(|source| ConfigError::Syntax { source })?.value;
        let fields = Fields::of(&parsed)?;
        fields.check_peft_type()?;
        let (unsupported, unknown) = fields.unsupported_and_unknown();
        Ok(AdapterConfig {
            rank: fields.rank("r")?.ok_or(ConfigError::Missing { key: "r" })?,
            alpha: fields.number("lora_alpha")?.ok_or(ConfigError::Missing { key: "lora_alpha" })?,
            rank_stabilized: fields.flag("use_rslora")?,
            rank_pattern: fields.patterns("rank_pattern", rank)?,
            alpha_pattern: fields.patterns("alpha_pattern", number)?,
            targets: fields.targets("target_modules")?,
            exclude: fields.targets("exclude_modules")?,
            layers: fields.layers()?,
            modules_to_save: fields.names("modules_to_save")?.unwrap_or_default(),
            bias: fields.text("bias")?.unwrap_or_else(|| "none".to_owned()),
            dora: fields.flag("use_dora")?,
            initialization: fields.initialization()?,
            token_indices: fields.token_indices()?,
            unsupported,
            unknown,
            noted_dialect: fields.text(DIALECT_KEY)?,
            base_model: fields.text("base_model_name_or_path")?,
            revision: fields.text("revision")?,
            task_type: fields.text("task_type")?,
            dropout: fields.number("lora_dropout")?.unwrap_or(0.0),
        })
    }

    /// The rank peft gives a module; its path as this adapter's names have it.
    pub fn rank_of(&self, path: &str) -> u32 {
        first_match(&self.rank_pattern, path).copied().unwrap_or(self.rank)
    }

    /// The alpha peft gives a module.
    pub fn alpha_of(&self, path: &str) -> f64 {
        first_match(&self.alpha_pattern, path).copied().unwrap_or(self.alpha)
    }

    /// What B·A is multiplied with in a module (peft 0.21.2 `tuners/lora/layer.py` `update_layer`).
    pub fn scaling_of(&self, path: &str) -> f64 {
        let (alpha, rank) = (self.alpha_of(path), f64::from(self.rank_of(path)));
        if self.rank_stabilized { alpha / rank.sqrt() } else { alpha / rank }
    }

    /// Tokens whose rows of the module at this path were trained.
    pub fn tokens_of(&self, path: &str) -> Option<&[usize]> {
        let ends =
            |name: &str| path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        self.token_indices.iter().find(|(name, _)| ends(name)).map(|(_, tokens)| tokens.as_slice())
    }

    /// Whether peft changes the base's weights when it loads an adapter with this initialization, so that B·A alone does
    /// not say what was trained (peft 0.21.2 `tuners/lora/layer.py`: `pissa_init`, `olora_init`, `corda_init`,
    /// `loftq_init`, `lora_ga_init`).
    pub fn initialization_changes_base(&self) -> bool {
        let name = self.initialization.to_lowercase();
        ["pissa", "corda", "olora", "loftq", "lora_ga"].iter().any(|method| name.starts_with(method))
    }

    /// Whether peft puts LoRA into the module at this path.
    pub fn targets(&self, path: &str) -> bool {
        let excluded = self.exclude.matches(path, None);
        let saved = self.modules_to_save.iter().any(|module| saves(module, path));
        !excluded && !saved && self.targets.matches(path, self.layers.as_ref())
    }
}

/// Whether an entry of `modules_to_save` names a module or what contains it: a suffix of its path, or of a parent's.
pub fn saves(entry: &str, path: &str) -> bool {
    Pattern::tail(entry).is_ok_and(|pattern| {
        let parents = path.match_indices('.').map(|(end, _)| &path[..end]);
        parents.chain([path]).any(|path| pattern.matches(path))
    })
}

/// The members of the file, each key once.
struct Fields<'v> {
    value: &'v Value<'v>,
}

impl<'v> Fields<'v> {
    fn of(value: &'v Value<'v>) -> Result<Fields<'v>, ConfigError> {
        let members = value.as_object().ok_or(ConfigError::NotObject { found: value.kind() })?;
        let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ConfigError::Duplicate { key: pair[0].to_owned() }),
            None => Ok(Fields { value }),
        }
    }

    /// The value of a key that is there and not null.
    fn get(&self, key: &str) -> Option<&'v Value<'v>> {
        self.value.get(key).filter(|value| **value != Value::Null)
    }

    fn check_peft_type(&self) -> Result<(), ConfigError> {
        match self.get("peft_type") {
            Some(Value::String(kind)) if kind == "LORA" => Ok(()),
            None => Err(ConfigError::Missing { key: "peft_type" }),
            Some(other) => Err(ConfigError::PeftType { found: shown(other) }),
        }
    }

    fn flag(&self, key: &'static str) -> Result<bool, ConfigError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(wrong_type(key, other, "true or false")),
        }
    }

    fn text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.to_string())),
            Some(other) => Err(wrong_type(key, other, "a string")),
        }
    }

    fn number(&self, key: &'static str) -> Result<Option<f64>, ConfigError> {
        self.get(key).map(|value| number(key, value)).transpose()
    }

    fn rank(&self, key: &'static str) -> Result<Option<u32>, ConfigError> {
        self.get(key).map(|value| rank(key, value)).transpose()
    }

    fn names(&self, key: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let names = value
            .as_array()
            .and_then(|names| names.iter().map(|name| Some(name.as_str()?.to_owned())).collect());
        let names: Vec<String> = names.ok_or_else(|| wrong_type(key, value, "a list of strings"))?;
        limit(key, names.len())?;
        Ok(Some(names))
    }

    fn targets(&self, key: &'static str) -> Result<Targets, ConfigError> {
        match self.get(key) {
            Some(Value::String(text)) if text.eq_ignore_ascii_case("all-linear") => Ok(Targets::AllLinear),
            Some(Value::String(text)) => Pattern::whole(text)
                .map(Targets::Regex)
                .map_err(|source| ConfigError::Pattern { key, source }),
            Some(Value::Array(_)) => Ok(Targets::Names(self.names(key)?.unwrap_or_default())),
            None => Ok(Targets::Names(Vec::new())),
            Some(other) => Err(wrong_type(key, other, "a list of strings or a pattern")),
        }
    }

    fn layers(&self) -> Result<Option<LayerChoice>, ConfigError> {
        let key = "layers_to_transform";
        let wanted = "a layer's number or a list of them";
        let layer = |value: &Value<'_>| match value {
            Value::Number(text) => text.parse::<u32>().ok(),
            _ => None,
        };
        let indexes = match self.get(key) {
            None => return Ok(None),
            Some(Value::Array(layers)) if layers.is_empty() => return Ok(None),
            Some(value @ Value::Array(layers)) => {
                let layers: Option<Vec<u32>> = layers.iter().map(layer).collect();
                layers.ok_or_else(|| wrong_type(key, value, wanted))?
            }
            Some(value) => vec![layer(value).ok_or_else(|| wrong_type(key, value, wanted))?],
        };
        let key = "layers_pattern";
        let containers = match self.get(key) {
            Some(Value::String(text)) if text.is_empty() => Vec::new(),
            Some(Value::String(text)) => vec![text.to_string()],
            _ => self.names(key)?.unwrap_or_default(),
        };
        LayerChoice::new(indexes, &containers)
            .map(Some)
            .map_err(|source| ConfigError::Pattern { key, source })
    }

    /// A list is of the embedding; an object has a list for each module (peft 0.21.2 `tuners/lora/config.py`).
    fn token_indices(&self) -> Result<Vec<(String, Vec<usize>)>, ConfigError> {
        let key = "trainable_token_indices";
        let tokens = |value: &Value<'_>| -> Result<Vec<usize>, ConfigError> {
            let number = |value: &Value<'_>| match value {
                Value::Number(text) => text.parse().ok(),
                _ => None,
            };
            let tokens: Option<Vec<usize>> =
                value.as_array().and_then(|list| list.iter().map(number).collect());
            tokens.ok_or_else(|| wrong_type(key, value, "a list of tokens, or an object of such lists"))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Object(members)) => {
                limit(key, members.len())?;
                members.iter().map(|(name, value)| Ok((name.to_string(), tokens(value)?))).collect()
            }
            Some(value) => Ok(vec![("embed_tokens".to_owned(), tokens(value)?)]),
        }
    }

    fn initialization(&self) -> Result<String, ConfigError> {
        match self.get("init_lora_weights") {
            None => Ok("true".to_owned()),
            Some(Value::Bool(flag)) => Ok(flag.to_string()),
            Some(Value::String(name)) => Ok(name.to_string()),
            Some(other) => Err(wrong_type("init_lora_weights", other, "true, false or a name")),
        }
    }

    fn patterns<T>(
        &self,
        key: &'static str,
        read: fn(&str, &Value<'_>) -> Result<T, ConfigError>,
    ) -> Result<Vec<(Pattern, T)>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let members = value.as_object().ok_or_else(|| wrong_type(key, value, "an object"))?;
        limit(key, members.len())?;
        let pattern = |(text, value): &(std::borrow::Cow<'_, str>, Value<'_>)| {
            let pattern = Pattern::tail(text).map_err(|source| ConfigError::Pattern { key, source })?;
            Ok((pattern, read(&format!("{key}/{text}"), value)?))
        };
        members.iter().map(pattern).collect()
    }

    fn unsupported_and_unknown(&self) -> (Vec<String>, Vec<String>) {
        let members = self.value.as_object().unwrap_or_default();
        let with_value = members.iter().filter(|(_, value)| says_something(value));
        let keys: Vec<&str> = with_value.map(|(key, _)| key.as_ref()).collect();
        let unsupported = keys.iter().filter(|key| CHANGES_COMPUTATION.contains(key));
        let unknown = keys.iter().filter(|key| {
            !CHANGES_COMPUTATION.contains(key) && !NEUTRAL.contains(key) && !READ.contains(key)
        });
        (unsupported.map(ToString::to_string).collect(), unknown.map(ToString::to_string).collect())
    }
}

/// `null`, `false` and what is empty turn nothing on.
fn says_something(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(values) => !values.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

fn limit(key: &'static str, found: usize) -> Result<(), ConfigError> {
    if found > MAX_PATTERNS { Err(ConfigError::TooManyPatterns { key, found }) } else { Ok(()) }
}

fn rank(key: &str, value: &Value<'_>) -> Result<u32, ConfigError> {
    let Value::Number(text) = value else { return Err(wrong_type(key, value, "a whole number")) };
    match text.parse() {
        Ok(rank) if (1..=MAX_RANK).contains(&rank) => Ok(rank),
        _ => Err(ConfigError::Rank { key: key.to_owned(), rank: text.chars().take(40).collect() }),
    }
}

fn number(key: &str, value: &Value<'_>) -> Result<f64, ConfigError> {
    let number = match value {
        Value::Number(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    };
    number.ok_or_else(|| wrong_type(key, value, "a finite number"))
}

fn wrong_type(key: &str, found: &Value<'_>, wanted: &'static str) -> ConfigError {
    ConfigError::Type { key: key.chars().take(200).collect(), found: shown(found), wanted }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) | Value::Null | Value::String(_) => {
            value.to_string().chars().take(60).collect()
        }
        other => other.kind().to_owned(),
    }
}
