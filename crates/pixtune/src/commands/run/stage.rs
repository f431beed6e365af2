//! The stages of a project, and the command of each.

use std::path::{Path, PathBuf};

use pixtune_core::text::shell_word;
use pixtune_io::config::{Project, ProjectStage};

use crate::args::StageArg;
use crate::error::Error;

/// The stages of a file and the keys in them that are not options of the command.
pub(super) const STAGES: [(&str, &[&str]); 7] = [
    ("prepare", &["inputs"]),
    ("check", &[]),
    ("report", &[]),
    ("train", &[]),
    ("export", &[]),
    ("evaluate", &["adapter"]),
    ("deploy", &["adapter"]),
];

/// Options that a project sets itself.
pub(super) const RESERVED: [&str; 7] = ["out", "data", "resume", "force", "format", "quiet", "dry-run"];

/// A stage and its command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stage {
    /// Which one.
    pub(super) kind: StageArg,
    /// The words of its command, the first its name.
    pub(super) words: Vec<String>,
    /// What it writes; `check` writes nothing.
    pub(super) output: Option<PathBuf>,
}

impl Stage {
    /// The name of the command.
    pub(super) fn name(&self) -> &str {
        &self.words[0]
    }

    /// The command line, for a shell.
    pub(super) fn command(&self) -> String {
        let words = self.words.iter().map(|word| shell_word(word));
        format!("pixtune {}", words.collect::<Vec<_>>().join(" "))
    }

    /// Whether the command continues what an interrupted run has left.
    pub(super) fn resumes(&self) -> bool {
        matches!(self.kind, StageArg::Prepare | StageArg::Train | StageArg::Export | StageArg::Evaluate)
    }

    /// Whether findings end the run.
    pub(super) fn ends_at_findings(&self) -> bool {
        matches!(self.kind, StageArg::Check | StageArg::Report | StageArg::Evaluate)
    }
}

/// The directories of a project.
pub(super) struct Places {
    /// Everything is in it.
    pub(super) out: PathBuf,
    /// What `prepare` writes.
    pub(super) prepared: PathBuf,
}

impl Places {
    pub(super) fn new(project: &Project) -> Places {
        let out = PathBuf::from(&project.out);
        Places { prepared: out.join("prepared"), out }
    }
}

/// The stages of a project in the order in which they run.
pub(super) fn stages(project: &Project) -> Result<Vec<Stage>, Error> {
    if project.stages.iter().all(|stage| stage.name != "prepare") {
        return Err(Error::argument(format!(
            "`{}` has no [prepare], with which a project begins",
            project.file.display()
        )));
    }
    let places = Places::new(project);
    let in_order = [
        StageArg::Prepare,
        StageArg::Check,
        StageArg::Report,
        StageArg::Train,
        StageArg::Export,
        StageArg::Evaluate,
        StageArg::Deploy,
    ];
    let mut stages = Vec::new();
    for (kind, (name, _)) in in_order.into_iter().zip(STAGES) {
        let Some(options) = project.stages.iter().find(|stage| stage.name == name) else { continue };
        stages.push(Written { project, places: &places, options }.stage(kind)?);
    }
    Ok(stages)
}

/// A stage as it is written in the file.
struct Written<'p> {
    project: &'p Project,
    places: &'p Places,
    options: &'p ProjectStage,
}

impl Written<'_> {
    fn stage(&self, kind: StageArg) -> Result<Stage, Error> {
        let Places { out, prepared } = self.places;
        let output = match kind {
            StageArg::Prepare => Some(prepared.clone()),
            StageArg::Check => None,
            StageArg::Report => Some(out.join("report.html")),
            StageArg::Train => Some(out.join("run")),
            StageArg::Export => Some(out.join("export")),
            StageArg::Evaluate => Some(out.join("scores")),
            StageArg::Deploy => Some(out.join("served")),
        };
        let mut words = vec![self.options.name.clone()];
        match kind {
            StageArg::Prepare => words.extend(self.inputs()?),
            StageArg::Train => words.push(format!("--data={}", prepared.display())),
            StageArg::Deploy => words.extend([self.model()?, self.adapter()?]),
            StageArg::Check | StageArg::Report | StageArg::Export | StageArg::Evaluate => {
                words.push(prepared.display().to_string());
            }
        }
        if kind == StageArg::Evaluate {
            words.push(format!("--adapter={}", self.adapter()?));
        }
        if matches!(kind, StageArg::Train | StageArg::Evaluate) {
            words.push(format!("--model={}", self.model()?));
        } else if let (Some(model), false) = (&self.project.model, kind == StageArg::Deploy) {
            words.push(format!("--model={model}"));
        }
        words.extend(output.iter().map(|output| format!("--out={}", output.display())));
        words.extend(self.options.words.iter().cloned());
        Ok(Stage { kind, words, output })
    }

    fn wrong(&self, message: &str) -> Error {
        let (file, line) = (self.project.file.display(), self.options.line);
        Error::argument(format!("{file}:{line}: [{}] {message}", self.options.name))
    }

    fn argument(&self, key: &str) -> Option<&[String]> {
        let found = self.options.arguments.iter().find(|(name, _)| name == key);
        found.map(|(_, values)| values.as_slice()).filter(|values| !values.is_empty())
    }

    fn inputs(&self) -> Result<Vec<String>, Error> {
        let inputs = self.argument("inputs").ok_or_else(|| self.wrong("needs `inputs`, a list of files"))?;
        Ok(inputs.to_vec())
    }

    fn model(&self) -> Result<String, Error> {
        let missing = || self.wrong("needs `model` at the top of the file, the directory of a model");
        self.project.model.clone().ok_or_else(missing)
    }

    /// The adapter of a key, or the one that the project trains.
    fn adapter(&self) -> Result<String, Error> {
        if let Some([adapter]) = self.argument("adapter") {
            return Ok(adapter.clone());
        }
        let is_trained = self.project.stages.iter().any(|stage| stage.name == "train");
        let adapter = || self.places.out.join("run/adapter").display().to_string();
        is_trained
            .then(adapter)
            .ok_or_else(|| self.wrong("needs [train], or `adapter`, the directory of an adapter"))
    }
}

/// The directory of a file, in which its paths begin.
pub(super) fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
