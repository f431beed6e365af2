//! Rules, severities and limits from flags and from `pixtune.toml`: a flag overrides the file, and the file overrides the
//! target.

mod file;
mod names;
mod project;
mod reader;
mod settings;

use std::io;
use std::path::PathBuf;

pub use file::NAME;
pub use names::{choose, choose_model, find_dropped_rule, unknown_rule};
pub use project::{Project, ProjectStage};
pub use settings::{ConfigSource, Flags, PrepareSettings, Settings};

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A `pixtune.toml` could not be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A `pixtune.toml` has a mistake.
    #[error("{}:{line}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Not the same file applies to all inputs.
    #[error(
        "{} applies to `{}`, {} to `{}`: run them separately, or choose one with `--config`",
        named(first.1.as_ref()), first.0.display(), named(second.1.as_ref()), second.0.display()
    )]
    Ambiguous {
        /// An input, and the file that applies to it.
        first: (PathBuf, Option<PathBuf>),
        /// Another.
        second: (PathBuf, Option<PathBuf>),
    },
    /// A name that does not exist.
    #[error("`{name}` is not a {kind}; choose one of {}", known.join(", "))]
    Name {
        /// What it should name.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// A rule that does not exist.
    #[error("`{name}` is not a rule; {}", near.map_or(
        "list the rules with `pixtune rules`".to_owned(), |near| format!("did you mean `{near}`?")
    ))]
    Rule {
        /// The name.
        name: String,
        /// The most similar name that exists.
        near: Option<&'static str>,
    },
    /// A severity given as something else than `RULE=error` or `RULE=warning`.
    #[error("`{text}` is not of the form RULE=error or RULE=warning")]
    Severity {
        /// What was given.
        text: String,
    },
    /// A limit that is not a size.
    #[error("`{text}` is not a size; write `20MB`, `1GiB` or a number of bytes")]
    Size {
        /// What was given.
        text: String,
    },
}

fn named(file: Option<&PathBuf>) -> String {
    file.map_or("no pixtune.toml".to_owned(), |file| format!("`{}`", file.display()))
}
