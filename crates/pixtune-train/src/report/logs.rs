//! What other trainers log: `trainer_state.json` of transformers, and event files of TensorBoard.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pixtune_core::metrics::{EvaluationRecord, Record, StepRecord, TrainerState};

use super::POINTS;
use crate::metrics::{Curves, History};
use crate::tensorboard::{Event, is_event_file, read_events};

/// The log of a run of transformers: in its directory, and in each checkpoint.
const STATE: &str = "trainer_state.json";

/// A log of a million steps has 200 MB.
const MAX_BYTES: u64 = 1 << 30;

/// Where TensorBoard's files lie in the output of trainers, below it.
const EVENT_DIRECTORIES: [&str; 4] = ["", "runs", "logs", "tensorboard"];

/// The log of a run of another trainer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Log {
    /// `trainer_state.json`.
    State(PathBuf),
    /// Event files, in order.
    Events(Vec<PathBuf>),
}

impl Log {
    /// The log in a directory: of the run, of its newest checkpoint, or of TensorBoard.
    pub(super) fn of(directory: &Path) -> Option<Log> {
        let own = directory.join(STATE);
        let states = [Some(own), newest_checkpoint(directory).map(|newest| newest.join(STATE))];
        if let Some(state) = states.into_iter().flatten().find(|path| path.is_file()) {
            return Some(Log::State(state));
        }
        let found = EVENT_DIRECTORIES.iter().map(|name| events_in(&directory.join(name)));
        found.into_iter().find(|files| !files.is_empty()).map(Log::Events)
    }

    /// Reads the log. Options are those that the log names.
    pub(super) fn read(&self) -> io::Result<(History, Vec<(String, String)>)> {
        match self {
            Log::State(path) => read_state(path),
            Log::Events(files) => {
                let mut curves = EventCurves::default();
                for file in files {
                    read_events(file, &mut |event| curves.push(event))?;
                }
                Ok((curves.finish(), Vec::new()))
            }
        }
    }
}

/// The checkpoint with the largest number.
fn newest_checkpoint(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    let numbered = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number: u64 = name.strip_prefix("checkpoint-")?.parse().ok()?;
        Some((number, entry.path()))
    });
    numbered.max().map(|(_, path)| path)
}

/// Event files of a directory, or of the newest directory in it: each start of a trainer makes one, named by the time.
fn events_in(directory: &Path) -> Vec<PathBuf> {
    let entries = |directory: &Path| {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let files =
        |paths: Vec<PathBuf>| paths.into_iter().filter(|path| is_event_file(path)).collect::<Vec<_>>();
    let all = entries(directory);
    let below = all.iter().rev().filter(|path| path.is_dir()).map(|path| files(entries(path)));
    let nested = below.into_iter().find(|files| !files.is_empty());
    let own = files(all.clone());
    if own.is_empty() { nested.unwrap_or_default() } else { own }
}

fn read_state(path: &Path) -> io::Result<(History, Vec<(String, String)>)> {
    if path.metadata()?.len() > MAX_BYTES {
        return Err(io::Error::other("it has more than 1 GiB"));
    }
    let state = TrainerState::parse(&fs::read_to_string(path)?).map_err(io::Error::other)?;
    let mut curves = Curves::new(POINTS);
    state.records.iter().for_each(|record| curves.push(record));
    let mut history = curves.finish();
    history.seconds = state.seconds;
    Ok((history, state.options))
}

/// Curves from events: scalars of a step can be in several.
struct EventCurves {
    curves: Curves,
    open: Option<Scalars>,
    last_time: Option<f64>,
}

/// What is known of a step.
#[derive(Default)]
struct Scalars {
    step: u64,
    time: f64,
    loss: Option<f64>,
    learning_rate: Option<f64>,
    grad_norm: Option<f64>,
    valid_loss: Option<f64>,
    accuracy: Option<f64>,
}

impl Default for EventCurves {
    fn default() -> EventCurves {
        EventCurves { curves: Curves::new(POINTS), open: None, last_time: None }
    }
}

impl EventCurves {
    fn push(&mut self, event: Event) {
        if self.open.as_ref().is_some_and(|open| open.step != event.step) {
            self.close();
        }
        let open = self.open.get_or_insert_with(|| Scalars { step: event.step, ..Scalars::default() });
        open.time = event.wall_time;
        for (tag, value) in event.scalars {
            let place = match tag.as_str() {
                "train/loss" => &mut open.loss,
                "train/learning_rate" => &mut open.learning_rate,
                "train/grad_norm" | "train/gradient_norm" => &mut open.grad_norm,
                "eval/loss" | "validation/loss" => &mut open.valid_loss,
                "eval/mean_token_accuracy" | "validation/token_accuracy" | "eval/token_acc" => {
                    &mut open.accuracy
                }
                _ => continue,
            };
            *place = Some(value);
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let seconds = self.last_time.map_or(0.0, |last| (open.time - last).max(0.0));
        self.last_time = Some(open.time);
        if let Some(loss) = open.loss {
            self.curves.push(&Record::Step(StepRecord {
                step: open.step,
                loss,
                learning_rate: open.learning_rate.unwrap_or(f64::NAN),
                grad_norm: open.grad_norm.unwrap_or(f64::NAN),
                tokens: 0,
                trained_tokens: 0,
                seconds,
                peak_memory_bytes: None,
            }));
        }
        if let Some(valid_loss) = open.valid_loss {
            self.curves.push(&Record::Evaluation(EvaluationRecord {
                step: open.step,
                valid_loss,
                valid_token_accuracy: open.accuracy.unwrap_or(f64::NAN),
                valid_tokens: 0,
                valid_score: None,
                seconds: if open.loss.is_some() { 0.0 } else { seconds },
            }));
        }
    }

    fn finish(mut self) -> History {
        self.close();
        self.curves.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensorboard::EventFile;

    const STATE_TEXT: &str = r#"{"num_train_epochs": 2, "max_steps": 4, "best_metric": null, "log_history": [
        {"epoch": 0.5, "grad_norm": 2.5, "learning_rate": 0.0001, "loss": 3.0, "num_tokens": 100.0, "step": 1},
        {"epoch": 1.0, "loss": 2.0, "num_tokens": 250.0, "step": 2},
        {"epoch": 1.0, "eval_loss": 1.5, "eval_runtime": 2.0, "step": 2},
        {"epoch": 2.0, "train_loss": 2.5, "train_runtime": 40.0, "step": 2}]}"#;

    #[test]
    fn state_of_transformers_gives_curves() {
        let run = tempfile::tempdir().unwrap();
        for (name, text) in [("checkpoint-9", "{}"), ("checkpoint-10", STATE_TEXT)] {
            fs::create_dir(run.path().join(name)).unwrap();
            fs::write(run.path().join(name).join(STATE), text).unwrap();
        }
        let log = Log::of(run.path()).unwrap();
        assert_eq!(log, Log::State(run.path().join("checkpoint-10").join(STATE)));
        let (history, options) = log.read().unwrap();
        let losses: Vec<_> =
            history.points.iter().map(|point| (point.step, point.loss, point.tokens)).collect();
        assert_eq!(losses, [(1, 3.0, 100.0), (2, 2.0, 150.0)]);
        assert!(history.points[1].grad_norm.is_nan());
        assert_eq!((history.evaluations[0].valid_loss, history.seconds), (1.5, 40.0));
        assert_eq!(options[0], ("num_train_epochs".to_owned(), "2".to_owned()));
        assert!(options.iter().all(|(name, _)| name != "best_metric"));
    }

    #[test]
    fn event_files_give_curves() {
        let run = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(&run.path().join("runs/Nov29_host"), 100.0).unwrap();
        let step = StepRecord {
            step: 1,
            loss: 2.0,
            learning_rate: 1e-4,
            grad_norm: 0.5,
            tokens: 10,
            trained_tokens: 1,
            seconds: 2.0,
            peak_memory_bytes: None,
        };
        events.push(&Record::Step(step)).unwrap();
        events.push(&Record::Step(StepRecord { step: 2, loss: 1.0, ..step })).unwrap();
        let evaluation = EvaluationRecord {
            step: 2,
            valid_loss: 1.25,
            valid_token_accuracy: 0.5,
            valid_tokens: 1,
            valid_score: None,
            seconds: 1.0,
        };
        events.push(&Record::Evaluation(evaluation)).unwrap();
        drop(events);
        let (history, _) = Log::of(run.path()).unwrap().read().unwrap();
        assert_eq!(history.points.iter().map(|point| point.loss).collect::<Vec<_>>(), [2.0, 1.0]);
        assert_eq!(
            (history.evaluations[0].valid_loss, history.evaluations[0].valid_token_accuracy),
            (1.25, 0.5)
        );
        assert_eq!(history.points[1].seconds, 3.0);
        // A file that is still being written may end anywhere.
        let Some(Log::Events(files)) = Log::of(run.path()) else { panic!("event files") };
        let whole = fs::read(&files[0]).unwrap();
        for length in 0..whole.len() {
            fs::write(&files[0], &whole[..length]).unwrap();
            Log::Events(files.clone()).read().unwrap();
        }
    }

    #[test]
    fn other_directories_have_no_log() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("runs")).unwrap();
        assert_eq!(Log::of(directory.path()), None);
    }
}
