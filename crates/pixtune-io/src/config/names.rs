//! Models, targets, rules and groups by their names.

use pixtune_core::diagnostic::{Group, Rule};
use pixtune_core::rules;
use pixtune_core::spec::{self, ModelSpec};
use pixtune_core::spelling::nearest;

use super::ConfigError;

/// The model of this name.
pub fn choose_model(name: &str) -> Result<&'static ModelSpec, ConfigError> {
    choose("model or a model directory", name, spec::find(name), spec::ALL.iter().map(|model| model.id))
}

/// What was found under a name, or an error that lists the names that exist.
pub fn choose<T>(
    kind: &'static str,
    name: &str,
    found: Option<T>,
    known: impl Iterator<Item = &'static str>,
) -> Result<T, ConfigError> {
    found.ok_or_else(|| ConfigError::Name { kind, name: name.to_owned(), known: known.collect() })
}

/// The rule of a name given to `--drop`, with or without `image-` before it.
pub fn find_dropped_rule(name: &str) -> Result<&'static Rule, ConfigError> {
    let image_name = format!("image-{name}");
    let rule = rules::find(name).or_else(|| rules::find(&image_name));
    rule.ok_or_else(|| {
        let ids = || rules::ALL.iter().map(|rule| rule.id);
        let near = nearest(name, ids()).or_else(|| nearest(&image_name, ids()));
        ConfigError::Rule { name: name.to_owned(), near }
    })
}

/// What a name in a list of rules stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum RuleName {
    All,
    Group(Group),
    Rule(&'static Rule),
}

impl RuleName {
    pub(super) fn find(name: &str) -> Result<RuleName, ConfigError> {
        let name = name.trim();
        match (rules::find(name), Group::find(name)) {
            (Some(rule), _) => Ok(RuleName::Rule(rule)),
            (None, Some(group)) => Ok(RuleName::Group(group)),
            (None, None) if name == "all" => Ok(RuleName::All),
            (None, None) => Err(unknown_rule(name)),
        }
    }

    /// A name of a single rule overrides that of its group.
    pub(super) fn rank(&self) -> usize {
        match self {
            RuleName::All => 0,
            RuleName::Group(_) => 1,
            RuleName::Rule(_) => 2,
        }
    }

    pub(super) fn includes(&self, rule: &Rule) -> bool {
        match self {
            RuleName::All => true,
            RuleName::Group(group) => *group == rule.group,
            RuleName::Rule(named) => *named == rule,
        }
    }
}

/// A name that is neither a rule nor a group.
pub fn unknown_rule(name: &str) -> ConfigError {
    let ids = rules::ALL.iter().map(|rule| rule.id);
    let near = nearest(name, ids.chain(Group::ALL.iter().map(|group| group.as_str())));
    ConfigError::Rule { name: name.to_owned(), near }
}
