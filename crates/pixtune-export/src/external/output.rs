//! What a trainer writes: its log, its checkpoints and its adapter, in the shape of transformers or in that of a command.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pixtune_core::metrics::{Record, TrainerState};
use pixtune_files::WholeDirectory;

use super::ExternalError;

/// The output directory of a trainer.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    /// Whether the state of a checkpoint is whole, as of the time it was written: reading it takes a while in a long run.
    complete: RefCell<BTreeMap<String, (SystemTime, bool)>>,
}

/// The log of a run of transformers.
const STATE: &str = "trainer_state.json";

/// Files of an adapter; the first and one of the others have to be there.
const ADAPTER: [&str; 3] = ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"];

/// A log of a million steps has 200 MB.
const MAX_LOG: u64 = 1 << 30;

impl Output {
    pub(super) fn new(path: PathBuf) -> Output {
        Output { path, complete: RefCell::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checkpoints that are complete: the step, and the name below the output. A trainer writes its state last; those of a
    /// command appear whole.
    pub(super) fn checkpoints(&self) -> Result<Vec<(u64, String)>, ExternalError> {
        let mut found = Vec::new();
        for (directory, prefix) in [("", "checkpoint-"), ("checkpoints", "step-")] {
            for name in names(&self.path.join(directory))? {
                let Some(step) = name.strip_prefix(prefix).and_then(|step| step.parse().ok()) else {
                    continue;
                };
                let name = Path::new(directory).join(name);
                let is_complete = match directory {
                    "" => self.is_complete(&name.to_string_lossy(), step),
                    _ => true,
                };
                if is_complete {
                    found.push((step, name.to_string_lossy().into_owned()));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn is_complete(&self, name: &str, step: u64) -> bool {
        let path = self.path.join(name).join(STATE);
        let Ok(written) = path.metadata().and_then(|about| about.modified()) else { return false };
        let mut known = self.complete.borrow_mut();
        match known.get(name) {
            Some((at, is_complete)) if *at == written => *is_complete,
            _ => {
                let is_complete = self.state(&path).is_some_and(|state| state.step == step);
                known.insert(name.to_owned(), (written, is_complete));
                is_complete
            }
        }
    }

    /// The newest checkpoint.
    pub(super) fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, ExternalError> {
        Ok(self.checkpoints()?.pop())
    }

    /// Removes checkpoints of transformers that are not complete, so that no trainer resumes from one.
    pub(super) fn remove_unfinished(&self) -> Result<(), ExternalError> {
        let complete = self.checkpoints()?;
        for name in names(&self.path)? {
            if name.starts_with("checkpoint-") && !complete.iter().any(|(_, known)| *known == name) {
                let path = self.path.join(name);
                pixtune_files::remove(&path).map_err(|source| ExternalError::Write { path, source })?;
            }
        }
        Ok(())
    }

    /// A state, if it is there and whole.
    fn state(&self, path: &Path) -> Option<TrainerState> {
        let length = path.metadata().ok()?.len();
        let text = (length <= MAX_LOG).then(|| fs::read_to_string(path).ok()).flatten()?;
        TrainerState::parse(&text).ok()
    }

    /// The file with the newest log of transformers: of the run, or of its newest checkpoint.
    pub(super) fn newest_state(&self) -> Result<Option<PathBuf>, ExternalError> {
        let own = self.path.join(STATE);
        if own.is_file() {
            return Ok(Some(own));
        }
        let newest = self.newest_checkpoint()?.map(|(_, name)| self.path.join(name).join(STATE));
        Ok(newest.filter(|path| path.is_file()))
    }

    /// The records of a log; none while it is being written.
    pub(super) fn records(&self, path: &Path) -> Vec<Record> {
        self.state(path).map(|state| state.records).unwrap_or_default()
    }

    /// The metrics that a command writes.
    pub(super) fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Copies the adapter of a complete run to the directory of the run.
    pub(super) fn publish_adapter(&self, out: &Path) -> Result<(), ExternalError> {
        let newest = self.newest_checkpoint()?.map(|(_, name)| self.path.join(name));
        let places = [Some(self.path.join("adapter")), Some(self.path.clone()), newest];
        let found = places.into_iter().flatten().find(|place| is_adapter(place));
        let found = found.ok_or_else(|| ExternalError::NoAdapter { path: self.path.clone() })?;
        copy_adapter(&found, &out.join("adapter"))
    }
}

/// Whether a directory has an adapter.
pub(super) fn is_adapter(directory: &Path) -> bool {
    let has = |name: &str| directory.join(name).is_file();
    has(ADAPTER[0]) && ADAPTER[1..].iter().any(|name| has(name))
}

/// Copies an adapter, which appears whole or not at all.
pub(super) fn copy_adapter(from: &Path, to: &Path) -> Result<(), ExternalError> {
    let failed = |source: io::Error| ExternalError::Write { path: to.to_owned(), source };
    let whole = WholeDirectory::create(to).map_err(|error| failed(io::Error::other(error.to_string())))?;
    for name in ADAPTER.iter().filter(|name| from.join(name).is_file()) {
        fs::copy(from.join(name), whole.path().join(name)).map_err(failed)?;
    }
    whole.commit().map_err(failed)
}

/// The names in a directory, which need not be there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, ExternalError> {
    let failed =
        |error: io::Error| ExternalError::Read { path: directory.to_owned(), reason: error.to_string() };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(failed)
}
