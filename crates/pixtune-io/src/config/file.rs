//! Reading `pixtune.toml`: the rules, severities and limits for everyone who works on the same data.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::reader::{Mistake, Reader, Value, parse_with};

/// The name of the file.
pub const NAME: &str = "pixtune.toml";

/// The content of a file; what it leaves out is empty.
#[derive(Debug, Default, PartialEq)]
pub struct Config {
    /// The model whose context and image grid apply.
    pub model: Option<String>,
    /// Whose format and limits apply.
    pub target: Option<String>,
    /// Only these rules and groups.
    pub select: Vec<String>,
    /// Without these.
    pub ignore: Vec<String>,
    /// Rules and groups with their severity.
    pub severity: Vec<(String, String)>,
    /// Limits by the names of [`LIMITS`].
    pub limits: Vec<(&'static str, Limit)>,
}

/// A limit: a number, or a size such as `20MB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// As a number.
    Number(u64),
    /// As a text, to be read as a size.
    Size(String),
}

/// Limits of a target that can be set: services contradict themselves about them and change them.
pub const LIMITS: [&str; 6] = [
    "max-image-bytes",
    "max-image-side",
    "max-images",
    "max-file-bytes",
    "max-validation-bytes",
    "min-samples",
];

const SECTIONS: [&str; 1] = ["check"];
const CHECK: [&str; 6] = ["model", "target", "select", "ignore", "severity", "limits"];

/// The file that applies to some data: beside it, or in the nearest directory above that has one.
pub(super) fn find(data: &Path) -> Option<PathBuf> {
    let directory = match data.parent() {
        _ if data == Path::new("-") => Path::new("."),
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let directory = fs::canonicalize(directory).ok()?;
    directory.ancestors().map(|directory| directory.join(NAME)).find(|path| path.is_file())
}

/// Reads a file. An unknown key is an error.
pub(super) fn read(path: &Path) -> Result<Config, ConfigError> {
    let path = path.to_owned();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(ConfigError::Io { path, source }),
    };
    parse(&text).map_err(|(line, message)| ConfigError::Content { path, line, message })
}

fn parse(text: &str) -> Result<Config, Mistake> {
    parse_with(text, config)
}

fn config(reader: &Reader<'_>, table: &DeTable<'_>) -> Result<Config, Mistake> {
    reader.file(table)
}

impl Reader<'_> {
    fn file(&self, table: &DeTable<'_>) -> Result<Config, Mistake> {
        self.known(table, &SECTIONS)?;
        let mut config = Config::default();
        let Some(check) = table.get("check") else { return Ok(config) };
        let check = self.table(check, "check")?;
        self.known(check, &CHECK)?;
        for (key, value) in check {
            match key.get_ref().as_ref() {
                "model" => config.model = Some(self.string(value, "model")?),
                "target" => config.target = Some(self.string(value, "target")?),
                "select" => config.select = self.strings(value, "select")?,
                "ignore" => config.ignore = self.strings(value, "ignore")?,
                "severity" => {
                    for (rule, severity) in self.table(value, "severity")? {
                        let name = rule.get_ref().to_string();
                        config.severity.push((name.clone(), self.string(severity, &name)?));
                    }
                }
                _ => config.limits = self.limits(self.table(value, "limits")?)?,
            }
        }
        Ok(config)
    }

    fn limits(&self, table: &DeTable<'_>) -> Result<Vec<(&'static str, Limit)>, Mistake> {
        self.known(table, &LIMITS)?;
        let mut limits = Vec::new();
        for (key, value) in table {
            let Some(name) = LIMITS.into_iter().find(|name| *name == key.get_ref().as_ref()) else {
                continue;
            };
            let number = |number: &toml::de::DeInteger<'_>| number.as_str().replace('_', "").parse().ok();
            let limit = match value.get_ref() {
                DeValue::Integer(integer) => number(integer).map(Limit::Number),
                DeValue::String(text) => Some(Limit::Size(text.to_string())),
                _ => None,
            };
            let wrong =
                || self.mistake(value, format!("`{name}` is neither a number nor a size such as \"20MB\""));
            limits.push((name, limit.ok_or_else(wrong)?));
        }
        Ok(limits)
    }

    fn strings(&self, value: &Value<'_>, name: &str) -> Result<Vec<String>, Mistake> {
        let Some(list) = value.get_ref().as_array() else {
            return Err(self.mistake(value, format!("`{name}` is not a list of strings")));
        };
        list.iter().map(|element| self.string(element, name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_key() {
        let config = parse(
            "[check]\ntarget = \"openai\"\nignore = [\"text\", \"image-alpha\"]\n[check.severity]\nunknown-key = \"error\"\n\
             [check.limits]\nmax-images = 10\nmax-image-bytes = \"20MB\"\n",
        );
        let config = config.unwrap();
        assert_eq!(config.target.as_deref(), Some("openai"));
        assert_eq!(config.ignore, ["text", "image-alpha"]);
        assert_eq!(config.severity, [("unknown-key".into(), "error".into())]);
        let size = Limit::Size("20MB".into());
        assert_eq!(config.limits, [("max-image-bytes", size), ("max-images", Limit::Number(10))]);
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn reports_mistakes_with_their_line_and_a_hint() {
        for (text, line, what) in [
            ("[check]\nignroe = []\n", 2, "`ignroe` is not a key; did you mean `ignore`?"),
            ("\n[chekc]\n", 2, "`chekc` is not a key; did you mean `check`?"),
            ("[check.limits]\nmax_images = 8", 2, "`max_images` is not a key; did you mean `max-images`?"),
            (
                "[check.limits]\n\nmax-images = true",
                3,
                "`max-images` is neither a number nor a size such as \"20MB\"",
            ),
            (
                "[check.limits]\nmin-samples = -1",
                2,
                "`min-samples` is neither a number nor a size such as \"20MB\"",
            ),
            ("[check]\nselect = \"json\"", 2, "`select` is not a list of strings"),
            ("check = 1", 1, "`check` is not a table"),
        ] {
            assert_eq!(parse(text), Err((line, what.into())), "{text}");
        }
        assert_eq!(parse("[check]\nselect = [").unwrap_err().0, 2);
    }
}
