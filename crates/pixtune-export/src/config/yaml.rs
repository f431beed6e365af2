//! YAML of one level, with a comment behind a value where it needs a reason.

use pixtune_core::json::quoted;

/// The lines of a file.
#[derive(Debug, Default)]
pub(super) struct Yaml {
    text: String,
}

impl Yaml {
    /// A comment on lines of its own.
    pub(super) fn comment(&mut self, text: &str) -> &mut Yaml {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        for line in text.lines() {
            self.text.push_str(&format!("# {line}\n"));
        }
        self
    }

    /// A value as it is written in YAML.
    pub(super) fn set(&mut self, key: &str, value: impl std::fmt::Display) -> &mut Yaml {
        self.text.push_str(&format!("{key}: {value}\n"));
        self
    }

    /// The same, with the reason for the value.
    pub(super) fn because(&mut self, key: &str, value: impl std::fmt::Display, why: &str) -> &mut Yaml {
        self.text.push_str(&format!("{key}: {value}  # {why}\n"));
        self
    }

    /// A text, quoted as JSON, which YAML reads the same.
    pub(super) fn text(&mut self, key: &str, value: &str) -> &mut Yaml {
        self.set(key, quoted(value))
    }

    /// Lines as they are.
    pub(super) fn raw(&mut self, lines: &str) -> &mut Yaml {
        self.text.push_str(lines);
        self
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}
