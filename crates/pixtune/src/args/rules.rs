//! `pixtune rules`.

use clap::{Parser, ValueEnum};

/// List the rules, or explain one
#[derive(Debug, Parser)]
pub struct RulesArgs {
    /// The rule or group to explain
    pub rule: Option<String>,
    /// A list, or the page of the documentation
    #[arg(long, value_enum, default_value_t = RulesFormat::Human)]
    pub format: RulesFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RulesFormat {
    Human,
    Markdown,
}
