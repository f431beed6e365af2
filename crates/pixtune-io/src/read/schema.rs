//! From the rows of an input to samples, once it is known which columns mean what.

use std::borrow::Cow;

use pixtune_core::checks;
use pixtune_core::columns::{Answers, ColumnChoice, Columns, Role, RowOptions, reference_answers};
use pixtune_core::content;
use pixtune_core::conversation;
use pixtune_core::curate::label_hash;
use pixtune_core::diagnostic::{Finding, Severity, pointer_push};
use pixtune_core::fix;
use pixtune_core::foreign;
use pixtune_core::grounding::{self, Regions};
use pixtune_core::json::{self, Parsed, SyntaxError, Value, python_dict};
use pixtune_core::rules;
use pixtune_core::sample::{Image, Sample};
use pixtune_core::split::{GivenSplit, names_split};
use pixtune_core::target;
use pixtune_core::text::counted;

use super::document::keyed_row;
use super::row_image;
use super::row_text::row_text;
use super::shortened::{shorten, shorten_values};
use super::table::cells;
use super::{Format, Row};

/// How the rows of an input become samples.
#[derive(Debug, Clone)]
pub struct Schema {
    /// How the input holds its rows.
    pub format: Format,
    /// Columns that a row lacks are null in it: the file declares its columns.
    pub has_nulls: bool,
    /// The names of its columns: a table's header, or the keys of the first flat row.
    pub header: Vec<String>,
    /// Which column is what; `None` when the first row is a conversation.
    pub columns: Option<Columns>,
    /// Keys beside `messages` that are used.
    pub aside: Aside,
    /// The first row has the format of another tool (LLaVA, ShareGPT, Alpaca), and rows are read as conversations.
    pub of_records: bool,
    /// Columns and keys that the user leaves out.
    pub removed: Vec<String>,
    /// The split that the path of the input names.
    pub given: Option<GivenSplit>,
}

/// The keys beside `messages` that are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// The row's id.
    pub id: String,
    /// The group, where one was chosen.
    pub group: Option<String>,
    /// The stratum, where one was chosen.
    pub stratum: Option<String>,
    /// The split that the row belongs to.
    pub split: Option<String>,
}

impl Aside {
    pub(super) fn new(choice: &ColumnChoice) -> Aside {
        let named = |role| choice.named(role).next().map(str::to_owned);
        let id = named(Role::Id).unwrap_or_else(|| "id".to_owned());
        Aside { id, group: named(Role::Group), stratum: named(Role::Stratum), split: named(Role::Split) }
    }

    fn keys(&self) -> Vec<&str> {
        let labels = [&self.group, &self.stratum, &self.split].into_iter().flatten();
        std::iter::once(&self.id).chain(labels).map(String::as_str).collect()
    }
}

/// Ids, groups and strata are words or numbers. An object or a list with content is more than that, and would be lost.
fn is_more_than_a_label(key: &str, value: &Value<'_>) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_)) && content::held(key, value).is_some()
}

/// A sample, its findings and its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The sample, which is valid if no finding is an error.
    pub sample: Sample<Image>,
    /// Findings of reading it.
    pub findings: Vec<Finding>,
    /// Its id, group and stratum.
    pub labels: Labels,
    /// The split that it was given.
    pub split: Option<GivenSplit>,
    /// Regions of its images, which are written into its texts once the sizes of the images are known.
    pub regions: Option<Regions>,
}

/// Hashes of the id, group and stratum of a row; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Labels {
    /// Of the id.
    pub id: u64,
    /// Of the group.
    pub group: u64,
    /// Of the stratum.
    pub stratum: u64,
}

impl Labels {
    fn new(row: &Value<'_>, aside: &Aside) -> Labels {
        let hash = |key: &str| match row.get(key) {
            None | Some(Value::Null) => 0,
            Some(Value::String(text)) => hash_text(text),
            Some(value) => hash_text(&value.to_string()),
        };
        let optional = |key: &Option<String>| key.as_deref().map_or(0, hash);
        Labels { id: hash(&aside.id), group: optional(&aside.group), stratum: optional(&aside.stratum) }
    }
}

fn hash_text(text: &str) -> u64 {
    if text.trim().is_empty() { 0 } else { label_hash(text) }
}

impl Schema {
    /// How many samples a row becomes.
    pub fn samples(&self, row: &Row, answers: Answers) -> u8 {
        let (Answers::Each, Some(columns)) = (answers, &self.columns) else { return 1 };
        let Ok(parsed) = self.value_of(row) else { return 1 };
        let value = parsed.value.get(&columns.completion);
        let found = value.and_then(|value| reference_answers(&columns.completion, value));
        found.and_then(|found| answers.samples(&found)).unwrap_or(1)
    }

    /// Whether rows have several reference answers, of which one is trained.
    pub fn has_several_answers(&self) -> bool {
        self.columns.as_ref().is_some_and(|columns| columns.has_several_answers)
    }

    /// All reference answers of a row that has a list of them.
    pub fn references(&self, row: &Row) -> Option<Vec<String>> {
        let columns = self.columns.as_ref()?;
        let parsed = self.value_of(row).ok()?;
        let found = reference_answers(&columns.completion, parsed.value.get(&columns.completion)?)?;
        Some(found.into_iter().map(Cow::into_owned).collect())
    }

    /// Turns a row into a sample. A row that cannot be read at all is an error finding.
    pub fn read(&self, row: &Row, options: RowOptions) -> Result<Reading, Finding> {
        let (parsed, regions) = self.parse(row)?;
        let mut reading = self.read_value(&parsed.value, options)?;
        if regions.is_none()
            && parsed.value.get(grounding::KEY).is_some()
            && let Some(placeholder) = grounding::placeholder(&reading.sample)
        {
            let message = format!("the texts have `{placeholder}`, and nothing fills it");
            let hint =
                "keep the names and boxes in `objects` in the form of ms-swift, or write them into the texts";
            reading.findings.push(Finding::new(&rules::MISSING_FIELD, "", message).hint(hint));
        }
        reading.regions = regions;
        row_image::resolve(&mut reading.sample, &row.images)?;
        reading.findings.extend(parsed.lone_surrogate.map(lone_surrogate));
        Ok(reading)
    }

    /// The row as an object, without regions that its texts refer to. JSON in the cells and strings that hold conversations is
    /// read too.
    pub(super) fn value_of<'r>(&'r self, row: &'r Row) -> Result<Parsed<'r>, Finding> {
        self.parse(row).map(|(parsed, _)| parsed)
    }

    fn parse<'r>(&'r self, row: &'r Row) -> Result<(Parsed<'r>, Option<Regions>), Finding> {
        let text = row_text(row)?;
        let mut parsed = match self.format {
            Format::Table { separator } => {
                let cells = cells(text, separator);
                if cells.len() != self.header.len() {
                    return Err(self.wrong_length(cells.len(), row));
                }
                let names = self.header.iter().map(|name| Cow::Borrowed(name.as_str()));
                let cells = cells.into_iter().map(Value::String);
                Parsed {
                    value: Value::Object(names.zip(cells).collect()),
                    lone_surrogate: None,
                    base64: vec![],
                }
            }
            Format::JsonKeyed => {
                let member = format!("{{{text}}}");
                let Parsed { value, lone_surrogate, .. } =
                    json::parse(&member).map_err(|error| not_json(text, &error))?;
                Parsed { value: keyed_row(value).into_owned(), lone_surrogate, base64: vec![] }
            }
            _ => json::parse(text).map_err(|error| not_json(text, &error))?,
        };
        if self.has_nulls && self.columns.is_some() {
            self.add_nulls(&mut parsed.value);
        }
        foreign::read_nested(&mut parsed.value);
        let is_left = self.removed.iter().all(|removed| removed != grounding::KEY)
            && !self.columns.as_ref().is_some_and(|columns| columns.uses(grounding::KEY));
        let regions = parsed.value.get(grounding::KEY).filter(|_| is_left).and_then(Regions::of);
        if let (Some(_), Value::Object(members)) = (&regions, &mut parsed.value) {
            members.retain(|(key, _)| key != grounding::KEY);
        }
        Ok((parsed, regions))
    }

    fn add_nulls<'r>(&'r self, row: &mut Value<'r>) {
        let Value::Object(members) = row else { return };
        for name in &self.header {
            if members.iter().all(|(key, _)| key != name) {
                members.push((Cow::Borrowed(name), Value::Null));
            }
        }
    }

    pub(super) fn read_value(&self, given: &Value<'_>, options: RowOptions) -> Result<Reading, Finding> {
        if given.as_object().is_none() {
            let message = format!("the row is {}, not an object", given.kind());
            return Err(Finding::new(&rules::JSON_NOT_OBJECT, "", message));
        }
        match &self.columns {
            Some(columns) if !conversation::is_conversation(given) => {
                Ok(self.read_flat(columns, given, options))
            }
            _ => self.read_conversation(given, options),
        }
    }

    fn read_conversation(&self, given: &Value<'_>, options: RowOptions) -> Result<Reading, Finding> {
        let is_usual = conversation::is_conversation(given);
        let mut read = is_usual.then(|| self.read_messages(given));
        // Most rows are spelled as the format has it; the others are converted as `fix` does.
        let is_valid =
            |findings: &[Finding]| findings.iter().all(|finding| finding.severity != Severity::Error);
        if !read.as_ref().is_some_and(|(_, findings)| is_valid(findings))
            && let Some(respelled) = fix::conversation_of(given, options.position)?
        {
            let (sample, mut findings) = self.read_messages(&respelled);
            // Where the first row is spelled so as well, this was noted once for the file.
            if !self.of_records {
                let message = "in the format of another tool, unlike the first row; read as a conversation with its images";
                findings.push(Finding::new(&rules::UNKNOWN_KEY, "", message));
            }
            read = Some((sample, findings));
        }
        let Some((sample, findings)) = read else {
            let message = "the row has no `messages`, unlike the first row of the file";
            return Err(Finding::new(&rules::MISSING_FIELD, "", message));
        };
        let labels = Labels::new(given, &self.aside);
        let split = self.split_of(given, self.aside.split.as_deref())?;
        Ok(Reading { sample, findings, labels, split, regions: None })
    }

    fn read_messages(&self, row: &Value<'_>) -> (Sample<Image>, Vec<Finding>) {
        let mut set_aside = self.aside.keys();
        set_aside.retain(|key| !row.get(key).is_some_and(|value| is_more_than_a_label(key, value)));
        set_aside.extend(self.removed.iter().map(String::as_str));
        let (sample, mut findings) = conversation::read(row, &set_aside);
        // The pointers of these findings exist only under the usual key.
        if row.get("messages").is_some() {
            findings.extend(checks::row_findings(&checks::Row { value: row, target: &target::MISTRAL }));
        } else {
            findings.extend(checks::sample_texts(&sample));
        }
        if findings.iter().all(|finding| finding.rule.severity != Severity::Error) {
            findings.extend(checks::sample_findings(&sample));
        }
        (sample, findings)
    }

    fn read_flat(&self, columns: &Columns, row: &Value<'_>, options: RowOptions) -> Reading {
        let (sample, mut findings) = pixtune_core::columns::read_row(columns, options, row);
        findings.extend(self.unused(columns, row));
        let mut split = self.given;
        match self.split_of(row, columns.split.as_deref()) {
            Ok(found) => split = found,
            Err(finding) => findings.push(finding),
        }
        if findings.iter().all(|finding| finding.rule.severity != Severity::Error) {
            findings.extend(checks::sample_texts(&sample));
            // Their pointers are those of a conversation, which the row is not yet.
            let of_sample = checks::sample_findings(&sample).into_iter();
            findings.extend(of_sample.map(|finding| Finding { pointer: String::new(), ..finding }));
        }
        let aside = Aside {
            id: columns.id.clone().unwrap_or_default(),
            group: columns.group.clone(),
            stratum: columns.stratum.clone(),
            split: None,
        };
        Reading { sample, findings, labels: Labels::new(row, &aside), split, regions: None }
    }

    /// Findings about the columns of a flat row that have no role, or hold more than their role takes.
    fn unused(&self, columns: &Columns, row: &Value<'_>) -> Vec<Finding> {
        let is_used = |key: &str| columns.uses(key) || self.removed.iter().any(|removed| removed == key);
        let is_label = |key: &str| columns.label.as_deref() == Some(key);
        let mut findings: Vec<Finding> =
            content::undesirable(row, |key| is_used(key) && !is_label(key)).into_iter().collect();
        let labels = [&columns.id, &columns.group, &columns.stratum];
        let is_unused = |key: &str, value: &Value<'_>| {
            let names_label = labels.iter().any(|label| label.as_deref() == Some(key));
            !is_used(key) || names_label && is_more_than_a_label(key, value)
        };
        let members = row.as_object().unwrap_or_default().iter();
        for (key, value) in members.filter(|(key, value)| is_unused(key, value)) {
            let pointer = pointer_push("", key);
            if let Some(held) = content::held(key, value) {
                let hint = content::way_out(key, held);
                findings.push(content::unused_content(pointer, key, held).hint(hint));
            } else if !self.header.iter().any(|known| known == key) {
                let message = format!("`{key}` is not in the first row of the file, so it is not used");
                findings.push(Finding::new(&rules::UNKNOWN_KEY, pointer, message));
            }
        }
        findings
    }

    /// The split that a row names, or that its file has.
    fn split_of(&self, row: &Value<'_>, column: Option<&str>) -> Result<Option<GivenSplit>, Finding> {
        let Some(column) = column else { return Ok(self.given) };
        match row.get(column) {
            None | Some(Value::Null) => Ok(self.given),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(self.given),
            Some(Value::String(text)) if names_split(text).is_some() => Ok(names_split(text)),
            Some(other) => {
                let message = format!("`{column}` is `{other}`, which is not the name of a split");
                let hint = format!(
                    "splits are train, validation and test; `--remove-columns {column}` ignores the column"
                );
                Err(Finding::new(&rules::WRONG_TYPE, pointer_push("", column), message).hint(hint))
            }
        }
    }

    fn wrong_length(&self, found: usize, row: &Row) -> Finding {
        let message =
            format!("the row has {}, the header {}", counted(found as u64, "cell"), self.header.len());
        let lines = memchr::memchr_iter(b'\n', &row.bytes).count();
        let hint = if lines > 0 {
            format!("it spans {}: is a quote missing?", counted(lines as u64 + 1, "line"))
        } else {
            "cells that hold the separator need quotes".to_owned()
        };
        Finding::new(&rules::ROW_WRONG_LENGTH, "", message).hint(hint)
    }

    /// The row as JSON for `rejected.jsonl`, with inline images shortened.
    pub fn row_as_json(&self, bytes: &[u8]) -> String {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return json::quoted(&shorten(&String::from_utf8_lossy(bytes)));
        };
        match self.format {
            Format::Table { separator } => {
                let cells = cells(text, separator)
                    .into_iter()
                    .map(|cell| Value::String(shorten(&cell).into_owned().into()));
                if cells.len() == self.header.len() {
                    let names = self.header.iter().map(|name| Cow::Borrowed(name.as_str()));
                    Value::Object(names.zip(cells).collect()).to_string()
                } else {
                    Value::Array(cells.collect()).to_string()
                }
            }
            _ => match json::parse(text) {
                Ok(parsed) => shorten_values(parsed.value).to_string(),
                Err(_) => json::quoted(&shorten(text)),
            },
        }
    }
}

pub(super) fn not_json(text: &str, error: &SyntaxError) -> Finding {
    let column = error.offset + 1;
    let message = format!("not JSON: {} (byte {column} of the line)", error.what);
    let finding = Finding::new(&rules::JSON_SYNTAX, "", message);
    if python_dict(text).is_some() { finding.hint(PYTHON_DICT) } else { finding }
}

/// What to do about a row that Python has printed.
pub(crate) const PYTHON_DICT: &str = "the row is a Python dict as `print` writes it; write rows with `json.dumps`, or convert these with `pixtune fix --unsafe`";

/// Half of a surrogate pair, for a tokenizer that cannot encode it.
pub(crate) fn rejected_surrogate(offset: usize) -> Finding {
    let message = "unpaired surrogate, which the model's tokenizer cannot encode";
    Finding::new(&rules::INVALID_UTF8, "", message).at_byte(offset)
}

/// A string with an unpaired UTF-16 surrogate, which the reference accepts and reads as U+FFFD.
pub(crate) fn lone_surrogate(offset: usize) -> Finding {
    let message = format!("an unpaired surrogate becomes U+FFFD (byte {} of the line)", offset + 1);
    Finding::new(&rules::JSON_LONE_SURROGATE, "", message)
}
