//! The inputs of a survey: prepared directories, JSON Lines files, or images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};
use pixtune_core::text::{counted, grouped};

use crate::check::is_validation;
use crate::read::ReadError;

/// Inputs that cannot be surveyed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A file or directory could not be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory with neither samples nor images.
    #[error("`{}` has neither JSON Lines files nor images", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// Standard input was given.
    #[error("`-` is not accepted: files are read more than once")]
    StandardInput,
    /// A table, which has no conversations yet.
    #[error("`{}` is a table; convert it with `pixtune prepare`", path.display())]
    Table {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be read as lines.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The split that a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSide {
    /// Training.
    Train,
    /// Validation.
    Validation,
}

/// A file of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// Its name in messages: as given, or its name in the directory that was given.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its split.
    pub side: FileSide,
    /// Its length when it was found.
    pub bytes: u64,
}

/// The inputs of a survey.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Files of samples, in order.
    pub files: Vec<DataFile>,
    /// Files of rejected rows.
    pub rejected: Vec<PathBuf>,
    /// Images without samples.
    pub images: Vec<(String, PathBuf)>,
    /// What `prepare` wrote about the directory.
    pub manifest: Option<Manifest>,
    /// Differences between the files and the manifest.
    pub mismatches: Vec<String>,
}

/// What `prepare` wrote about a directory, as far as it is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// The version that made it.
    pub version: String,
    /// Counts and sums, by their path: `counts.rows`, `tokens.total`.
    pub numbers: BTreeMap<String, u64>,
    /// Findings by rule.
    pub findings: BTreeMap<String, u64>,
    /// Options that were chosen, as written.
    pub plan: Vec<(String, String)>,
    /// Inputs: name and bytes.
    pub inputs: Vec<(String, u64)>,
}

/// The extensions of images.
const IMAGES: [&str; 9] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jfif"];

fn extension(path: &Path) -> String {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase()
}

impl Source {
    /// Finds the files of the given paths.
    pub fn open(given: &[PathBuf]) -> Result<Source, SurveyError> {
        let mut source = Source::default();
        for path in given {
            if path.as_os_str() == "-" {
                return Err(SurveyError::StandardInput);
            }
            let about = fs::metadata(path).map_err(|error| broken(path, error))?;
            if about.is_dir() {
                source.directory(path)?;
            } else if IMAGES.contains(&extension(path).as_str()) {
                source.images.push((path.display().to_string(), path.clone()));
            } else if matches!(extension(path).as_str(), "csv" | "tsv") {
                return Err(SurveyError::Table { path: path.clone() });
            } else {
                source.file(path, path.display().to_string(), about.len());
            }
        }
        // As in `check`: of two files whose names do not decide, the second is the validation file.
        if let [first, second] = &mut source.files[..]
            && given.len() == 2
            && first.side == FileSide::Train
        {
            second.side = FileSide::Validation;
        }
        Ok(source)
    }

    fn file(&mut self, path: &Path, name: String, bytes: u64) {
        let side = if is_validation(&name) { FileSide::Validation } else { FileSide::Train };
        self.files.push(DataFile { name, path: path.to_owned(), side, bytes });
    }

    fn directory(&mut self, directory: &Path) -> Result<(), SurveyError> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(|error| broken(directory, error))? {
            let path = entry.map_err(|error| broken(directory, error))?.path();
            let about = fs::metadata(&path).map_err(|error| broken(&path, error))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if about.is_file() && matches!(extension(&path).as_str(), "jsonl" | "ndjson") {
                names.insert(name, (path, about.len()));
            }
        }
        let is_rejected = |name: &str| name.starts_with("rejected");
        self.read_manifest(directory, &names)?;
        for (name, (path, bytes)) in &names {
            if is_rejected(name) {
                self.rejected.push(path.clone());
            } else if !name.starts_with("metadata") {
                self.file(path, name.clone(), *bytes);
            }
        }
        if !names.is_empty() && !names.keys().all(|name| name.starts_with("metadata")) {
            return Ok(());
        }
        let before = self.images.len();
        self.find_images(directory)?;
        if self.images.len() == before {
            return Err(SurveyError::Nothing { path: directory.to_owned() });
        }
        Ok(())
    }

    /// Images at any depth; a directory is entered once, so links that lead in circles end.
    fn find_images(&mut self, root: &Path) -> Result<(), SurveyError> {
        let mut entered = BTreeSet::new();
        let mut open = vec![root.to_owned()];
        let mut found = Vec::new();
        while let Some(directory) = open.pop() {
            if !entered.insert(fs::canonicalize(&directory).map_err(|error| broken(&directory, error))?) {
                continue;
            }
            for entry in fs::read_dir(&directory).map_err(|error| broken(&directory, error))? {
                let path = entry.map_err(|error| broken(&directory, error))?.path();
                if path.is_dir() {
                    open.push(path);
                } else if IMAGES.contains(&extension(&path).as_str()) {
                    let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                    found.push((name, path));
                }
            }
        }
        found.sort();
        self.images.extend(found);
        Ok(())
    }

    fn read_manifest(
        &mut self,
        directory: &Path,
        names: &BTreeMap<String, (PathBuf, u64)>,
    ) -> Result<(), SurveyError> {
        let path = directory.join("manifest.json");
        let text = match fs::read(&path) {
            Ok(bytes) if bytes.len() > MOST_MANIFEST => {
                self.mismatches.push("manifest.json is far larger than any that `prepare` writes".to_owned());
                return Ok(());
            }
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(broken(&path, error)),
        };
        let parsed = match json::parse(&text) {
            Ok(parsed) => parsed.value,
            Err(error) => {
                self.mismatches.push(format!("manifest.json is not JSON: {error}"));
                return Ok(());
            }
        };
        self.compare(&parsed, names);
        self.manifest = Some(Manifest::of(&parsed));
        Ok(())
    }

    fn compare(&mut self, manifest: &Value<'_>, names: &BTreeMap<String, (PathBuf, u64)>) {
        let outputs = manifest.get("outputs").and_then(Value::as_array).unwrap_or_default();
        let mut listed = BTreeSet::new();
        for output in outputs {
            let Some(name) = output.get("path").and_then(Value::as_str) else { continue };
            listed.insert(name);
            let listed_bytes = output.get("bytes").and_then(number).unwrap_or(0);
            match names.get(name) {
                None => self.mismatches.push(format!("`{name}` is in the manifest and not in the directory")),
                Some((_, bytes)) if *bytes != listed_bytes => self.mismatches.push(format!(
                    "`{name}` has {}, {} in the manifest: it was changed",
                    counted(*bytes, "byte"),
                    grouped(listed_bytes)
                )),
                Some(_) => {}
            }
        }
        for name in names.keys().filter(|name| !listed.contains(name.as_str())) {
            self.mismatches.push(format!("`{name}` is in the directory and not in the manifest"));
        }
        self.mismatches.truncate(100);
    }
}

/// A manifest of ten thousand files has about a megabyte.
const MOST_MANIFEST: usize = 64 << 20;

fn number(value: &Value<'_>) -> Option<u64> {
    match value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    }
}

impl Manifest {
    fn of(manifest: &Value<'_>) -> Manifest {
        let mut out = Manifest::default();
        let text = |value: Option<&Value<'_>>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        out.version = text(manifest.get("pixtune"));
        for group in ["counts", "tokens"] {
            for (key, value) in manifest.get(group).and_then(Value::as_object).unwrap_or_default() {
                if let Some(number) = number(value) {
                    out.numbers.insert(format!("{group}.{key}"), number);
                }
            }
        }
        for (rule, count) in manifest.get("findings").and_then(Value::as_object).unwrap_or_default() {
            out.findings.insert(rule.clone().into_owned(), number(count).unwrap_or(0));
        }
        for (key, value) in manifest.get("plan").and_then(Value::as_object).unwrap_or_default() {
            if key != "inputs" {
                let written = match value {
                    Value::String(text) => text.clone().into_owned(),
                    other => other.to_string(),
                };
                out.plan.push((key.clone().into_owned(), written));
            }
        }
        for input in manifest.get("inputs").and_then(Value::as_array).unwrap_or_default() {
            out.inputs.push((text(input.get("path")), input.get("bytes").and_then(number).unwrap_or(0)));
        }
        out
    }
}

pub(super) fn broken(path: &Path, source: io::Error) -> SurveyError {
    SurveyError::Io { path: path.to_owned(), source }
}
