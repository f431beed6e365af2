//! `pixtune prepare`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::VerifyArg;
use crate::ui::Format;

/// Turn a table and its images into train.jsonl and validation.jsonl
///
/// Reads CSV, TSV, JSON Lines or one JSON array of flat rows, of `messages` (Mistral's and OpenAI's spelling, images
/// inside or beside them in `images`) or of LLaVA's, ShareGPT's and Alpaca's records, and Hugging Face image folders
/// (metadata.csv or metadata.jsonl). Images are decoded once, turned upright, put on white, shrunk to what
/// the model sees and embedded as base64. Every row that cannot be used is explained in rejected.jsonl.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  pixtune prepare dataset.csv --out prepared
  pixtune prepare photos/ --out prepared                        a directory with metadata.csv in it
  pixtune prepare 'part-*.jsonl' --out prepared --validation 500
  pixtune prepare vqa.tsv --out prepared --columns image=file,prompt=q,completion=a
  zcat rows.jsonl.gz | pixtune prepare - --out prepared
  pixtune prepare dataset.csv --out prepared --validation 1MB --split stratify=kind
  pixtune prepare dataset.csv --out prepared --resume           after a kill or a full disk

pixtune.toml, beside the data or in a directory above, holds as it does for `pixtune check`: model, target
and limits (files are split below max-file-bytes; --validation says how much is held out); rules that
are ignored or not selected are not told; a severity of \"error\" rejects the row, like --drop.
")]
pub struct PrepareArgs {
    /// Files, quoted patterns, image folders; - for standard input
    #[arg(required = true)]
    pub inputs: Vec<String>,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The model whose image grid and context hold: pixtral-12b, pixtral-large, mistral-small-3.1, mistral-small-3.2,
    /// ministral-3-3b, ministral-3-8b, ministral-3-14b, or a name they have elsewhere
    /// [default: pixtral-12b]
    #[arg(long)]
    pub model: Option<String>,
    /// Whose format and limits hold: mistral or openai [default: mistral]
    #[arg(long)]
    pub target: Option<String>,
    /// Which column is what: image=COL,prompt=COL,completion=COL,system=COL,group=COL,id=COL; the rest is guessed from
    /// the usual names and told. `image` may be named several times
    #[arg(long, value_name = "NAME=COL,…")]
    pub columns: Option<String>,
    /// Where relative paths of images start [default: the directory of each file]
    #[arg(long, value_name = "DIR")]
    pub image_folder: Option<PathBuf>,
    /// fit: images are made to fit model and target; keep: their bytes are embedded as they are
    #[arg(long, value_enum, default_value_t = ImagesArg::Fit)]
    pub images: ImagesArg,
    /// Where images stand when the prompt does not place them with `<image>`
    #[arg(long, value_enum, default_value_t = PositionArg::First)]
    pub image_position: PositionArg,
    /// How images are shrunk: as the model's own preprocessing does it, or with Lanczos
    #[arg(long, value_enum, default_value_t = ResamplingArg::Mistral)]
    pub resampling: ResamplingArg,
    /// How images that pass through unchanged are checked: decoded to the last pixel, or walked through by structure
    #[arg(long, value_enum, default_value_t = VerifyArg::Full)]
    pub verify: VerifyArg,
    /// Quality of JPEGs that are written anew
    #[arg(long, default_value_t = 85, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub jpeg_quality: u8,
    /// Do not measure images: no near duplicates, no quality
    #[arg(long)]
    pub no_measure: bool,
    /// Count with this Tekken vocabulary instead of the built-in one of Pixtral 12B
    #[arg(long, value_name = "tekken.json")]
    pub tokenizer: Option<PathBuf>,
    /// Reject samples with more tokens than this (the model's context is always a limit)
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u32>,
    /// What to hold out: a share (0.1, 10%), a number of rows (500) or what fits into a size (1MB)
    #[arg(long, default_value = "0.1", value_name = "SHARE|N|SIZE")]
    pub validation: String,
    /// What stays together or is spread evenly: random, group, stratify=COL, or auto (by kind of answer, number of
    /// images and length). Rows of one group, of the same or nearly the same image or of nearly the same text never
    /// stand on both sides. Without it: group where --columns names a group, else random
    #[arg(long, value_name = "KIND")]
    pub split: Option<String>,
    /// Which repetitions are rejected: exact, those of the same pixels and text; near, also re-encoded, scaled or slightly
    /// cut images with nearly the same text (the row with the largest images is kept); off, none. With exact, near
    /// ones are told
    #[arg(long, value_enum, default_value_t = DedupArg::Exact)]
    pub dedup: DedupArg,
    /// What makes a repetition: the same images and text, or the same images alone
    #[arg(long, value_enum, default_value_t = DedupByArg::Sample)]
    pub dedup_by: DedupByArg,
    /// Bits of 64 in which the perceptual hashes of near images may differ
    #[arg(long, default_value_t = 10, value_name = "BITS", value_parser = clap::value_parser!(u32).range(0..=10))]
    pub near_distance: u32,
    /// Warnings that reject their row: dark, light, blurry, low-information, too-small, shrunk, odd-size, grayscale, … or
    /// any rule of `pixtune rules`
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub drop: Vec<String>,
    /// Warnings of these rules and groups are not told; what makes a row useless stays an error
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Read this file instead of the pixtune.toml beside the data or in the directories above
    #[arg(long, value_name = "FILE", conflicts_with = "no_config")]
    pub config: Option<PathBuf>,
    /// Read no pixtune.toml
    #[arg(long)]
    pub no_config: bool,
    /// Another seed holds out other rows
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads to work on; all processors without it. The output does not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Give up, leaving nothing behind, when more rows than this are rejected
    #[arg(long, value_name = "N|P%")]
    pub max_reject: Option<String>,
    /// Bytes of one row that are read at most
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    pub max_row_bytes: String,
    /// Bytes of one image file that are read at most
    #[arg(long, default_value = "100MB", value_name = "SIZE")]
    pub max_image_bytes: String,
    /// Pixels a side of an image may have; the target's limit without it
    #[arg(long, value_name = "PIXELS")]
    pub max_image_side: Option<u32>,
    /// Bytes an image may take once decoded
    #[arg(long, default_value = "500MB", value_name = "SIZE")]
    pub max_decoded_bytes: String,
    /// Go on with a run that was killed or that ran out of disk
    #[arg(long)]
    pub resume: bool,
    /// Replace what an earlier run made
    #[arg(long)]
    pub force: bool,
    /// Print the resolved options and do nothing
    #[arg(long)]
    pub show_plan: bool,
    /// Say nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
    /// For people or for machines
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
