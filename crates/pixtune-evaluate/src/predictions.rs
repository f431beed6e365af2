//! A file of answers: which line is for which sample and phrasing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::Value;
use pixtune_core::rules;
use pixtune_infer::Usage;
use pixtune_io::read::{FileReader, Format, LineFile, MAX_LINE, ReadError, Row, RowReader as _, RowRef};
use pixtune_io::tokens::parse_row;

use crate::answers::Answered;
use crate::data::{Dataset, Entry, Hear, Key, Kind, SampleRow, key_of, read_text, references, shortened};
use crate::error::EvaluateError;

/// More would not be compared by anyone, and each costs memory for every sample.
const MOST_PHRASINGS: usize = 64;

/// The phrasing of a prediction that names none.
pub(crate) const AS_WRITTEN: &str = "{prompt}";

/// The answers of a file, by sample and phrasing.
pub(crate) struct Predictions {
    path: PathBuf,
    name: String,
    reader: FileReader,
    /// The phrasings in order of appearance.
    pub(crate) phrasings: Vec<String>,
    places: HashMap<(Key, u8), RowRef>,
    /// Predictions that go by their order.
    unnamed: u64,
    /// Lines that cannot be used, or for nothing.
    pub(crate) invalid: u64,
}

struct Facts {
    key: Option<Key>,
    phrasing: String,
}

impl Predictions {
    /// Reads every line once.
    pub(crate) fn open(
        path: &Path,
        threads: usize,
        hear: &mut Hear<'_>,
    ) -> Result<Predictions, EvaluateError> {
        let lines = LineFile::open_rereadable(path, MAX_LINE)?;
        let mut predictions = Predictions {
            path: path.to_owned(),
            name: lines.name.clone(),
            reader: FileReader::open(path, Format::JsonLines, 0, MAX_LINE)?,
            phrasings: Vec::new(),
            places: HashMap::new(),
            unnamed: 0,
            invalid: 0,
        };
        let work = |row: Row| (!row.is_blank()).then(|| facts(&row));
        let mut position = 0;
        lines.each_row(threads, work, |place: RowRef, facts| {
            let Some(facts) = facts else { return Ok(()) };
            let kept = match facts {
                Ok(facts) => predictions.keep(place, facts, position)?,
                Err(finding) => Err(finding),
            };
            if let Err(finding) = kept {
                predictions.invalid += 1;
                hear(&finding.at(&predictions.name, place.number));
            }
            position += 1;
            Ok::<(), EvaluateError>(())
        })?;
        if predictions.phrasings.is_empty() {
            predictions.phrasings.push(AS_WRITTEN.to_owned());
        }
        Ok(predictions)
    }

    fn keep(
        &mut self,
        place: RowRef,
        facts: Facts,
        position: u64,
    ) -> Result<Result<(), Finding>, EvaluateError> {
        let Facts { key, phrasing } = facts;
        let known = self.phrasings.iter().position(|known| *known == phrasing);
        let index = known.unwrap_or_else(|| {
            self.phrasings.push(phrasing);
            self.phrasings.len() - 1
        });
        let Some(index) = u8::try_from(index).ok().filter(|index| usize::from(*index) < MOST_PHRASINGS)
        else {
            return Err(EvaluateError::TooManyPhrasings { path: self.path.clone(), most: MOST_PHRASINGS });
        };
        self.unnamed += u64::from(key.is_none());
        let key = key.unwrap_or(Key::Position(position));
        if let Some(first) = self.places.get(&(key, index)) {
            let message = format!("line {} is a prediction for the same sample", first.number);
            return Ok(Err(Finding::new(&rules::PREDICTION_REPEATED, "/id", message)));
        }
        self.places.insert((key, index), place);
        Ok(Ok(()))
    }

    /// Finds the predictions for every sample, in the order of samples and phrasings. What is for no sample is reported
    /// unless only some of the samples are looked at.
    pub(crate) fn matched(
        &mut self,
        dataset: &Dataset,
        is_limited: bool,
        hear: &mut Hear<'_>,
    ) -> Result<Vec<Option<RowRef>>, EvaluateError> {
        let samples = dataset.entries.len() as u64 + dataset.invalid;
        if self.unnamed > 0 && !is_limited && dataset.kind == Kind::Conversations && self.unnamed != samples {
            let (path, predictions) = (self.path.clone(), self.unnamed);
            return Err(EvaluateError::Unaligned { path, predictions, samples });
        }
        let mut matched = Vec::with_capacity(dataset.entries.len() * self.phrasings.len());
        for entry in &dataset.entries {
            let keys = dataset.keys(*entry);
            for phrasing in 0..self.phrasings.len() as u8 {
                matched.push(keys.iter().find_map(|key| self.places.remove(&(*key, phrasing))));
            }
        }
        if !is_limited && self.unnamed == 0 {
            self.report_unmatched(hear);
        }
        Ok(matched)
    }

    fn report_unmatched(&mut self, hear: &mut Hear<'_>) {
        let mut lines: Vec<u64> = self.places.drain().map(|(_, place)| place.number).collect();
        lines.sort_unstable();
        for line in lines {
            self.invalid += 1;
            let finding = Finding::new(&rules::PREDICTION_UNMATCHED, "", "no sample has this id or line");
            hear(&finding.at(&self.name, line));
        }
    }

    /// The answer of a sample, with the references beside it. Where the sample is the line of its own prediction, the line was read
    /// already.
    pub(crate) fn of(
        &self,
        sample: &SampleRow<'_>,
        (dataset, entry): (&Dataset, Entry),
        place: RowRef,
    ) -> Result<(Answered, Vec<String>), EvaluateError> {
        match &sample.row {
            Some(row) if dataset.is_at(entry, &self.path, place) => {
                let changed = || EvaluateError::Read(ReadError::Changed { path: self.path.clone() });
                Ok((answer(row).map_err(|_| changed())?, sample.references.clone()))
            }
            _ => self.read(place),
        }
    }

    /// Reads an answer again, with the references beside it.
    fn read(&self, place: RowRef) -> Result<(Answered, Vec<String>), EvaluateError> {
        let row = self.reader.reread(place)?;
        let changed = || EvaluateError::Read(ReadError::Changed { path: self.path.clone() });
        let parsed = parse_row(&row).map_err(|_| changed())?;
        let read = answer(&parsed.value).and_then(|answered| Ok((answered, references(&parsed.value)?)));
        read.map_err(|_| changed())
    }

    /// The finding about a sample without a prediction.
    pub(crate) fn missing(&self, dataset: &Dataset, entry: Entry, id: &str) -> Finding {
        let of = dataset.file_name(entry);
        let message = format!("`{}` has no prediction for `{}`", self.name, shortened(id));
        let finding = Finding::new(&rules::PREDICTION_MISSING, "", message);
        if of == self.name {
            finding
        } else {
            finding.hint("ids are compared as texts; without `id`, `line` is the line of the sample")
        }
    }
}

fn facts(row: &Row) -> Result<Facts, Finding> {
    let parsed = parse_row(row)?;
    let value = &parsed.value;
    if value.as_object().is_none() {
        let message = format!("the line is {}, not an object", value.kind());
        return Err(Finding::new(&rules::JSON_NOT_OBJECT, "", message));
    }
    answer(value)?;
    references(value)?;
    let phrasing = value.text("phrasing").unwrap_or(AS_WRITTEN).to_owned();
    Ok(Facts { key: key_of(value)?, phrasing })
}

/// The answer of a line: `answer`, `prediction`, `response` or `output`; a `failure` instead of one stays a failure.
fn answer(row: &Value<'_>) -> Result<Answered, Finding> {
    let keys = ["answer", "prediction", "response", "output"];
    let found = keys.iter().find_map(|key| Some((*key, row.get(key)?)));
    let failure = row.get("failure").filter(|failure| !matches!(failure, Value::Null));
    match (found, failure) {
        (Some((_, Value::Null)) | None, Some(failure)) => Ok(Answered::Failed {
            kind: failure.text("kind").unwrap_or("failed").to_owned(),
            message: failure.text("message").unwrap_or("the prediction is marked as failed").to_owned(),
        }),
        (Some((key, value)), _) => {
            let is_cut = row.text("finish") == Some("length");
            Ok(Answered::Text { text: read_text(key, value)?, is_cut, usage: Usage::default() })
        }
        (None, None) => {
            let message = "the line has no `answer` or `prediction`";
            Err(Finding::new(&rules::MISSING_FIELD, "/answer", message))
        }
    }
}
