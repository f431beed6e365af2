//! `pixtune evaluate`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use pixtune_cuda::Device;

use super::FetchArgs;
use crate::ui::Format;

/// Evaluate a model on a dataset: scores, strictness, comparison, report
///
/// Asks a local model, an OpenAI-compatible endpoint or a file of predictions for the last answer of each sample, and scores
/// it with the published metrics of mistral-evals, lmms-eval and the benchmarks' own scripts. Each score is reported at three
/// levels: the whole answer, the final answer after `Answer:`, and a reference anywhere in the text. Answers that could not
/// be had are listed and counted apart from wrong ones. A killed run continues with --resume and asks nothing twice.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune evaluate prepared --model pixtral-12b --adapter run/adapter --out scores
  pixtune evaluate prepared --model pixtral-12b --adapter run/adapter --compare base --out scores
  pixtune evaluate test.jsonl --endpoint http://localhost:8000/v1 --served-model tuned --out scores
  pixtune evaluate test.jsonl --endpoint http://localhost:8000/v1 --served-model tuned \\
      --compare served-model=base --phrasings 4 --out scores
  pixtune evaluate test.jsonl --predictions answers.jsonl --metric relaxed --out scores
  pixtune evaluate test.jsonl --predictions tuned.jsonl --compare predictions=base.jsonl --out scores \\
      --judge-endpoint https://judge.example/v1 --judge-model NAME --judge-pairs
  pixtune evaluate 'ChartQA/data/test-*.parquet' --benchmark chartqa --model pixtral-12b --out scores
  pixtune evaluate --predictions answers.jsonl --metric anls --variant official --out scores
  pixtune evaluate test.jsonl --predictions answers.jsonl --out scores \\
      --fail-under relaxed=0.8 --junit scores.xml                     for CI

Samples:
  A sample is asked up to its last answer, which is the reference. The keys `references` or
  `answers` (a string or a list) of a row, of a prediction, or of a line of --references replace
  it; `choices` lists the options of a question.

Predictions:
  A line is {\"id\": \"7\", \"answer\": \"42\"}. `id` is that of the sample, or FILE:LINE. `line` alone is
  the line of the sample. Without either, the order counts. `prediction`, `response` and `output`
  are read like `answer`.

Output directory:
  predictions.jsonl   one line per answer with its scores; --predictions reads it again
  scores.json         every number
  judgements.jsonl    one line per request to a judge, with its text
  report.html         verdict, scores, comparison, and samples with their images
  benchmark/          the samples of --benchmark as conversations, with their images

Exit codes:
  0 all answers are scored; 1 answers failed, rows are invalid, or --fail-under is missed;
  2 failure
")]
pub struct EvaluateArgs {
    /// JSON Lines file, or output directory of `prepare`, whose validation split is used
    #[arg(value_name = "DATA", required_unless_present = "predictions")]
    pub data: Option<PathBuf>,
    /// Output directory
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// Read DATA as a published file of this benchmark (Parquet, Arrow or TSV; a directory or `'test-*.parquet'` for shards), with
    /// the prompts of --variant: mistral-evals by default. Nothing is downloaded
    #[arg(long, value_name = "NAME", requires = "data",
        value_parser = ["chartqa", "docvqa", "infovqa", "vqav2", "textvqa", "mathvista", "mmmu", "mm-mt-bench"])]
    pub benchmark: Option<String>,
    /// Text that follows each question of the benchmark, instead of the built-in instructions
    #[arg(long, value_name = "FILE", requires = "benchmark")]
    pub instructions: Option<PathBuf>,
    /// Replace an existing output, or the answers of an unfinished run
    #[arg(long, conflicts_with = "resume")]
    pub force: bool,
    /// Continue an unfinished run, or ask again only for what failed; answers are reused if the request is the same
    #[arg(long)]
    pub resume: bool,

    /// Model directory, in Hugging Face or Mistral format
    #[arg(long, value_name = "DIR", group = "who", help_heading = "Model")]
    pub model: Option<PathBuf>,
    /// LoRA adapter, in PEFT format
    #[arg(long, value_name = "DIR", requires = "model", help_heading = "Model")]
    pub adapter: Option<PathBuf>,
    /// Device of a local model: auto (a GPU if there is one), cpu, cuda, or cuda:N for the GPU of index N
    #[arg(long, default_value_t = Device::Cpu, value_name = "DEVICE", help_heading = "Model")]
    pub device: Device,
    /// Load the model's linear layers in 4 bits (NF4 with double quantization), as for QLoRA
    #[arg(long, requires = "model", help_heading = "Model")]
    pub load_in_4bit: bool,
    /// OpenAI-compatible endpoint, such as http://localhost:8000/v1
    #[arg(long, value_name = "URL", group = "who", requires = "served_model", help_heading = "Model")]
    pub endpoint: Option<String>,
    /// Name of the model at the endpoint
    #[arg(long, value_name = "NAME", requires = "endpoint", help_heading = "Model")]
    pub served_model: Option<String>,
    /// Answers from a file instead of a model
    #[arg(long, value_name = "FILE", group = "who", help_heading = "Model")]
    pub predictions: Option<PathBuf>,
    /// Compare with: `base` (the model without its adapter), or model=DIR, adapter=DIR, served-model=NAME, endpoint=URL,
    /// predictions=FILE; repeat to set several
    #[arg(long, value_name = "WHAT", help_heading = "Model")]
    pub compare: Vec<String>,
    /// Sampling temperature; 0 takes the most likely token
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "X",
        allow_negative_numbers = true,
        help_heading = "Model"
    )]
    pub temperature: f64,
    /// Maximum tokens of an answer
    #[arg(long, default_value_t = 1024, value_name = "N", help_heading = "Model")]
    pub max_tokens: usize,

    /// Metric; `auto` is that of the benchmark, or chooses it by the references
    #[arg(long, value_enum, default_value_t = MetricArg::Auto, help_heading = "Scores")]
    pub metric: MetricArg,
    /// Whose rules to follow where programs differ: mistral-evals, lmms-eval, or the benchmark's own script
    #[arg(long, value_enum, help_heading = "Scores")]
    pub variant: Option<VariantArg>,
    /// Relative difference at which numbers match, for `number` and `json` [default: 0.05 and 0]
    #[arg(long, value_name = "X", help_heading = "Scores")]
    pub tolerance: Option<f64>,
    /// References of the samples: a JSON Lines file with `id` or `line`, and `references` [default: references-SPLIT.jsonl
    /// beside the samples, which `prepare` writes]
    #[arg(long, value_name = "FILE", help_heading = "Scores")]
    pub references: Option<PathBuf>,
    /// Ask each prompt in several wordings: a file of templates with `{prompt}`, one per line or separated by `---`, or the
    /// number of built-in ones (1 to 8)
    #[arg(long, value_name = "FILE|N", conflicts_with = "predictions", help_heading = "Scores")]
    pub phrasings: Option<String>,
    /// Evaluate only the first N samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Scores")]
    pub limit: Option<u64>,
    /// Exit with 1 if a score is lower, such as relaxed=0.8; failed answers count as wrong here
    #[arg(long, value_name = "NAME=X", help_heading = "Scores")]
    pub fail_under: Vec<String>,
    /// Seed of sampling and of the bootstrap
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Scores")]
    pub seed: u64,

    /// Requests in flight
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Endpoint")]
    pub concurrency: u16,
    /// Seconds until a request counts as failed
    #[arg(long, default_value_t = 120.0, value_name = "SECONDS", help_heading = "Endpoint")]
    pub timeout: f64,
    /// Further attempts after a failed request, with growing waits or those that the endpoint asks for
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=20), help_heading = "Endpoint")]
    pub retries: u32,
    /// Maximum requests per minute
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000), help_heading = "Endpoint")]
    pub requests_per_minute: Option<u32>,
    /// Environment variable that holds the API key
    #[arg(long, value_name = "NAME", default_value = "PIXTUNE_API_KEY", help_heading = "Endpoint")]
    pub api_key_env: String,

    #[command(flatten, next_help_heading = "Judge")]
    pub judge: JudgeArgs,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human, help_heading = "Output")]
    pub format: Format,
    /// Also write the result as JUnit XML
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub junit: Option<PathBuf>,
    /// Number of threads [default: one per CPU]
    #[arg(long, value_name = "N", help_heading = "Output")]
    pub threads: Option<usize>,
    #[command(flatten, next_help_heading = "Images at URLs")]
    pub fetch: FetchArgs,
}

/// Models that judge answers.
#[derive(Debug, clap::Args)]
pub struct JudgeArgs {
    /// Also have a model rate the answers from 1 to 10, as in MM-MT-Bench; an OpenAI-compatible endpoint
    #[arg(long, value_name = "URL", requires = "judge_model")]
    pub judge_endpoint: Option<String>,
    /// Name of the judge at its endpoint
    #[arg(long, value_name = "NAME", requires = "judge_endpoint")]
    pub judge_model: Option<String>,
    /// Environment variable that holds the API key of the judge
    #[arg(long, value_name = "NAME", default_value = "PIXTUNE_JUDGE_API_KEY")]
    pub judge_api_key_env: String,
    /// Also have the judge choose the better answer of the two models of --compare, in both orders
    #[arg(long, requires = "judge_model")]
    pub judge_pairs: bool,
    /// Price of the judge in US dollars per million prompt and completion tokens, such as 2.5,10: the output has the cost
    #[arg(long, value_name = "PROMPT,COMPLETION", requires = "judge_model")]
    pub judge_price: Option<String>,
    /// Name of a second judge, who judges the same: the output has how far they agree
    #[arg(long, value_name = "NAME", requires = "judge_model")]
    pub second_judge_model: Option<String>,
    /// Endpoint of the second judge [default: that of the first]
    #[arg(long, value_name = "URL", requires = "second_judge_model")]
    pub second_judge_endpoint: Option<String>,
    /// Environment variable that holds the API key of the second judge [default: that of the first, or
    /// PIXTUNE_SECOND_JUDGE_API_KEY if it has its own endpoint]
    #[arg(long, value_name = "NAME", requires = "second_judge_model")]
    pub second_judge_api_key_env: Option<String>,
    /// Price of the second judge
    #[arg(long, value_name = "PROMPT,COMPLETION", requires = "second_judge_model")]
    pub second_judge_price: Option<String>,
}

/// A metric on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricArg {
    /// By the references
    Auto,
    /// The same text
    Exact,
    /// Numbers within 5 %, texts without regard to case (ChartQA)
    Relaxed,
    /// The same, with the reference anywhere in the answer
    Anywhere,
    /// Edit distance (DocVQA)
    Anls,
    /// Agreement with several people (VQAv2)
    Vqa,
    /// The letter of an option (MMMU)
    Mcq,
    /// Fields of a JSON object
    Json,
    /// The reference in the answer
    Contains,
    /// Numbers within --tolerance
    Number,
}

/// A variant on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VariantArg {
    /// mistral-evals
    Mistral,
    /// lmms-eval
    Lmms,
    /// The script of the benchmark's authors
    Official,
}
