//! From the output of a trainer to the metrics and checkpoints of a run.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pixtune_core::metrics::Record;

use super::output::{Output, copy_adapter, is_adapter, names};
use super::{ExternalError, ExternalReporter};
use crate::config::KEPT;

/// What a run has of the trainer's output.
#[derive(Debug)]
pub(super) struct Following {
    out: PathBuf,
    metrics: File,
    last_step: u64,
    last_evaluation: Option<u64>,
    checkpoints: BTreeSet<u64>,
    /// The log that was read last, and when it was written.
    state: Option<(PathBuf, SystemTime)>,
    /// How far the metrics of a command were read.
    read: u64,
}

impl Following {
    /// Continues with the files of a run.
    pub(super) fn open(out: &Path) -> Result<Following, ExternalError> {
        let path = out.join("metrics.jsonl");
        let failed = |source| ExternalError::Write { path: path.clone(), source };
        let mut metrics = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let mut text = String::new();
        metrics.read_to_string(&mut text).map_err(failed)?;
        // A kill may have left half a line.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        metrics.set_len(whole as u64).map_err(failed)?;
        metrics.seek(SeekFrom::Start(whole as u64)).map_err(failed)?;
        let checkpoints = names(&out.join("checkpoints"))?;
        let mut following = Following {
            out: out.to_owned(),
            metrics,
            last_step: 0,
            last_evaluation: None,
            checkpoints: checkpoints
                .iter()
                .filter_map(|name| name.strip_prefix("step-")?.parse().ok())
                .collect(),
            state: None,
            read: 0,
        };
        for record in text[..whole].lines().filter_map(Record::parse) {
            following.is_new(&record);
        }
        Ok(following)
    }

    /// Whether a record follows those of before: a resumed run repeats some.
    fn is_new(&mut self, record: &Record) -> bool {
        match record {
            Record::Step(step) if step.step > self.last_step => {
                self.last_step = step.step;
                true
            }
            Record::Evaluation(evaluation)
                if self.last_evaluation.is_none_or(|last| evaluation.step > last) =>
            {
                self.last_evaluation = Some(evaluation.step);
                true
            }
            Record::Step(_) | Record::Evaluation(_) => false,
        }
    }

    /// Takes over what is new.
    pub(super) fn poll(
        &mut self,
        output: &Output,
        has_ended: bool,
        reporter: &mut dyn ExternalReporter,
    ) -> Result<(), ExternalError> {
        let mut records = self.state_records(output, has_ended)?;
        records.extend(self.command_records(output)?);
        for record in records {
            if self.is_new(&record) {
                self.push(&record, reporter).map_err(|source| ExternalError::Write {
                    path: self.out.join("metrics.jsonl"),
                    source,
                })?;
            }
        }
        self.copy_checkpoints(output)
    }

    fn push(&mut self, record: &Record, reporter: &mut dyn ExternalReporter) -> io::Result<()> {
        self.metrics.write_all((record.to_json() + "\n").as_bytes())?;
        reporter.record(record)
    }

    /// The records of the newest log of transformers, if it has changed.
    fn state_records(&mut self, output: &Output, has_ended: bool) -> Result<Vec<Record>, ExternalError> {
        let Some(path) = output.newest_state()? else { return Ok(Vec::new()) };
        // A checkpoint may be removed at any moment: the next one has its log.
        let Ok(written) = path.metadata().and_then(|about| about.modified()) else { return Ok(Vec::new()) };
        let is_read = self.state.as_ref().is_some_and(|(known, at)| *known == path && *at == written);
        if is_read && !has_ended {
            return Ok(Vec::new());
        }
        let records = output.records(&path);
        if !records.is_empty() {
            self.state = Some((path, written));
        }
        Ok(records)
    }

    /// The whole lines that a command has appended to its metrics.
    fn command_records(&mut self, output: &Output) -> Result<Vec<Record>, ExternalError> {
        let path = output.metrics();
        let failed = |error: io::Error| ExternalError::Read { path: path.clone(), reason: error.to_string() };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let length = file.metadata().map_err(failed)?.len();
        if length < self.read {
            // A resumed command may begin the file again.
            self.read = 0;
        }
        file.seek(SeekFrom::Start(self.read)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.read += whole as u64;
        Ok(String::from_utf8_lossy(&bytes[..whole]).lines().filter_map(Record::parse).collect())
    }

    /// Copies the adapters of new checkpoints, and removes old ones.
    fn copy_checkpoints(&mut self, output: &Output) -> Result<(), ExternalError> {
        for (step, name) in output.checkpoints()? {
            let from = output.path().join(name);
            if self.checkpoints.contains(&step) || !is_adapter(&from) {
                continue;
            }
            let to = self.out.join("checkpoints").join(format!("step-{step}"));
            fs::create_dir_all(self.out.join("checkpoints"))
                .map_err(|source| ExternalError::Write { path: to.clone(), source })?;
            match copy_adapter(&from, &to) {
                // The trainer removed it at this moment.
                Err(_) if !is_adapter(&from) => continue,
                copied => copied?,
            }
            self.checkpoints.insert(step);
        }
        while self.checkpoints.len() as u64 > KEPT {
            let Some(oldest) = self.checkpoints.pop_first() else { break };
            let path = self.out.join("checkpoints").join(format!("step-{oldest}"));
            pixtune_files::remove(&path).map_err(|source| ExternalError::Write { path, source })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::ExportReporter;

    #[derive(Default)]
    struct Seen(Vec<(u64, bool)>);

    impl ExportReporter for Seen {
        fn elements(&mut self, _: &str, _: pixtune_io::read::Elements) {}
        fn finding(&mut self, _: &pixtune_core::diagnostic::Diagnostic) {}
        fn progress(&mut self, _: pixtune_io::progress::Progress) {}
    }

    impl ExternalReporter for Seen {
        fn note(&mut self, _: &str) {}
        fn record(&mut self, record: &Record) -> io::Result<()> {
            self.0.push(match record {
                Record::Step(step) => (step.step, false),
                Record::Evaluation(evaluation) => (evaluation.step, true),
            });
            Ok(())
        }
    }

    fn checkpoint(output: &Path, step: u64) {
        let directory = output.join(format!("checkpoint-{step}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("adapter_config.json"), "{}").unwrap();
        fs::write(directory.join("adapter_model.safetensors"), "x").unwrap();
        let mut log: Vec<String> =
            (1..=step).map(|step| format!(r#"{{"step":{step},"loss":1.5}}"#)).collect();
        log.push(format!(r#"{{"step":{step},"eval_loss":2.5}}"#));
        let state = format!(r#"{{"global_step":{step},"log_history":[{}]}}"#, log.join(","));
        fs::write(directory.join("trainer_state.json"), state).unwrap();
    }

    #[test]
    fn checkpoints_of_transformers_become_metrics_and_adapters() {
        let directory = tempfile::tempdir().unwrap();
        let (out, output) = (directory.path().join("run"), directory.path().join("output"));
        fs::create_dir_all(&out).unwrap();
        let from = Output::new(output.clone());
        let mut following = Following::open(&out).unwrap();
        let mut seen = Seen::default();
        following.poll(&from, false, &mut seen).unwrap();
        checkpoint(&output, 2);
        following.poll(&from, false, &mut seen).unwrap();
        following.poll(&from, false, &mut seen).unwrap();
        assert_eq!(seen.0, [(1, false), (2, false), (2, true)]);
        // The next process continues where this one ended, after half a line.
        OpenOptions::new()
            .append(true)
            .open(out.join("metrics.jsonl"))
            .unwrap()
            .write_all(b"{\"step\":3,")
            .unwrap();
        let mut following = Following::open(&out).unwrap();
        for step in [3, 4, 5] {
            checkpoint(&output, step);
            following.poll(&from, false, &mut seen).unwrap();
        }
        assert_eq!(seen.0[3..], [(3, false), (3, true), (4, false), (4, true), (5, false), (5, true)]);
        let mut kept = names(&out.join("checkpoints")).unwrap();
        kept.sort();
        assert_eq!(kept, ["step-3", "step-4", "step-5"]);
        from.publish_adapter(&out).unwrap();
        assert!(is_adapter(&out.join("adapter")));
        let lines = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
        assert_eq!(lines.lines().filter_map(Record::parse).count(), 9);
    }

    #[test]
    fn metrics_of_a_command_are_taken_over_once() {
        let directory = tempfile::tempdir().unwrap();
        let (out, output) = (directory.path().join("run"), directory.path().join("output"));
        fs::create_dir_all(&out).unwrap();
        fs::create_dir_all(output.join("checkpoints/step-1")).unwrap();
        let from = Output::new(output);
        let mut following = Following::open(&out).unwrap();
        let mut seen = Seen::default();
        fs::write(from.metrics(), "{\"step\":1,\"loss\":2}\n{\"step\":2,\"lo").unwrap();
        following.poll(&from, false, &mut seen).unwrap();
        assert_eq!(seen.0, [(1, false)]);
        fs::write(from.metrics(), "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":1}\nnote\n").unwrap();
        following.poll(&from, true, &mut seen).unwrap();
        // Shorter: it was begun again.
        fs::write(from.metrics(), "{\"step\":2,\"loss\":1}\n{\"step\":3,\"loss\":1}\n").unwrap();
        following.poll(&from, true, &mut seen).unwrap();
        assert_eq!(seen.0, [(1, false), (2, false), (3, false)]);
        assert!(matches!(from.publish_adapter(&out), Err(ExternalError::NoAdapter { .. })));
    }

    #[test]
    fn unfinished_checkpoints_are_not_resumed_from() {
        let directory = tempfile::tempdir().unwrap();
        let output = Output::new(directory.path().to_owned());
        checkpoint(directory.path(), 2);
        checkpoint(directory.path(), 4);
        fs::write(directory.path().join("checkpoint-4/trainer_state.json"), "{").unwrap();
        assert_eq!(output.newest_checkpoint().unwrap(), Some((2, "checkpoint-2".to_owned())));
        output.remove_unfinished().unwrap();
        assert!(!directory.path().join("checkpoint-4").exists());
    }
}
