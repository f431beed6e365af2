//! Responses while a model is trained, to the same samples of the validation split at every evaluation: for people to read, and
//! for a metric to score.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use pixtune_core::json::{self, Value, object};
use pixtune_core::score::Scorer;
use pixtune_core::tokens::Tokenizer;
use pixtune_evaluate::{References, score_row};
use pixtune_infer::{AnswerError, Event, FinishReason, Generation, Sampling};
use pixtune_model::kernels::Kernels;
use pixtune_model::network::{Batch, Network, Sequence};

use crate::data::Dataset;
use crate::directory::{RunDirectory, names};
use crate::error::TrainError;

/// A response may be this many times as long as the one in the data, and at least and at most so many tokens.
const LONGER: usize = 2;
const LEAST_TOKENS: usize = 16;
const MOST_TOKENS: usize = 256;

/// A line of `samples.jsonl`: how the model answered a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct ExampleRecord {
    /// The step after which it answered; 0 before the first.
    pub step: u64,
    /// The file of the sample.
    pub file: String,
    /// Its line.
    pub line: u64,
    /// What the model read, as text.
    pub prompt: String,
    /// The response in the data.
    pub reference: String,
    /// What the model answered.
    pub response: String,
    /// Whether it ended the response, rather than reaching the limit.
    pub is_complete: bool,
    /// The score of the response, if a metric is computed.
    pub score: Option<f64>,
}

impl ExampleRecord {
    /// The record of a line; `None` where it is not one.
    pub fn parse(line: &str) -> Option<ExampleRecord> {
        let value = json::parse(line).ok()?.value;
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key| match value.get(key) {
            Some(Value::Number(number)) => number.parse().ok(),
            _ => None,
        };
        Some(ExampleRecord {
            step: number("step")?,
            file: text("file")?,
            line: number("line")?,
            prompt: text("prompt")?,
            reference: text("reference")?,
            response: text("response")?,
            is_complete: value.get("complete") == Some(&Value::Bool(true)),
            score: match value.get("score") {
                Some(Value::Number(score)) => score.parse().ok(),
                _ => None,
            },
        })
    }

    /// The line, with its end.
    fn to_line(&self) -> String {
        json::line(object(|line| {
            line.field("step", self.step).field("file", &self.file).field("line", self.line);
            line.field("prompt", &self.prompt).field("reference", &self.reference);
            line.field("response", &self.response).field("complete", self.is_complete);
            line.optional("score", self.score);
        }))
    }
}

/// Reads the examples of a run; none if there is no file.
pub fn read(directory: &Path) -> io::Result<Vec<ExampleRecord>> {
    match fs::read_to_string(directory.join(names::SAMPLES)) {
        Ok(text) => Ok(text.lines().filter_map(ExampleRecord::parse).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What is answered at an evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'r> {
    /// The number of samples.
    pub samples: usize,
    /// The step they are answered after.
    pub step: u64,
    /// Scores the responses, with the references beside the samples.
    pub metric: Option<(Scorer, &'r References)>,
}

/// How the answers of an evaluation ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answers {
    /// The run is stopped meanwhile: nothing was written.
    Stopped,
    /// All are written; their mean score, if they were scored.
    Written(Option<f64>),
}

/// Lets the model answer samples, spread evenly over a dataset, and writes what it answered. Lines of this step and later ones,
/// which a resumed run repeats, are replaced.
pub fn write<K: Kernels>(
    directory: &RunDirectory,
    network: &Network<'_, K>,
    dataset: &Dataset<'_>,
    Wanted { samples: number, step, metric }: Wanted<'_>,
    stop: &AtomicBool,
) -> Result<Answers, TrainError> {
    let path = directory.join(names::SAMPLES);
    let mut records = read(directory.path()).map_err(|source| TrainError::Write { path, source })?;
    records.retain(|record| record.step < step);
    let samples = dataset.entries().len();
    let number = number.min(samples);
    for index in 0..number {
        let sample = (index * samples / number) as u32;
        // An image that cannot be read is reported where the loss is computed.
        let Ok(loaded) = dataset.load(sample)? else { continue };
        let Some(split) = Split::of(&loaded.sequence) else { continue };
        let (file, line) = dataset.place(sample);
        let tokenizer = dataset.vocabulary();
        let (prompt, reference) = (text(tokenizer, &split.prompt.ids), text(tokenizer, split.reference));
        let max_tokens = (split.reference.len() * LONGER).clamp(LEAST_TOKENS, MOST_TOKENS);
        let batch = Batch::pack(&[split.prompt], network.shape().image_token)?;
        let Some((response, is_complete)) = respond(network, tokenizer, batch, max_tokens, stop)? else {
            return Ok(Answers::Stopped);
        };
        let score =
            match metric {
                Some((scorer, references)) => {
                    let scored = score_row(&dataset.row(sample)?, line, references, scorer, &response);
                    Some(scored.map_err(|finding| TrainError::NoScore {
                        finding: finding.at(file, line).to_string(),
                    })?)
                }
                None => None,
            };
        let file = file.to_owned();
        records.push(ExampleRecord { step, file, line, prompt, reference, response, is_complete, score });
    }
    let lines: String = records.iter().map(ExampleRecord::to_line).collect();
    directory.write(names::SAMPLES, lines.as_bytes())?;
    let scores: Vec<f64> =
        records.iter().filter(|record| record.step == step).filter_map(|record| record.score).collect();
    let mean = (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64);
    match (metric, mean) {
        (Some(_), None) => Err(TrainError::NoScores),
        (_, mean) => Ok(Answers::Written(mean)),
    }
}

/// A sample before and after the beginning of its last trained response.
struct Split<'s> {
    prompt: Sequence,
    reference: &'s [u32],
}

impl Split<'_> {
    fn of(sequence: &Sequence) -> Option<Split<'_>> {
        let end = sequence.trained.iter().rposition(|trained| *trained)?;
        let start = sequence.trained[..end].iter().rposition(|trained| !trained)? + 1;
        let (ids, reference) = sequence.ids.split_at(start);
        let prompt =
            Sequence { ids: ids.to_vec(), trained: vec![false; start], images: sequence.images.clone() };
        Some(Split { prompt, reference: &reference[..=end - start] })
    }
}

/// The most likely response, and whether it is complete; `None` if the run is stopped meanwhile.
fn respond<K: Kernels>(
    network: &Network<'_, K>,
    tokenizer: &Tokenizer,
    prompt: Batch,
    max_tokens: usize,
    stop: &AtomicBool,
) -> Result<Option<(String, bool)>, TrainError> {
    let mut response = String::new();
    for event in Generation::new(network, tokenizer, prompt, Sampling::GREEDY, max_tokens) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match event.map_err(failed)? {
            Event::Text(text) => response += &text,
            Event::Token(_) | Event::ToolCalls => {}
            Event::Finished { reason, .. } => return Ok(Some((response, reason == FinishReason::Stop))),
        }
    }
    Ok(Some((response, false)))
}

/// Of a prompt that is encoded already, only the network can fail.
fn failed(error: AnswerError) -> TrainError {
    match error {
        AnswerError::Network(error) => TrainError::Network(error),
        other => TrainError::Setting { reason: other.to_string() },
    }
}

/// The text of tokens, without special ones.
fn text(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let plain: Vec<u32> = ids.iter().copied().filter(|id| tokenizer.token(*id).is_some()).collect();
    tokenizer.decode(&plain).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back() {
        let record = ExampleRecord {
            step: 7,
            file: "a \"b\".jsonl".to_owned(),
            line: 3,
            prompt: "What\nis it?".to_owned(),
            reference: "A cat.".to_owned(),
            response: String::new(),
            is_complete: true,
            score: Some(0.3),
        };
        assert_eq!(ExampleRecord::parse(record.to_line().trim_end()), Some(record));
        assert_eq!(ExampleRecord::parse("{\"step\":1"), None);
    }

    #[test]
    fn a_sample_is_split_before_its_last_response() {
        let split = |trained: &[u8]| {
            let ids = (0..trained.len() as u32).collect();
            let trained = trained.iter().map(|one| *one == 1).collect();
            let sequence = Sequence { ids, trained, images: Vec::new() };
            Split::of(&sequence).map(|split| (split.prompt.ids, split.reference.to_vec()))
        };
        assert_eq!(split(&[0, 0, 1, 1]), Some((vec![0, 1], vec![2, 3])));
        assert_eq!(split(&[0, 1, 1, 0, 0, 1, 0]), Some((vec![0, 1, 2, 3, 4], vec![5])));
        assert_eq!((split(&[0, 0]), split(&[1, 1])), (None, None));
    }
}
