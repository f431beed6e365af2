//! A rule and its group.

use super::{Fix, Severity};

/// A rule that data can violate.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Kebab-case name; stable, because scripts select by it.
    pub id: &'static str,
    /// The group that selects it together with related rules.
    pub group: Group,
    /// Severity of a violation, unless the target overrides it.
    pub severity: Severity,
    /// Whether `fix` can repair a violation.
    pub fix: Option<Fix>,
    /// Why the rule exists: what goes wrong when it is violated.
    pub why: &'static str,
}

/// A group of related rules; it can be selected like a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The JSON text of a row.
    Json,
    /// Keys and types.
    Shape,
    /// Roles and their order.
    Order,
    /// Assistant messages.
    Answer,
    /// Tools, calls and results.
    Tools,
    /// Images.
    Image,
    /// The content of texts.
    Text,
    /// Sample length and trained tokens.
    Length,
    /// Samples compared with each other.
    Lines,
    /// Files as a whole.
    File,
    /// Table rows that `prepare` converts to conversations; `check` never reads them.
    Table,
    /// Samples and answers that `evaluate` compares; `check` never reads answers.
    Evaluation,
    /// Samples that `export` hands to a trainer.
    Export,
    /// Failures of the program itself.
    Program,
}

impl Group {
    /// Every group, in the order of the documentation.
    pub const ALL: [Group; 14] = [
        Group::Json,
        Group::Shape,
        Group::Order,
        Group::Answer,
        Group::Tools,
        Group::Image,
        Group::Text,
        Group::Length,
        Group::Lines,
        Group::File,
        Group::Table,
        Group::Evaluation,
        Group::Export,
        Group::Program,
    ];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Group::Json => "json",
            Group::Shape => "shape",
            Group::Order => "order",
            Group::Answer => "answer",
            Group::Tools => "tools",
            Group::Image => "image",
            Group::Text => "text",
            Group::Length => "length",
            Group::Lines => "lines",
            Group::File => "file",
            Group::Table => "table",
            Group::Evaluation => "evaluation",
            Group::Export => "export",
            Group::Program => "program",
        }
    }

    /// The heading of the group in the documentation.
    pub fn title(self) -> &'static str {
        match self {
            Group::Json => "JSON: the text of a row",
            Group::Shape => "Shape: keys and types",
            Group::Order => "Order: the sequence of roles",
            Group::Answer => "Answer: assistant messages",
            Group::Tools => "Tools: definitions, calls and results",
            Group::Image => "Image: format, size and quality",
            Group::Text => "Text: content of messages",
            Group::Length => "Length: tokens and trained tokens",
            Group::Lines => "Lines: samples compared with each other",
            Group::File => "File: files as a whole",
            Group::Table => "Table: rows that `prepare` converts to conversations",
            Group::Evaluation => "Evaluation: samples and answers that `evaluate` compares",
            Group::Export => "Export: samples that `export` hands to a trainer",
            Group::Program => "Program: failures of pixtune itself",
        }
    }

    /// Finds a group by its name.
    pub fn find(name: &str) -> Option<Group> {
        Group::ALL.into_iter().find(|group| group.as_str() == name)
    }
}
