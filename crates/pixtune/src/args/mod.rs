//! The command line: a file for each command.

mod adapter;
mod check;
mod completions;
mod convert;
mod counting;
mod deploy;
mod engine;
mod evaluate;
mod export;
mod fetch;
mod fix;
mod generate;
mod images;
mod lint;
mod man;
mod output;
mod plan;
mod prepare;
mod remote;
mod report;
mod rules;
mod run;
mod serve;
mod stats;
mod tokens;
mod train;
mod train_with;
mod training;

use clap::{Parser, Subcommand};

pub use adapter::{
    AdapterArgs, AdapterCheckArgs, AdapterCommand, AdapterConvertArgs, AdapterMergeArgs, DialectArg, FromArg,
};
pub use check::{CheckArgs, CheckFormat};
pub use completions::CompletionsArgs;
pub use convert::{ConvertArgs, ConvertToArg, DtypeArg, ToArg, WriteArgs};
pub use counting::CountingArgs;
pub use deploy::{AdapterFormArg, DeployArgs, TargetArg};
pub use engine::{EngineArg, EngineArgs};
pub use evaluate::{EvaluateArgs, JudgeArgs, MetricArg, VariantArg};
pub use export::ExportArgs;
pub use fetch::FetchArgs;
pub use fix::FixArgs;
pub use generate::GenerateArgs;
pub use images::{MeasureArgs, VerifyArg};
pub use lint::LintArgs;
pub use man::ManArgs;
pub use output::OutputArgs;
pub use plan::PlanArgs;
pub use prepare::{DedupArg, DedupByArg, ImagesArg, PositionArg, PrepareArgs, ResamplingArg};
pub use remote::{
    ChatArgs, EndpointArgs, FilesArgs, FilesCommand, JobsArgs, JobsCommand, JobsCreateArgs, ModelsArgs,
    ModelsCommand,
};
pub use report::ReportArgs;
pub use rules::{RulesArgs, RulesFormat};
pub use run::{RunArgs, StageArg};
pub use serve::{
    KeysCommand, LogFormatArg, ScopeArg, ServeArgs, ServeCommand, ServeOptions, UpstreamFormatArg,
    WebhooksCommand,
};
pub use stats::StatsArgs;
pub use tokens::TokensArgs;
pub use train::{InvalidSamplesArg, TrainArgs};
pub use train_with::TrainWithArgs;
pub use training::TrainingArgs;

/// From images and text to a fine-tuned, servable Pixtral.
///
/// Exit codes of every command: 0 success; 1 findings, such as errors in the data; 2 failure. The last line on standard error states the
/// reason if it is not 0; `--exit-zero` gives 0 instead of 1.
#[derive(Debug, Parser)]
#[command(
    name = "pixtune",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  pixtune prepare dataset.csv --out prepared              images and a table to training files
  pixtune check prepared --verify full                    every problem, with its location
  pixtune report prepared --out report.html               statistics, images and tokens in a browser
  pixtune plan prepared                                   steps, learning rate, memory and time
  pixtune export prepared --to trl --out trl              the same samples for another trainer
  pixtune train --model pixtral-12b --data prepared --out run
  pixtune generate --model pixtral-12b --adapter run/adapter --image a.jpg --prompt 'What is this?'
  pixtune adapter check run/adapter --base pixtral-12b --server vllm-hf
  pixtune deploy pixtral-12b run/adapter --for vllm --out served
  pixtune serve --models pixtral-12b                      the fine-tuning APIs of Mistral and OpenAI
  pixtune help train                                      every option of a command
"
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub output: OutputArgs,
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
    Export(ExportArgs),
    Train(TrainArgs),
    #[command(hide = true)]
    TrainWith(TrainWithArgs),
    Evaluate(EvaluateArgs),
    Convert(ConvertArgs),
    Generate(GenerateArgs),
    Adapter(AdapterArgs),
    Deploy(DeployArgs),
    Run(RunArgs),
    Serve(ServeArgs),
    Files(FilesArgs),
    Jobs(JobsArgs),
    Models(ModelsArgs),
    Chat(ChatArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}
