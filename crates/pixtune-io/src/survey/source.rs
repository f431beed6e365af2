//! The inputs of a survey: prepared directories, JSON Lines files, or images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_core::text::{counted, grouped};

use crate::check::is_validation;
use crate::manifest::{MANIFEST, Manifest, ManifestError, OutputFile};
use crate::read::ReadError;
use crate::read::discover::{conversation_objects, notes_about_side_files};
use crate::read::file_state::FileState;
use crate::remote;
use crate::side_files::{self, PROVENANCE};

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
    /// A note for the user about each file that was given and is passed over.
    pub notes: Vec<String>,
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
        let mut passed_over = Vec::new();
        for path in given {
            if path.as_os_str() == "-" {
                return Err(SurveyError::StandardInput);
            }
            if remote::is_remote(path) {
                for path in conversation_objects(path)? {
                    let bytes = FileState::of(&path)?.length();
                    source.file(&path, remote::shown(&path.display().to_string()), bytes);
                }
                continue;
            }
            let about = fs::metadata(path).map_err(|error| broken(path, error))?;
            if about.is_dir() {
                source.directory(path)?;
            } else if IMAGES.contains(&extension(path).as_str()) {
                source.images.push((path.display().to_string(), path.clone()));
            } else if matches!(extension(path).as_str(), "csv" | "tsv") {
                return Err(SurveyError::Table { path: path.clone() });
            } else if let Some(what) = side_files::recognize(path) {
                passed_over.push((path.as_path(), what));
            } else {
                source.file(path, path.display().to_string(), about.len());
            }
        }
        let is_all = passed_over.len() == given.len();
        source.notes = notes_about_side_files(&passed_over, is_all)?;
        // As in `check`: of two files whose names do not decide, the second is the validation file.
        if let [first, second] = &mut source.files[..]
            && given.len() == 2 + passed_over.len()
            && first.side == FileSide::Train
        {
            second.side = FileSide::Validation;
        }
        Ok(source)
    }

    /// A file that is shown under another name.
    pub fn named(path: &Path, name: &str) -> Result<Source, SurveyError> {
        let about = fs::metadata(path).map_err(|error| broken(path, error))?;
        let mut source = Source::default();
        source.file(path, name.to_owned(), about.len());
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
            if about.is_file()
                && matches!(extension(&path).as_str(), "jsonl" | "ndjson")
                && name != PROVENANCE
            {
                names.insert(name, (path, about.len()));
            }
        }
        let is_rejected = |name: &str| name.starts_with("rejected");
        self.read_manifest(directory, &names)?;
        for (name, (path, bytes)) in &names {
            if is_rejected(name) {
                self.rejected.push(path.clone());
            } else if !name.starts_with("metadata") && !side_files::is_named(name) {
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

    /// A manifest that cannot be used is reported with the rest, and the files are surveyed without it.
    fn read_manifest(
        &mut self,
        directory: &Path,
        names: &BTreeMap<String, (PathBuf, u64)>,
    ) -> Result<(), SurveyError> {
        match Manifest::read(directory) {
            Ok(None) => {}
            Ok(Some(manifest)) => {
                self.compare(&manifest, names);
                self.manifest = Some(manifest);
            }
            Err(ManifestError::Io(error)) => return Err(broken(&directory.join(MANIFEST), error)),
            Err(error) => self.mismatches.push(format!("{MANIFEST} cannot be used: {error}")),
        }
        Ok(())
    }

    fn compare(&mut self, manifest: &Manifest, names: &BTreeMap<String, (PathBuf, u64)>) {
        for OutputFile { path, bytes, .. } in &manifest.outputs {
            match names.get(path) {
                None => self.mismatches.push(format!("`{path}` is in the manifest and not in the directory")),
                Some((_, found)) if found != bytes => self.mismatches.push(format!(
                    "`{path}` has {}, {} in the manifest: it was changed",
                    counted(*found, "byte"),
                    grouped(*bytes)
                )),
                Some(_) => {}
            }
        }
        let listed: BTreeSet<&str> = manifest.outputs.iter().map(|output| output.path.as_str()).collect();
        for name in names.keys().filter(|name| !listed.contains(name.as_str())) {
            self.mismatches.push(format!("`{name}` is in the directory and not in the manifest"));
        }
        self.mismatches.truncate(100);
    }
}

pub(super) fn broken(path: &Path, source: io::Error) -> SurveyError {
    SurveyError::Io { path: path.to_owned(), source }
}
