//! Findings in the user's data: the rule, its severity, the location and a hint. A leaf: it knows nothing but `json`.

mod pointer;
mod rule;

use std::fmt;

use crate::json::{self, Slot, ToJson, list, object, raw};

pub use pointer::{Pointer, pointer_push};
pub use rule::{Group, Rule};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The sample is usable, but the user should know.
    Warning,
    /// The sample cannot be used as it is.
    Error,
}

impl Severity {
    /// The word in messages and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// How safe the repair of a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// The repaired sample has the same content.
    Safe,
    /// The repair guesses; it is made only on request.
    Unsafe,
}

impl Fix {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Fix::Safe => "safe",
            Fix::Unsafe => "unsafe",
        }
    }
}

/// A violation of a rule in a row, without the location of the row.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The violated rule.
    pub rule: &'static Rule,
    /// JSON pointer (RFC 6901) into the row; of a table row, `/COLUMN`.
    pub pointer: String,
    /// What is wrong: lower case, no full stop, values in backticks.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The severity: the rule's, unless the target overrides it.
    pub severity: Severity,
    /// Byte offset into the row, if known more exactly than by the pointer.
    pub offset: Option<usize>,
}

impl Finding {
    /// A finding without a hint.
    pub fn new(rule: &'static Rule, pointer: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding {
            rule,
            pointer: pointer.into(),
            message: message.into(),
            hint: None,
            severity: rule.severity,
            offset: None,
        }
    }

    /// Sets the byte offset.
    #[must_use]
    pub fn at_byte(mut self, offset: usize) -> Finding {
        self.offset = Some(offset);
        self
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }

    /// Locates the finding in a file.
    pub fn at(self, file: &str, line: u64) -> Diagnostic {
        Diagnostic { file: file.to_owned(), line, column: None, source: None, finding: self }
    }
}

/// The row of a dataset that a line of a prepared file was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// The file, as it was named when the dataset was prepared; of an absolute path, the file name.
    pub file: String,
    /// The row, from 1, as findings of `prepare` number it.
    pub row: u64,
    /// The path or URL of each image; `None` for an image that the row contained.
    pub images: Vec<Option<String>>,
}

impl ToJson for &SourceRow {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|out| {
            out.field("file", &self.file).field("row", self.row);
            out.field("images", list(self.images.iter().map(Option::as_deref)));
        });
    }
}

impl fmt::Display for SourceRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.row)
    }
}

/// A finding and the location of its row.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// The file, as the user named it.
    pub file: String,
    /// The line of the row, from 1; if the row spans several lines, the first.
    pub line: u64,
    /// The byte of the line, from 1, if known.
    pub column: Option<u64>,
    /// The row that `prepare` made the line of, if known.
    pub source: Option<Box<SourceRow>>,
    /// The finding.
    pub finding: Finding,
}

impl Diagnostic {
    /// The finding as a JSON object, without a line end.
    pub fn to_json(&self) -> String {
        let Finding { rule, pointer, message, hint, severity, .. } = &self.finding;
        json::text(object(|out| {
            out.field("rule", rule.id).field("severity", severity.as_str()).field("file", &self.file);
            out.field("line", self.line).optional("column", self.column);
            out.field("pointer", pointer).field("message", message).field("hint", hint.as_deref());
            out.field("fix", rule.fix.map(Fix::as_str));
            if let Some(source) = &self.source {
                out.field("source", &**source);
            }
        }))
    }

    /// A line of `rejected.jsonl`: the finding and the row it rejects (JSON text).
    pub fn to_rejected(&self, row: &str) -> String {
        let Finding { rule, pointer, message, hint, severity, .. } = &self.finding;
        json::text(object(|out| {
            out.field("file", &self.file).field("line", self.line).field("rule", rule.id);
            out.field("severity", severity.as_str()).field("pointer", pointer).field("message", message);
            out.field("hint", hint.as_deref()).field("row", raw(row));
        }))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { rule, pointer, message, hint, severity, .. } = &self.finding;
        write!(f, "{}[{}]: {}:{}", severity.as_str(), rule.id, self.file, self.line)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        if let Some(source) = &self.source {
            write!(f, " ({source})")?;
        }
        if !pointer.is_empty() {
            write!(f, " {pointer}")?;
        }
        write!(f, ": {message}")?;
        match hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    fn finding() -> Diagnostic {
        Finding::new(&rules::IMAGE_UNREADABLE, "/image", "`photos/0041.jpg` is an HTML page, not an image")
            .hint("fetch it again")
            .at("train.csv", 41)
    }

    #[test]
    fn displays_as_text() {
        assert_eq!(
            finding().to_string(),
            "error[image-unreadable]: train.csv:41 /image: `photos/0041.jpg` is an HTML page, not an image\n  hint: fetch it again"
        );
    }

    #[test]
    fn converts_to_json() {
        assert_eq!(
            finding().to_json(),
            r#"{"rule":"image-unreadable","severity":"error","file":"train.csv","line":41,"pointer":"/image","message":"`photos/0041.jpg` is an HTML page, not an image","hint":"fetch it again","fix":"unsafe"}"#
        );
    }

    #[test]
    fn rejected_line_contains_the_row() {
        assert_eq!(
            finding().to_rejected(r#"{"image":"a"}"#),
            r#"{"file":"train.csv","line":41,"rule":"image-unreadable","severity":"error","pointer":"/image","message":"`photos/0041.jpg` is an HTML page, not an image","hint":"fetch it again","row":{"image":"a"}}"#
        );
    }
}
