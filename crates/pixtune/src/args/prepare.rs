//! `pixtune prepare`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use pixtune_core::columns::Answers;

use super::{EngineArgs, FetchArgs, MeasureArgs, VerifyArg};
use crate::ui::Format;

/// Convert a table and its images to train.jsonl and validation.jsonl
///
/// Reads CSV, TSV, JSON Lines and JSON documents (also compressed: .gz, .zst), Parquet, Arrow and Feather, .xlsx
/// workbooks, WebDataset shards, ZIP and tar archives, datasets saved by `save_to_disk`, and Hugging Face image folders (with metadata.csv or
/// metadata.jsonl). Rows are flat, or `messages` in Mistral's or OpenAI's format (images inside, or beside them in `images`),
/// or samples of other tools, such as LLaVA, ShareGPT, Alpaca, TRL or COCO. Images are decoded once, auto-oriented, flattened
/// onto white, downscaled to the model's input size and embedded as base64. rejected.jsonl lists each rejected row with the
/// reason.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune prepare dataset.csv --out prepared
  pixtune prepare photos/ --out prepared                        a directory with metadata.csv
  pixtune prepare 'part-*.jsonl' --out prepared --validation 500
  pixtune prepare vqa.tsv --out prepared --columns image=file,prompt=q,completion=a
  pixtune prepare 'data/train-*.parquet' --out prepared         images inside, as `datasets` writes them
  xzcat rows.jsonl.xz | pixtune prepare - --out prepared
  pixtune prepare dataset.csv --out prepared --validation 1MB --split stratify=kind
  pixtune prepare urls.csv --out prepared --fetch               download the images at URLs
  pixtune prepare dataset.csv --out prepared --resume           after a kill or a full disk
  pixtune prepare 's3://bucket/*.parquet' --out /shared/prepared --engine ray

pixtune.toml, beside the data or in a parent directory, applies as in `pixtune check`: model, target and
limits (max-file-bytes splits the output into shards). Rules that are ignored or not selected are not
reported. A severity of \"error\" rejects the row, like --drop.
")]
pub struct PrepareArgs {
    /// Files, quoted glob patterns, image folders, or their URLs (s3://, gs://, az://, https://); - for standard input
    #[arg(required = true)]
    pub inputs: Vec<String>,
    /// Output directory
    #[arg(long, short, value_name = "DIR")]
    pub out: PathBuf,
    /// Model to prepare for: pixtral-12b, pixtral-large, mistral-small-3.1, mistral-small-3.2,
    /// magistral-small-2509, ministral-3-3b, ministral-3-8b, ministral-3-14b, mistral-small-4, mistral-medium-3.5, an alias
    /// such as mistralai/Pixtral-12B-2409, or a model directory, whose configuration and tokenizer apply; weights are not
    /// needed [default: pixtral-12b]
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,
    /// Format and limits to apply: mistral or openai [default: mistral]
    #[arg(long)]
    pub target: Option<String>,
    /// Set the columns: image=COL,prompt=COL,completion=COL,system=COL,group=COL,id=COL,split=COL. `image` can be given
    /// several times. Other columns are guessed from their names and values, and the guess is printed
    #[arg(long, value_name = "NAME=COL,…")]
    pub columns: Option<String>,
    /// Drop these columns and keys, whatever they hold. Without it, a column with content (images, texts, messages) that
    /// has no role ends the run: without that content the samples might mean something else
    #[arg(long, value_name = "COL,…", value_delimiter = ',')]
    pub remove_columns: Vec<String>,
    /// Which of several reference answers to train on: the first, the most common one, or each as a sample of its own
    #[arg(long, value_enum, default_value_t = AnswersArg::MostCommon, value_name = "WHICH")]
    pub answers: AnswersArg,
    /// Encoding of the input text, such as windows-1252 [default: UTF-8, or detected, which is printed]
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<String>,
    /// Character between the cells of tables, such as `;` or tab [default: detected]
    #[arg(long, value_name = "CHAR")]
    pub separator: Option<String>,
    /// Sheet of a workbook (.xlsx) [default: the first that is not hidden]
    #[arg(long, value_name = "NAME")]
    pub sheet: Option<String>,
    /// Base directory of relative image paths [default: the directory of each file]
    #[arg(long, value_name = "DIR")]
    pub image_folder: Option<PathBuf>,
    #[command(flatten)]
    pub fetch: FetchArgs,
    /// Resize images to fit the model and target, or keep their bytes
    #[arg(long, value_enum, default_value_t = ImagesArg::Fit)]
    pub images: ImagesArg,
    /// Position of images if the prompt has no `<image>` placeholder
    #[arg(long, value_enum, default_value_t = PositionArg::First)]
    pub image_position: PositionArg,
    /// Resampling filter for resizing: the filter of the model's preprocessing, or Lanczos
    #[arg(long, value_enum, default_value_t = ResamplingArg::Mistral)]
    pub resampling: ResamplingArg,
    /// How deeply to verify images that are kept unchanged: decode them, or parse their structure
    #[arg(long, value_enum, default_value_t = VerifyArg::Full)]
    pub verify: VerifyArg,
    /// Quality of re-encoded JPEG images
    #[arg(long, default_value_t = 85, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub jpeg_quality: u8,
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Tekken vocabulary to count with, or `pixtral-12b` for the built-in one [default: tekken.json in the model directory,
    /// or the built-in one for a name]
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,
    /// Maximum tokens per sample (the model's context always applies)
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// Size of the validation split: a fraction (0.1, 10%), a number of rows (500), or a file size (1MB)
    #[arg(long, default_value = "0.1", value_name = "SHARE|N|SIZE")]
    pub validation: String,
    /// Split method: random, group, stratify=COL, or auto (stratify by response format, number of images and length).
    /// Rows with the same group, duplicate or near-duplicate images, or near-duplicate text are always in the same split
    /// [default: the splits that the dataset names, by a `split` column or by names of files and directories; else group
    /// if --columns names a group, else random]
    #[arg(long, value_name = "KIND")]
    pub split: Option<String>,
    /// Also write the test split of the dataset, as test.jsonl; without it, test rows are skipped
    #[arg(long)]
    pub write_test: bool,
    /// Duplicates to reject: exact (same pixels and text), near (also re-encoded, scaled or slightly cropped images with
    /// near-identical text; the row with the largest images is kept), or off. exact reports near-duplicates
    #[arg(long, value_enum, default_value_t = DedupArg::Exact)]
    pub dedup: DedupArg,
    /// Compare images and text, or images only
    #[arg(long, value_enum, default_value_t = DedupByArg::Sample)]
    pub dedup_by: DedupByArg,
    /// Maximum Hamming distance between the 64-bit perceptual hashes of near-duplicate images
    #[arg(long, default_value_t = 10, value_name = "BITS", value_parser = clap::value_parser!(u32).range(0..=10))]
    pub near_distance: u32,
    /// Reject rows with warnings of these rules (see `pixtune rules`); the prefix `image-` is optional:
    /// `dark,light,blurry,low-information,too-small,shrunk,odd-size,grayscale`
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub drop: Vec<String>,
    /// Ignore warnings of these rules and groups; errors still reject their row
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Configuration file [default: pixtune.toml beside the data or in a parent directory]
    #[arg(long, value_name = "FILE", conflicts_with = "no_config")]
    pub config: Option<PathBuf>,
    /// Ignore pixtune.toml
    #[arg(long)]
    pub no_config: bool,
    /// Seed of the split
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Number of threads; the output does not depend on it [default: all CPUs]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Memory for the decisions over all rows (duplicates, split); what exceeds it is sorted on disk, in the directory of the
    /// unfinished run. The output does not depend on it
    #[arg(long, default_value = "2GB", value_name = "SIZE")]
    pub memory: String,
    /// Fail without output if more rows than this are rejected
    #[arg(long, value_name = "N|P%")]
    pub max_reject: Option<String>,
    /// Maximum size of a row
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    pub max_row_bytes: String,
    /// Maximum size of an image file
    #[arg(long, default_value = "100MB", value_name = "SIZE")]
    pub max_image_bytes: String,
    /// Maximum side of an image in pixels [default: the target's limit]
    #[arg(long, value_name = "PIXELS")]
    pub max_image_side: Option<u32>,
    /// Maximum size of a decoded image
    #[arg(long, default_value = "500MB", value_name = "SIZE")]
    pub max_decoded_bytes: String,
    /// Continue an interrupted run
    #[arg(long)]
    pub resume: bool,
    /// Replace the output of an earlier run
    #[arg(long)]
    pub force: bool,
    /// Print the resolved options and exit
    #[arg(long)]
    pub show_plan: bool,
    /// Output format: for people, or one JSON object per line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImagesArg {
    Fit,
    Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PositionArg {
    First,
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AnswersArg {
    First,
    MostCommon,
    Each,
}

impl From<AnswersArg> for Answers {
    fn from(arg: AnswersArg) -> Answers {
        match arg {
            AnswersArg::First => Answers::First,
            AnswersArg::MostCommon => Answers::MostCommon,
            AnswersArg::Each => Answers::Each,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResamplingArg {
    Mistral,
    Lanczos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DedupArg {
    Off,
    Exact,
    Near,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DedupByArg {
    Sample,
    Image,
}
