//! From the metrics of a run to the events of its job.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use pixtune_core::json::{object, text};
use pixtune_core::metrics::{EvaluationRecord, Record, StepRecord, finite};

use super::JobFiles;
use crate::store::{EventKind, Followed, Level, NewEvent};

/// Follows one run.
#[derive(Debug)]
pub struct Follower {
    /// How far its metrics are events.
    followed: Followed,
    /// Checkpoints that are events.
    checkpoints: BTreeSet<u64>,
    /// The newest loss of training, and evaluation, for a checkpoint's event.
    loss: Option<f64>,
    evaluation: Option<EvaluationRecord>,
    total: Option<u64>,
}

/// New events, and how far they reach.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Followings {
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// How far the metrics are events with them.
    pub followed: Followed,
    /// The steps of checkpoints among them.
    pub checkpoints: Vec<u64>,
}

/// Bytes that are read at a time: a line of metrics has a few hundred.
const AT_ONCE: u64 = 1 << 20;

/// How long a step waits for the evaluation that may follow it: they become one event.
const PATIENCE: Duration = Duration::from_secs(2);

impl Follower {
    /// Goes on where an earlier server ended; `checkpoints` are events already.
    pub fn new(followed: Followed, checkpoints: impl IntoIterator<Item = u64>) -> Follower {
        Follower {
            followed,
            checkpoints: checkpoints.into_iter().collect(),
            loss: None,
            evaluation: None,
            total: None,
        }
    }

    /// Sets the number of steps of the run.
    pub fn set_total(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// Events since the last call. `has_ended` takes the last step without waiting for what may follow.
    pub(super) fn poll(&mut self, files: &JobFiles, has_ended: bool) -> io::Result<Followings> {
        let mut events = Vec::new();
        self.metrics(files, has_ended, &mut events)?;
        let checkpoints = self.checkpoints(files, &mut events)?;
        Ok(Followings { events, followed: self.followed, checkpoints })
    }

    fn metrics(&mut self, files: &JobFiles, has_ended: bool, events: &mut Vec<NewEvent>) -> io::Result<()> {
        loop {
            let before = self.followed.bytes;
            self.read_metrics(files, has_ended, events)?;
            // A run that goes on is read on at the next look; of one that has ended, all is read now.
            if !has_ended || self.followed.bytes <= before {
                return Ok(());
            }
        }
    }

    /// Reads some lines.
    fn read_metrics(
        &mut self,
        files: &JobFiles,
        has_ended: bool,
        events: &mut Vec<NewEvent>,
    ) -> io::Result<()> {
        let mut file = match File::open(files.metrics()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let about = file.metadata()?;
        // A resumed run is cut back to its checkpoint.
        self.followed.bytes = self.followed.bytes.min(about.len());
        file.seek(SeekFrom::Start(self.followed.bytes))?;
        let mut bytes = Vec::new();
        file.take(AT_ONCE).read_to_end(&mut bytes)?;
        let is_quiet = about.modified()?.elapsed().is_ok_and(|elapsed| elapsed > PATIENCE);
        let mut lines =
            bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).peekable();
        while let Some(line) = lines.next() {
            let record = std::str::from_utf8(line).ok().and_then(Record::parse);
            let length = line.len() as u64;
            match record {
                Some(Record::Step(step)) => {
                    let next =
                        lines.peek().and_then(|line| std::str::from_utf8(line).ok()).and_then(Record::parse);
                    let evaluation = match next {
                        Some(Record::Evaluation(evaluation)) if evaluation.step == step.step => {
                            Some(evaluation)
                        }
                        None if !has_ended && !is_quiet => return Ok(()),
                        _ => None,
                    };
                    let evaluated = evaluation.and_then(|_| lines.next()).map_or(0, |line| line.len() as u64);
                    self.followed.bytes += length + evaluated;
                    self.step(Some(&step), evaluation, events);
                }
                Some(Record::Evaluation(evaluation)) => {
                    self.followed.bytes += length;
                    self.step(None, Some(evaluation), events);
                }
                None => self.followed.bytes += length,
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        step: Option<&StepRecord>,
        evaluation: Option<EvaluationRecord>,
        events: &mut Vec<NewEvent>,
    ) {
        let number =
            step.map(|step| step.step).or(evaluation.map(|evaluation| evaluation.step)).unwrap_or_default();
        // A resumed run repeats steps. An evaluation may follow its step when that is an event already.
        let is_new = match step {
            Some(_) => number >= self.followed.next,
            None => {
                number + 1 >= self.followed.next && self.evaluation.is_none_or(|last| last.step != number)
            }
        };
        self.loss = step.map(|step| step.loss).or(self.loss);
        self.evaluation = evaluation.or(self.evaluation);
        if !is_new {
            return;
        }
        self.followed.next = self.followed.next.max(number + 1);
        let total = self.total.unwrap_or(number);
        let train = step.map(|step| format!("training loss={:.2}", step.loss));
        let valid = evaluation.map(|evaluation| format!("validation loss={:.2}", evaluation.valid_loss));
        let losses: Vec<String> = train.into_iter().chain(valid).collect();
        let data = text(object(|data| {
            data.field("step", number)
                .field("total_steps", total)
                .optional("train_loss", step.map(|step| step.loss));
            data.optional("learning_rate", step.and_then(|step| finite(step.learning_rate)));
            data.optional("grad_norm", step.and_then(|step| finite(step.grad_norm)));
            data.optional("tokens", step.map(|step| step.tokens))
                .optional("seconds", step.map(|step| step.seconds));
            validation(data, evaluation);
        }));
        events.push(NewEvent {
            kind: EventKind::Metrics,
            level: Level::Info,
            message: format!("Step {number}/{total}: {}", losses.join(", ")),
            data: Some(data),
        });
    }

    fn checkpoints(&mut self, files: &JobFiles, events: &mut Vec<NewEvent>) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(files.checkpoints()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut steps = BTreeSet::new();
        for entry in entries {
            steps.extend(step_of(&entry?.file_name().to_string_lossy()));
        }
        let mut new = Vec::new();
        for step in steps {
            // A checkpoint whose step is not an event yet waits for it.
            if step < self.followed.next && self.checkpoints.insert(step) {
                let evaluation = self.evaluation.filter(|evaluation| evaluation.step == step);
                let data = text(object(|data| {
                    data.field("step", step).optional("train_loss", self.loss);
                    validation(data, evaluation);
                }));
                let message = format!("Checkpoint created at step {step}");
                events.push(NewEvent {
                    kind: EventKind::Checkpoint,
                    level: Level::Info,
                    message,
                    data: Some(data),
                });
                new.push(step);
            }
        }
        Ok(new)
    }
}

/// The step of a checkpoint's directory.
fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.parse().ok()
}

fn validation(data: &mut pixtune_core::json::Object<'_>, evaluation: Option<EvaluationRecord>) {
    for name in ["valid_loss", "full_valid_loss"] {
        data.optional(name, evaluation.map(|evaluation| evaluation.valid_loss));
    }
    for name in ["valid_mean_token_accuracy", "full_valid_mean_token_accuracy"] {
        data.optional(name, evaluation.and_then(|evaluation| finite(evaluation.valid_token_accuracy)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> String {
        Record::Step(StepRecord {
            step,
            loss: 2.5,
            learning_rate: 1e-4,
            grad_norm: 1.0,
            tokens: 10,
            trained_tokens: 5,
            seconds: 0.5,
            peak_memory_bytes: None,
        })
        .to_json()
            + "\n"
    }

    fn evaluation(step: u64) -> String {
        let evaluation = EvaluationRecord {
            step,
            valid_loss: 1.5,
            valid_token_accuracy: 0.25,
            valid_tokens: 4,
            valid_score: None,
            seconds: 0.1,
        };
        Record::Evaluation(evaluation).to_json() + "\n"
    }

    fn files() -> (tempfile::TempDir, JobFiles) {
        let directory = tempfile::tempdir().unwrap();
        let files = JobFiles::new(directory.path().to_owned());
        fs::create_dir_all(files.run()).unwrap();
        (directory, files)
    }

    fn messages(followings: &Followings) -> Vec<&str> {
        followings.events.iter().map(|event| event.message.as_str()).collect()
    }

    #[test]
    fn a_step_and_its_evaluation_are_one_event() {
        let (_directory, files) = files();
        let mut follower = Follower::new(Followed::default(), []);
        follower.set_total(2);
        assert_eq!(follower.poll(&files, false).unwrap(), Followings::default());
        fs::write(files.metrics(), evaluation(0) + &step(1)).unwrap();
        let first = follower.poll(&files, false).unwrap();
        assert_eq!(messages(&first), ["Step 0/2: validation loss=1.50"]);
        fs::write(files.metrics(), evaluation(0) + &step(1) + &evaluation(1) + &step(2) + "{\"step\":3,")
            .unwrap();
        fs::create_dir_all(files.checkpoints().join("step-1")).unwrap();
        let second = follower.poll(&files, false).unwrap();
        let expected = ["Step 1/2: training loss=2.50, validation loss=1.50", "Checkpoint created at step 1"];
        assert_eq!(messages(&second), expected);
        assert_eq!(second.followed.next, 2);
        assert!(second.events[1].data.as_ref().unwrap().contains(r#""valid_mean_token_accuracy":0.25"#));
        assert_eq!(messages(&follower.poll(&files, true).unwrap()), ["Step 2/2: training loss=2.50"]);
    }

    #[test]
    fn a_run_that_ended_while_no_server_ran_has_all_its_events() {
        let (_directory, files) = files();
        let lines: String = (1..=10_000).map(step).collect();
        assert!(lines.len() as u64 > AT_ONCE);
        fs::write(files.metrics(), lines).unwrap();
        let followings = Follower::new(Followed::default(), []).poll(&files, true).unwrap();
        assert_eq!((followings.events.len(), followings.followed.next), (10_000, 10_001));
    }

    #[test]
    fn a_resumed_run_repeats_no_event() {
        let (_directory, files) = files();
        fs::write(files.metrics(), step(1) + &step(2) + &step(3)).unwrap();
        let mut follower = Follower::new(Followed::default(), []);
        assert_eq!(follower.poll(&files, true).unwrap().events.len(), 3);
        fs::write(files.metrics(), step(1)).unwrap();
        assert_eq!(follower.poll(&files, true).unwrap().events.len(), 0);
        fs::write(files.metrics(), step(1) + &step(2) + &step(3) + &step(4)).unwrap();
        assert_eq!(messages(&follower.poll(&files, true).unwrap()), ["Step 4/4: training loss=2.50"]);
    }
}
