//! The command line: a file for each command.

mod adapter;
mod check;
mod convert;
mod counting;
mod evaluate;
mod fix;
mod generate;
mod images;
mod lint;
mod plan;
mod prepare;
mod report;
mod rules;
mod stats;
mod tokens;
mod train;

use clap::{Parser, Subcommand};

pub use adapter::{
    AdapterArgs, AdapterCheckArgs, AdapterCommand, AdapterConvertArgs, AdapterMergeArgs, DialectArg, FromArg,
    ServerArg, VllmArg,
};
pub use check::{CheckArgs, CheckFormat};
pub use convert::{ConvertArgs, DtypeArg, ToArg, WriteArgs};
pub use counting::CountingArgs;
pub use evaluate::{EvaluateArgs, MetricArg, VariantArg};
pub use fix::FixArgs;
pub use generate::GenerateArgs;
pub use images::{MeasureArgs, VerifyArg};
pub use lint::LintArgs;
pub use plan::{MethodArg, PlanArgs};
pub use prepare::{DedupArg, DedupByArg, ImagesArg, PositionArg, PrepareArgs, ResamplingArg};
pub use report::ReportArgs;
pub use rules::{RulesArgs, RulesFormat};
pub use stats::StatsArgs;
pub use tokens::TokensArgs;
pub use train::{DeviceArg, InvalidSamplesArg, TrainArgs};

/// From images and text to a fine-tuned, servable Pixtral.
///
/// Exit codes: 0 success; 1 success, but the data has errors; 2 failure.
#[derive(Debug, Parser)]
#[command(name = "pixtune", version, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Prepare(PrepareArgs),
    Tokens(TokensArgs),
    Check(CheckArgs),
    Fix(FixArgs),
    Rules(RulesArgs),
    Stats(StatsArgs),
    Report(ReportArgs),
    Plan(PlanArgs),
    Train(TrainArgs),
    Evaluate(EvaluateArgs),
    Convert(ConvertArgs),
    Generate(GenerateArgs),
    Adapter(AdapterArgs),
}
