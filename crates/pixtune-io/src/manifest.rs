//! `manifest.json`: what `prepare` writes about a dataset, and what everything that takes the dataset reads.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use pixtune_core::json::{self, Slot, SyntaxError, ToJson, Value, list, members, object, spaced};

/// The name of the file.
pub const MANIFEST: &str = "manifest.json";

/// A path without details of the machine: as given when relative, else the file name.
pub fn portable_name(name: &str) -> &str {
    if Path::new(name).is_absolute() { name.rsplit(['/', '\\']).next().unwrap_or(name) } else { name }
}

/// A manifest of ten thousand files has about a megabyte.
const MAX_BYTES: u64 = 64 << 20;

/// How a dataset was made and what it holds. No clock and no absolute path: the same run gives the same manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The version of pixtune that made it.
    pub version: String,
    /// Every resolved option, an object.
    pub plan: Value<'static>,
    /// The files that were read.
    pub inputs: Vec<InputFile>,
    /// The files that were written.
    pub outputs: Vec<OutputFile>,
    /// Rows by what became of them.
    pub counts: Counts,
    /// Tokens of the rows that were kept.
    pub tokens: TokenCounts,
    /// Findings by rule.
    pub findings: BTreeMap<String, u64>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Its name as given, if that was relative.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// BLAKE3 of its bytes, hexadecimal; empty for an object in a store that was not read from its first byte to its last.
    pub blake3: String,
    /// What the store calls the version of an object, if it does.
    pub version: Option<String>,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// Its name in the directory.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its lines.
    pub lines: u64,
    /// BLAKE3 of its bytes, hexadecimal.
    pub blake3: String,
}

/// Rows by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rows read.
    pub rows: u64,
    /// Rows in the training split.
    pub train: u64,
    /// Rows in the validation split.
    pub validation: u64,
    /// Rows in the test split of the dataset, whether they were written or left out.
    pub test: u64,
    /// Rejected rows, duplicates among them.
    pub rejected: u64,
    /// Duplicates.
    pub duplicates: u64,
}

/// Tokens of the rows that were kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenCounts {
    /// All tokens.
    pub total: u64,
    /// Tokens of images.
    pub image: u64,
    /// Tokens that count in the loss.
    pub trained: u64,
    /// Tokens of the longest sample.
    pub max_sample: u64,
    /// Where the special tokens come from, if not from a file.
    pub special_tokens: Option<String>,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No run writes one of this size.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    Syntax(#[from] SyntaxError),
    /// A part that every manifest has is not there, or is of another type.
    #[error("it has no `{0}`")]
    Missing(&'static str),
}

impl Manifest {
    /// The manifest in a directory, if there is one.
    pub fn read(directory: &Path) -> Result<Option<Manifest>, ManifestError> {
        let path = directory.join(MANIFEST);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(about) if about.len() > MAX_BYTES => return Err(ManifestError::TooLarge),
            _ => {}
        }
        let text = fs::read(&path)?;
        Manifest::parse(&String::from_utf8_lossy(&text)).map(Some)
    }

    /// Reads the text of a manifest. Numbers and names that only people read may be missing.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let root = json::parse(text)?.value;
        let plan = root.get("plan").filter(|plan| plan.as_object().is_some());
        let plan = plan.ok_or(ManifestError::Missing("plan"))?;
        plan.get("model").and_then(Value::as_str).ok_or(ManifestError::Missing("plan.model"))?;
        let outputs =
            root.get("outputs").and_then(Value::as_array).ok_or(ManifestError::Missing("outputs"))?;
        let entries = |key| root.get(key).and_then(Value::as_array).unwrap_or_default();
        let group = |key| root.get(key).unwrap_or(&Value::Null);
        let findings = root.get("findings").and_then(Value::as_object).unwrap_or_default();
        Ok(Manifest {
            version: text_at(&root, "pixtune"),
            plan: plan.clone().into_owned(),
            inputs: entries("inputs").iter().map(InputFile::from_json).collect(),
            outputs: outputs
                .iter()
                .map(OutputFile::from_json)
                .collect::<Option<_>>()
                .ok_or(ManifestError::Missing("outputs.path"))?,
            counts: Counts::from_json(group("counts")),
            tokens: TokenCounts::from_json(group("tokens")),
            findings: findings.iter().map(|(rule, count)| (rule.to_string(), number(count))).collect(),
        })
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        json::document(object(|manifest| {
            manifest.field("pixtune", &self.version).field("plan", plan_to_json(&self.plan));
            manifest.field("inputs", list(self.inputs.iter().map(spaced)));
            manifest.field("outputs", list(self.outputs.iter().map(spaced)));
            manifest.field("counts", spaced(&self.counts)).field("tokens", spaced(&self.tokens));
            manifest.field("findings", spaced(members(&self.findings)));
        }))
    }

    /// The model that images were fitted to and tokens counted for.
    pub fn model(&self) -> &str {
        self.plan.get("model").and_then(Value::as_str).unwrap_or_default()
    }

    /// How the model divides images, where a model directory decided it: patch size, merge and longest side.
    pub fn model_images(&self) -> Option<[u32; 3]> {
        let images = self.plan.get("model_images")?;
        let size = |key| u32::try_from(number_at(images, key)).ok();
        Some([size("patch")?, size("merge")?, size("max_side")?])
    }

    /// BLAKE3 of the tokenizer file that counted; none for the built-in one.
    pub fn tokenizer(&self) -> Option<&str> {
        self.plan.get("tokenizer")?.get("blake3")?.as_str()
    }

    /// The options as people read them: name and value, without the inputs.
    pub fn options(&self) -> Vec<(&str, String)> {
        let shown = |value: &Value<'_>| match value {
            Value::String(text) => text.to_string(),
            other => other.to_string(),
        };
        let options = self.plan.as_object().unwrap_or_default().iter().filter(|(name, _)| name != "inputs");
        options.map(|(name, value)| (name.as_ref(), shown(value))).collect()
    }

    /// The output with the name of this file.
    pub fn output(&self, file: &Path) -> Option<&OutputFile> {
        let name = file.file_name()?.to_str()?;
        self.outputs.iter().find(|output| output.path == name)
    }
}

/// A plan as it stands in a manifest: an option to a line, each on one line.
pub fn plan_to_json(plan: &Value<'_>) -> impl ToJson {
    members(plan.as_object().unwrap_or_default().iter().map(|(name, value)| (name, spaced(value))))
}

impl InputFile {
    fn from_json(value: &Value<'_>) -> InputFile {
        let bytes = number_at(value, "bytes");
        let version = value.get("version").and_then(Value::as_str).map(str::to_owned);
        InputFile { path: text_at(value, "path"), bytes, blake3: text_at(value, "blake3"), version }
    }
}

impl ToJson for &InputFile {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|file| {
            file.field("path", &self.path).field("bytes", self.bytes);
            if !self.blake3.is_empty() {
                file.field("blake3", &self.blake3);
            }
            if let Some(version) = &self.version {
                file.field("version", version);
            }
        });
    }
}

impl OutputFile {
    /// Reads the object that the manifest has of a file. Without a name it could be any file.
    pub fn from_json(value: &Value<'_>) -> Option<OutputFile> {
        Some(OutputFile {
            path: value.get("path")?.as_str()?.to_owned(),
            bytes: number_at(value, "bytes"),
            lines: number_at(value, "lines"),
            blake3: text_at(value, "blake3"),
        })
    }
}

impl ToJson for &OutputFile {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|file| {
            file.field("path", &self.path).field("bytes", self.bytes);
            file.field("lines", self.lines).field("blake3", &self.blake3);
        });
    }
}

impl Counts {
    fn from_json(value: &Value<'_>) -> Counts {
        Counts {
            rows: number_at(value, "rows"),
            train: number_at(value, "train"),
            validation: number_at(value, "validation"),
            test: number_at(value, "test"),
            rejected: number_at(value, "rejected"),
            duplicates: number_at(value, "duplicates"),
        }
    }
}

impl ToJson for &Counts {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|counts| {
            counts.field("rows", self.rows).field("train", self.train).field("validation", self.validation);
            counts.field("test", self.test);
            counts.field("rejected", self.rejected).field("duplicates", self.duplicates);
        });
    }
}

impl TokenCounts {
    fn from_json(value: &Value<'_>) -> TokenCounts {
        TokenCounts {
            total: number_at(value, "total"),
            image: number_at(value, "image"),
            trained: number_at(value, "trained"),
            max_sample: number_at(value, "max_sample"),
            special_tokens: value.get("special_tokens").and_then(Value::as_str).map(str::to_owned),
        }
    }
}

impl ToJson for &TokenCounts {
    fn write_json(self, slot: Slot<'_>) {
        slot.object(|tokens| {
            tokens.field("total", self.total).field("image", self.image).field("trained", self.trained);
            tokens
                .field("max_sample", self.max_sample)
                .optional("special_tokens", self.special_tokens.as_deref());
        });
    }
}

fn text_at(value: &Value<'_>, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The number under a key of a file that this program wrote; 0 if there is none.
pub fn number_at(value: &Value<'_>, key: &str) -> u64 {
    value.get(key).map_or(0, number)
}

fn number(value: &Value<'_>) -> u64 {
    match value {
        Value::Number(text) => text.parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{
  "pixtune": "0.1.0",
  "plan": {
    "inputs": [{"path": "a.csv", "image": ["image"]}],
    "model": "pixtral-12b",
    "tokenizer": {"path": "tekken.json", "blake3": "cd"}
  },
  "inputs": [
    {"path": "a.csv", "bytes": 3, "blake3": "ef"}
  ],
  "outputs": [
    {"path": "train.jsonl", "bytes": 1, "lines": 1, "blake3": "ab"},
    {"path": "rejected.jsonl", "bytes": 0, "lines": 0, "blake3": ""}
  ],
  "counts": {"rows": 5, "train": 1, "validation": 2, "test": 0, "rejected": 2, "duplicates": 1},
  "tokens": {"total": 9, "image": 4, "trained": 3, "max_sample": 7, "special_tokens": "because"},
  "findings": {"image-small": 2}
}
"#;

    #[test]
    fn reads_what_it_writes() {
        let manifest = Manifest::parse(TEXT).unwrap();
        assert_eq!(manifest.to_json(), TEXT);
        assert_eq!((manifest.model(), manifest.tokenizer()), ("pixtral-12b", Some("cd")));
        assert_eq!(manifest.output(Path::new("data/train.jsonl")).unwrap().blake3, "ab");
        assert!(manifest.output(Path::new("data/other.jsonl")).is_none());
    }

    #[test]
    fn refuses_other_files_with_a_reason() {
        let no_path = r#"{"plan":{"model":"m"},"outputs":[{"bytes":1}]}"#;
        for (text, reason) in [
            ("", "the text ends"),
            ("{}", "no `plan`"),
            (r#"{"plan":{}}"#, "no `plan.model`"),
            (r#"{"plan":{"model":"m"}}"#, "no `outputs`"),
            (no_path, "no `outputs.path`"),
        ] {
            let error = Manifest::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
