//! What becomes of a job whose process has ended.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use pixtune_core::metrics::Record;

use super::JobFiles;
use crate::clock;
use crate::store::{Job, Wish};
use crate::vendor::Vendor;

/// What follows from how a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The run is complete.
    Complete,
    /// Its user cancelled it.
    Cancelled,
    /// Its user paused it.
    Paused,
    /// It was interrupted: it goes on later.
    Interrupted(String),
    /// The disk is full: it goes on when there is room.
    DiskFull,
    /// It failed.
    Failed(String),
}

/// How often a job is started again after something killed its process.
const ATTEMPTS: u32 = 5;

/// Judges a process by its exit code (none: it was killed), what its user wanted, and its last words.
pub(super) fn judge(job: &Job, code: Option<i32>, log: &str) -> Ending {
    // 1: samples that had become invalid were skipped, which the log reports.
    let is_complete = matches!(code, Some(0 | 1));
    let last = last_error(log);
    match (job.wish, code) {
        (Wish::Cancel, _) => Ending::Cancelled,
        _ if is_complete => Ending::Complete,
        (Wish::Pause, _) => Ending::Paused,
        _ if last.contains("No space left on device") => Ending::DiskFull,
        (Wish::Run, Some(_)) if last.contains("another run is writing") && job.attempts < ATTEMPTS => {
            Ending::Interrupted("an earlier training process has not ended yet".to_owned())
        }
        (Wish::Run, None | Some(128..)) if job.attempts < ATTEMPTS => Ending::Interrupted(format!(
            "the training process was killed; attempt {} of {ATTEMPTS} follows",
            job.attempts + 1
        )),
        (Wish::Run, None | Some(128..)) => {
            Ending::Failed(format!("the training process was killed {ATTEMPTS} times"))
        }
        (Wish::Run, Some(_)) if last.contains("continue with `--resume`") && job.attempts < ATTEMPTS => {
            Ending::Interrupted(format!(
                "training was interrupted; attempt {} of {ATTEMPTS} follows",
                job.attempts + 1
            ))
        }
        (Wish::Run, Some(code)) if last.is_empty() => {
            Ending::Failed(format!("training failed with exit code {code}"))
        }
        (Wish::Run, Some(_)) => Ending::Failed(last),
    }
}

/// The last error and its hints, as `train` prints them.
fn last_error(log: &str) -> String {
    let start = log.rfind("\nerror").map(|at| at + 1).or_else(|| log.starts_with("error").then_some(0));
    let Some(start) = start else { return String::new() };
    let lines: Vec<&str> =
        log[start..].lines().map(str::trim).filter(|line| !line.is_empty()).take(6).collect();
    let text = lines.join("; ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// The end of a log.
pub(super) fn tail(path: &Path) -> String {
    const MOST: u64 = 16 << 10;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // Without a log, the message names the exit code.
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The id of the tuned model of a job, as each vendor composes it: known before the model is there, because checkpoints are
/// named for it.
pub fn model_id(job: &Job) -> String {
    let digits: String = job.id.chars().filter(char::is_ascii_hexdigit).collect();
    let end = &digits[digits.len().saturating_sub(8)..];
    let (model, suffix) = (&job.model, job.suffix.as_deref());
    match job.vendor {
        Vendor::Mistral => {
            format!(
                "ft:{model}:{}:{}:{end}",
                suffix.unwrap_or("pixtune"),
                clock::compact_date(job.created_at)
            )
        }
        Vendor::OpenAi => format!("ft:{model}:pixtune:{}:{end}", suffix.unwrap_or_default()),
    }
}

/// The id of the model of a checkpoint.
pub fn checkpoint_id(tuned: &str, step: u64) -> String {
    format!("{tuned}:ckpt-step-{step}")
}

/// The records of a run, and the tokens that counted in its loss.
pub(super) fn records(files: &JobFiles) -> io::Result<(Vec<Record>, u64)> {
    let records: Vec<Record> =
        fs::read_to_string(files.metrics())?.lines().filter_map(Record::parse).collect();
    let tokens = records.iter().map(|record| match record {
        Record::Step(step) => step.trained_tokens,
        Record::Evaluation(_) => 0,
    });
    let tokens = tokens.sum();
    Ok((records, tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(wish: Wish, attempts: u32, code: Option<i32>, log: &str) -> Ending {
        judge(&Job { wish, attempts, ..Job::example(10) }, code, log)
    }

    #[test]
    fn endings_follow_from_the_code_the_wish_and_the_log() {
        assert_eq!(judged(Wish::Run, 1, Some(0), ""), Ending::Complete);
        assert_eq!(judged(Wish::Pause, 1, Some(0), ""), Ending::Complete);
        assert_eq!(judged(Wish::Cancel, 1, Some(0), ""), Ending::Cancelled);
        assert_eq!(judged(Wish::Pause, 1, Some(2), ""), Ending::Paused);
        assert_eq!(judged(Wish::Pause, 1, None, ""), Ending::Paused);
        assert!(matches!(judged(Wish::Run, 1, None, ""), Ending::Interrupted(_)));
        assert!(matches!(judged(Wish::Run, 1, Some(137), ""), Ending::Interrupted(_)));
        assert!(matches!(judged(Wish::Run, 5, None, ""), Ending::Failed(_)));
        let full = "step 1\nerror: cannot write `x`\n  caused by: No space left on device (os error 28)\n";
        assert_eq!(judged(Wish::Run, 1, Some(2), full), Ending::DiskFull);
        let failed = "step 1\nerror: the loss is NaN\n  hint: lower the learning rate\n";
        assert_eq!(
            judged(Wish::Run, 1, Some(2), failed),
            Ending::Failed("the loss is NaN; hint: lower the learning rate".to_owned())
        );
        assert_eq!(
            judged(Wish::Run, 1, Some(2), ""),
            Ending::Failed("training failed with exit code 2".to_owned())
        );
    }

    #[test]
    fn tuned_models_are_named_like_those_of_the_vendor() {
        let job = Job {
            suffix: Some("mine".to_owned()),
            id: "ftjob-0123456789abcdef".to_owned(),
            ..Job::example(1)
        };
        assert_eq!(model_id(&job), "ft:m:pixtune:mine:89abcdef");
        let mistral = Job { vendor: Vendor::Mistral, ..job };
        let id = model_id(&mistral);
        assert_eq!(id.split(':').map(str::len).collect::<Vec<_>>(), [2, 1, 4, 8, 8]);
        assert_eq!(checkpoint_id(&id, 7), format!("{id}:ckpt-step-7"));
    }
}
