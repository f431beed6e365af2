//! `pixtune rules`.

use clap::{Parser, ValueEnum};

/// List the rules of `check`, `fix` and `prepare`, or explain one
#[derive(Debug, Parser)]
pub struct RulesArgs {
    /// Rule or group to explain
    pub rule: Option<String>,
    /// Output format: a list, one JSON object per rule, or the Markdown page of the documentation
    #[arg(long, value_enum, default_value_t = RulesFormat::Human)]
    pub format: RulesFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RulesFormat {
    Human,
    Json,
    Markdown,
}
