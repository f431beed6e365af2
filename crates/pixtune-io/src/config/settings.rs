//! Resolving flags, `pixtune.toml` and the target into what applies.

use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::{Rule, Severity};
use pixtune_core::rules;
use pixtune_core::spec::{self, ModelSpec};
use pixtune_core::target::{self, Target};

use super::file::{self, Config, Limit};
use super::names::RuleName;
use super::{ConfigError, NAME, choose, choose_model};
use crate::check::Selection;
use crate::prepare::parse_bytes;

/// Rules and limits of the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The model whose context and image grid apply.
    pub model: Option<String>,
    /// The same, from a model directory.
    pub model_directory: Option<&'static ModelSpec>,
    /// Whose format and limits apply.
    pub target: Option<String>,
    /// Only these rules and groups.
    pub select: Vec<String>,
    /// Without these.
    pub ignore: Vec<String>,
    /// `RULE=error` or `RULE=warning`.
    pub severity: Vec<String>,
    /// Bytes that an image may have.
    pub max_image_bytes: Option<u64>,
    /// Images that a sample may have.
    pub max_images: Option<usize>,
    /// Where the rest comes from.
    pub config: ConfigSource,
}

/// Which `pixtune.toml` applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ConfigSource {
    /// The one beside the data, or in the nearest directory above that has one.
    #[default]
    Nearest,
    /// This file.
    File(PathBuf),
    /// None.
    Off,
}

/// What applies to a check or a fix.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model whose context and image grid apply.
    pub model: &'static ModelSpec,
    /// Whose format and limits apply.
    pub target: Target,
    /// Which rules are selected, and their severity.
    pub selection: Selection,
}

impl Settings {
    /// Resolves flags for some data.
    pub fn resolve(flags: &Flags, data: &[PathBuf]) -> Result<Settings, ConfigError> {
        let config = config(&flags.config, data)?;
        let model = model(flags, &config)?;
        let name = flags.target.as_deref().or(config.target.as_deref()).unwrap_or("mistral");
        let known = target::ACCEPTED.iter().map(|target| target.id);
        let mut target = limited(*choose("target", name, Target::find(name), known)?, &config)?;
        target.max_image_bytes = flags.max_image_bytes.unwrap_or(target.max_image_bytes);
        target.max_images = flags.max_images.unwrap_or(target.max_images);
        let selection = select(flags, &config, Selection::of(&target))?;
        Ok(Settings { model, target, selection })
    }
}

/// What applies to `prepare`.
#[derive(Debug, Clone)]
pub struct PrepareSettings {
    /// The model whose context and image grid apply.
    pub model: &'static ModelSpec,
    /// Whose format and limits apply.
    pub target: Target,
    /// Rules whose warnings are not reported.
    pub ignore: Vec<&'static Rule>,
    /// Rules whose warnings reject their row.
    pub drop: Vec<&'static Rule>,
}

impl PrepareSettings {
    /// Resolves flags for some inputs; the warnings of `dropped` rules reject their row.
    pub fn resolve(
        flags: &Flags,
        inputs: &[String],
        dropped: &[&'static Rule],
    ) -> Result<PrepareSettings, ConfigError> {
        // A pixtune.toml inside a directory applies to it.
        let place = |input: &String| match Path::new(input) {
            directory if directory.is_dir() => directory.join(NAME),
            file => file.to_owned(),
        };
        let data: Vec<PathBuf> = inputs.iter().map(place).collect();
        let config = config(&flags.config, &data)?;
        let model = model(flags, &config)?;
        let name = flags.target.as_deref().or(config.target.as_deref()).unwrap_or("mistral");
        let target = target::WRITTEN.iter().copied().find(|target| target.id == name);
        let known = target::WRITTEN.iter().map(|target| target.id);
        let mut target = limited(*choose("target of prepare", name, target, known)?, &config)?;
        // The output is split so that `check` accepts every file of it.
        target.max_file_bytes = target.max_file_bytes.min(target.refused_file_bytes);
        // Unless the file says otherwise every warning is a warning, whatever the target makes of it in finished lines.
        let selection = select(flags, &config, Selection::every(Severity::Warning))?;
        let with = |severity: Option<Severity>| {
            let rules = rules::ALL.iter().copied().filter(|rule| !dropped.contains(rule));
            rules.filter(|rule| selection.severity(rule) == severity).collect::<Vec<_>>()
        };
        let drop = dropped.iter().copied().chain(with(Some(Severity::Error))).collect();
        Ok(PrepareSettings { model, target, ignore: with(None), drop })
    }
}

fn model(flags: &Flags, config: &Config) -> Result<&'static ModelSpec, ConfigError> {
    if let Some(model) = flags.model_directory {
        return Ok(model);
    }
    if let (None, Some(name)) = (&flags.model, &config.model) {
        let kind = "model name (pixtune.toml takes no directory; `--model` does)";
        return choose(kind, name, spec::find(name), spec::ALL.iter().map(|model| model.id));
    }
    choose_model(flags.model.as_deref().unwrap_or("pixtral-12b"))
}

/// The contents of the file.
fn config(source: &ConfigSource, data: &[PathBuf]) -> Result<Config, ConfigError> {
    let path = match source {
        ConfigSource::Nearest => nearest_file(data)?,
        ConfigSource::File(path) => Some(path.clone()),
        ConfigSource::Off => None,
    };
    path.map_or_else(|| Ok(Config::default()), |path| file::read(&path))
}

/// The one `pixtune.toml` that applies to all the data.
fn nearest_file(data: &[PathBuf]) -> Result<Option<PathBuf>, ConfigError> {
    let mut found = data.iter().map(|path| (path.clone(), file::find(path)));
    let Some(first) = found.next() else { return Ok(None) };
    match found.find(|(_, file)| *file != first.1) {
        Some(second) => Err(ConfigError::Ambiguous { first, second }),
        None => Ok(first.1),
    }
}

/// A target with the limits of the file.
fn limited(mut target: Target, config: &Config) -> Result<Target, ConfigError> {
    for (name, limit) in &config.limits {
        let number = match limit {
            Limit::Number(number) => *number,
            Limit::Size(text) => parse_bytes(text).map_err(|_| ConfigError::Size { text: text.clone() })?,
        };
        match *name {
            "max-image-bytes" => target.max_image_bytes = number,
            "max-image-side" => target.max_side = u32::try_from(number).unwrap_or(u32::MAX),
            "max-images" => target.max_images = usize::try_from(number).unwrap_or(usize::MAX),
            "max-file-bytes" => target.refused_file_bytes = number,
            "max-validation-bytes" => target.max_validation_bytes = number,
            _ => target.min_samples = number,
        }
    }
    Ok(target)
}

fn select(flags: &Flags, config: &Config, mut selection: Selection) -> Result<Selection, ConfigError> {
    let names = |flag: &[String], file: &[String]| {
        let names = if flag.is_empty() { file } else { flag };
        names.iter().map(|name| RuleName::find(name)).collect::<Result<Vec<_>, _>>()
    };
    let selected = names(&flags.select, &config.select)?;
    let ignored = names(&flags.ignore, &config.ignore)?;
    let includes = |names: &[RuleName], rule: &Rule| names.iter().any(|name| name.includes(rule));
    selection.retain(|rule| (selected.is_empty() || includes(&selected, rule)) && !includes(&ignored, rule));
    let mut of_file = Vec::new();
    for (name, severity) in &config.severity {
        of_file.push((RuleName::find(name)?, severity_of(severity)?));
    }
    let mut of_flags = Vec::new();
    for text in &flags.severity {
        let malformed = || ConfigError::Severity { text: text.clone() };
        let (name, severity) = text.split_once('=').ok_or_else(malformed)?;
        of_flags.push((RuleName::find(name)?, severity_of(severity)?));
    }
    for severities in [&mut of_file, &mut of_flags] {
        severities.sort_by_key(|(name, _)| name.rank());
        for (name, severity) in severities {
            let rules = rules::ALL.iter().filter(|rule| name.includes(rule));
            rules.for_each(|rule| selection.set(rule, *severity));
        }
    }
    Ok(selection)
}

fn severity_of(name: &str) -> Result<Severity, ConfigError> {
    let severity = match name.trim() {
        "error" => Some(Severity::Error),
        "warning" => Some(Severity::Warning),
        _ => None,
    };
    choose("severity", name.trim(), severity, ["error", "warning"].into_iter())
}
