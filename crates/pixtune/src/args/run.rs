//! `pixtune run`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Run a project: from data to a served model, as one file describes it
///
/// The file has a table for each stage, and in it the options of the command of that name: prepare, check, report, train, export,
/// evaluate and deploy, in this order. Paths are relative to the file. A stage that is done and has not changed is skipped, and an
/// interrupted one is continued. `summary.html` in the output directory has the result of every stage and its command, which can
/// also be run alone.
///
/// A stage with findings (exit code 1) ends the run if it is `check`, `report` or `evaluate`; rejected rows of `prepare` do not.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune run project.toml
  pixtune run project.toml --show-plan                    the command of each stage
  pixtune run project.toml --until check
  pixtune run project.toml --from train                   train once more, and all that follows

project.toml:
  out = \"tuned\"
  model = \"pixtral-12b-hf\"
  [prepare]
  inputs = [\"dataset.csv\"]
  validation = 0.1
  [check]
  verify = \"full\"
  [train]
  epochs = 3
  [evaluate]
  compare = \"base\"
  [deploy]
  for = \"vllm\"
")]
pub struct RunArgs {
    /// The file of the project
    #[arg(default_value = "project.toml", value_name = "FILE")]
    pub project: PathBuf,
    /// Run this stage and all after it once more, and replace what they wrote
    #[arg(long, value_enum, value_name = "STAGE")]
    pub from: Option<StageArg>,
    /// End after this stage
    #[arg(long, value_enum, value_name = "STAGE")]
    pub until: Option<StageArg>,
    /// Print the command of each stage and exit
    #[arg(long)]
    pub show_plan: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum StageArg {
    Prepare,
    Check,
    Report,
    Train,
    Export,
    Evaluate,
    Deploy,
}
