//! `plan.json` of a run by another trainer: what it will be, which a resumed run does not decide again.

use std::fs;
use std::io;
use std::path::Path;

use pixtune_core::json::{self, Value, object};

use super::ExternalError;
use crate::config::Run;

/// The name of the file.
const PLAN: &str = "plan.json";

/// What a run is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Saved {
    /// What trains.
    pub(super) trainer: String,
    /// Its length and rates.
    pub(super) run: Run,
    /// The rank of the adapter.
    pub(super) lora_rank: u64,
    /// Samples that the trainer cannot take.
    pub(super) rejected: u64,
}

impl Saved {
    /// The plan of an earlier start, if the data was exported then.
    pub(super) fn read(out: &Path) -> Result<Option<Saved>, ExternalError> {
        let path = out.join(PLAN);
        let damaged = |reason: String| ExternalError::Read { path: path.clone(), reason };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(damaged(error.to_string())),
        };
        let root = json::parse(&text).map_err(|error| damaged(error.to_string()))?.value;
        Saved::of(&root).map(Some).ok_or_else(|| damaged("it is not a plan of another trainer".to_owned()))
    }

    fn of(root: &Value<'_>) -> Option<Saved> {
        let plan = root.get("plan")?;
        let float = |value: &Value<'_>, key: &str| json::text(value.get(key)?).parse::<f64>().ok();
        let whole = |value: &Value<'_>, key: &str| json::text(value.get(key)?).parse::<u64>().ok();
        Some(Saved {
            trainer: root.text("trainer")?.to_owned(),
            run: Run {
                steps: whole(plan, "steps")?,
                steps_per_epoch: whole(root, "steps_per_epoch")?,
                samples_per_step: whole(plan, "samples_per_step")?,
                learning_rate: float(plan, "learning_rate")?,
                weight_decay: float(plan, "weight_decay")?,
                warmup_steps: whole(plan, "warmup_steps")?,
                save_steps: whole(plan, "save_steps")?,
                seed: whole(plan, "seed")?,
                on_cpu: plan.text("device")? == "cpu",
            },
            lora_rank: whole(plan, "lora_rank")?,
            rejected: whole(root, "rejected")?,
        })
    }

    /// Stores the plan, whole or not at all.
    pub(super) fn write(&self, out: &Path) -> Result<(), ExternalError> {
        let Saved { trainer, run, lora_rank, rejected } = self;
        let text = json::document(object(|root| {
            root.field("pixtune", env!("CARGO_PKG_VERSION")).field("trainer", trainer);
            root.field("steps_per_epoch", run.steps_per_epoch).field("rejected", *rejected);
            root.field(
                "plan",
                object(|plan| {
                    plan.field("steps", run.steps).field("samples_per_step", run.samples_per_step);
                    plan.field("learning_rate", run.learning_rate).field("weight_decay", run.weight_decay);
                    plan.field("warmup_steps", run.warmup_steps).field("save_steps", run.save_steps);
                    plan.field("lora_rank", *lora_rank).field("seed", run.seed);
                    plan.field("device", if run.on_cpu { "cpu" } else { "cuda" });
                }),
            );
        }));
        let path = out.join(PLAN);
        pixtune_files::write(&path, text.as_bytes()).map_err(|source| ExternalError::Write { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_read_back() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Saved::read(directory.path()).unwrap(), None);
        let run = Run {
            steps: 100,
            steps_per_epoch: 10,
            samples_per_step: 4,
            learning_rate: 1.23e-5,
            weight_decay: 0.1,
            warmup_steps: 3,
            save_steps: 5,
            seed: 7,
            on_cpu: true,
        };
        let saved = Saved { trainer: "trl".to_owned(), run, lora_rank: 16, rejected: 2 };
        saved.write(directory.path()).unwrap();
        assert_eq!(Saved::read(directory.path()).unwrap(), Some(saved));
        fs::write(directory.path().join(PLAN), "{\"plan\":").unwrap();
        assert!(matches!(Saved::read(directory.path()), Err(ExternalError::Read { .. })));
    }
}
