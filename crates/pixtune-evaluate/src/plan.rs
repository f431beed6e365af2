//! What to evaluate, and how.

use std::path::PathBuf;

use pixtune_core::phrasing::Phrasing;
use pixtune_core::score::{Family, Variant};
use pixtune_cuda::Device;
use pixtune_infer::{RemoteOptions, Sampling};
use pixtune_io::fetch::FetchOptions;

use crate::benchmark::BenchmarkChoice;

/// An evaluation.
#[derive(Debug, Clone)]
pub struct EvaluatePlan {
    /// The samples: a file, or a directory that `prepare` wrote; `None` where the predictions contain references.
    pub data: Option<PathBuf>,
    /// The benchmark that the data is a file of; without one, it is conversations.
    pub benchmark: Option<BenchmarkChoice>,
    /// How images at URLs are downloaded, if they are.
    pub fetch: Option<FetchOptions>,
    /// A file with further references.
    pub references: Option<PathBuf>,
    /// Who answers.
    pub contestant: Contestant,
    /// Whom it is compared with.
    pub compared: Option<Contestant>,
    /// Who judges the answers, besides the metric.
    pub judge: Option<JudgePlan>,
    /// The metric; `None` to choose it by the references.
    pub family: Option<Family>,
    /// Whose rules it follows, where programs differ.
    pub variant: Option<Variant>,
    /// How far numbers may be off.
    pub tolerance: Option<f64>,
    /// The wordings of each prompt.
    pub phrasings: Vec<Phrasing>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The answer ends after this many tokens.
    pub max_tokens: usize,
    /// Only the first so many samples.
    pub limit: Option<u64>,
    /// Requests in flight, of an endpoint.
    pub concurrency: usize,
    /// The device of a model on this machine.
    pub device: Device,
    /// Whether such a model is loaded in 4 bits.
    pub load_in_4bit: bool,
    /// Threads to work on.
    pub threads: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Scores that must be reached.
    pub thresholds: Vec<Threshold>,
    /// The output directory.
    pub out: PathBuf,
    /// What happens to an output or to the answers of an earlier run.
    pub existing: Existing,
}

/// What happens to what an earlier run left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is an error.
    Keep,
    /// It is replaced.
    Replace,
    /// Its answers are used again, and only what is missing is asked.
    Resume,
}

/// Someone who answers.
#[derive(Debug, Clone)]
pub struct Contestant {
    /// As tables and reports name it.
    pub name: String,
    /// Where the answers come from.
    pub source: AnswerSource,
}

/// Where answers come from.
#[derive(Debug, Clone)]
pub enum AnswerSource {
    /// A model on this machine, with or without an adapter.
    Local {
        /// The model directory.
        model: PathBuf,
        /// The adapter.
        adapter: Option<PathBuf>,
    },
    /// A model behind a URL.
    Endpoint(RemoteOptions),
    /// A file of answers.
    Predictions(PathBuf),
}

impl AnswerSource {
    /// The file of answers, if it is one.
    pub fn predictions(&self) -> Option<&PathBuf> {
        match self {
            AnswerSource::Predictions(path) => Some(path),
            _ => None,
        }
    }
}

/// Who judges, and what.
#[derive(Debug, Clone)]
pub struct JudgePlan {
    /// The judge whose ratings count.
    pub first: JudgeOptions,
    /// Another one, for the agreement.
    pub second: Option<JudgeOptions>,
    /// They also choose between the answers of the two models that are compared.
    pub pairs: bool,
}

/// A judge.
#[derive(Debug, Clone)]
pub struct JudgeOptions {
    /// How it is asked.
    pub remote: RemoteOptions,
    /// What its tokens cost, if that is known.
    pub price: Option<Price>,
}

/// What tokens cost, in US dollars for a million.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Tokens of what the judge is shown, images included.
    pub prompt: f64,
    /// Tokens of its judgements.
    pub completion: f64,
}

/// A score that must be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The metric, or one of the scores that are named in `scores.json`.
    pub name: String,
    /// The lowest score that is enough.
    pub least: f64,
}
