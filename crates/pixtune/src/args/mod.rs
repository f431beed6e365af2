//! The command line: a file for each command.

mod adapter;
mod check;
mod choice;
mod convert;
mod counting;
mod fix;
mod generate;
mod plan;
mod prepare;
mod report;
mod rules;
mod stats;
mod tokens;
mod train;

use clap::{Parser, Subcommand, ValueEnum};

pub use adapter::{
    AdapterArgs, AdapterCheckArgs, AdapterCommand, AdapterConvertArgs, AdapterMergeArgs, DialectArg, FromArg,
    ServerArg,
};
pub use check::{CheckArgs, CheckFormat};
pub use choice::ChoiceArgs;
pub use convert::{ConvertArgs, DtypeArg, ToArg, WriteArgs};
pub use counting::CountingArgs;
pub use fix::FixArgs;
pub use generate::GenerateArgs;
pub use plan::{MethodArg, PlanArgs};
pub use prepare::{DedupArg, DedupByArg, ImagesArg, PositionArg, PrepareArgs, ResamplingArg};
pub use report::ReportArgs;
pub use rules::{RulesArgs, RulesFormat};
pub use stats::{MeasureArg, StatsArgs};
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
    Convert(ConvertArgs),
    Generate(GenerateArgs),
    Adapter(AdapterArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyArg {
    Full,
    Header,
}
