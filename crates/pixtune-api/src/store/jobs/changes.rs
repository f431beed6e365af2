//! Changes of the states of jobs.

use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{Job, JobStatus, Process, Wish, by_id, sql_number};
use crate::clock::now;
use crate::store::models::{self, NewModel};
use crate::store::{Store, StoreError, webhooks};

/// Stores notices of a job that has ended.
pub(super) fn notify(transaction: &Transaction<'_>, job: &Job) -> rusqlite::Result<()> {
    let kind = match job.status {
        JobStatus::Succeeded => "fine_tuning.job.succeeded",
        JobStatus::Failed | JobStatus::FailedValidation => "fine_tuning.job.failed",
        JobStatus::Cancelled => "fine_tuning.job.cancelled",
        _ => return Ok(()),
    };
    webhooks::enqueue(transaction, &job.project, kind, &job.id)
}

impl Store {
    /// Changes the state of a job from one of `from`; `None` if it is in another one.
    fn transition(
        &self,
        id: &str,
        from: &[JobStatus],
        to: JobStatus,
        wish: Wish,
    ) -> Result<Option<Job>, StoreError> {
        self.transition_because(id, from, (to, wish), None)
    }

    /// The same with the code and the message of the error that is the reason: whoever sees the state sees the reason.
    fn transition_because(
        &self,
        id: &str,
        from: &[JobStatus],
        (to, wish): (JobStatus, Wish),
        error: Option<(&str, &str)>,
    ) -> Result<Option<Job>, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let names: Vec<String> = from.iter().map(|status| format!("'{}'", status.as_str())).collect();
        let sql = format!(
            "UPDATE jobs SET status = ?2, wish = ?3, modified_at = ?4, finished_at = CASE WHEN ?5 THEN ?4 ELSE finished_at END,
                error_code = coalesce(?6, error_code), error_message = coalesce(?7, error_message)
             WHERE id = ?1 AND status IN ({})",
            names.join(", ")
        );
        let (code, message) = error.unzip();
        let values = params![id, to.as_str(), wish.as_str(), now(), to.is_final(), code, message];
        let changed = transaction.execute(&sql, values)? > 0;
        let job = changed.then(|| by_id(&transaction, id)).transpose()?;
        if let Some(job) = &job {
            notify(&transaction, job)?;
        }
        transaction.commit()?;
        Ok(job)
    }

    /// Puts a validated job in the queue.
    pub fn start_job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        self.transition(id, &[JobStatus::Validated], JobStatus::Queued, Wish::Run)
    }

    /// Cancels a job: at once if it does not run, else its process is ended.
    pub fn cancel_job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let waiting = [JobStatus::Validated, JobStatus::Queued, JobStatus::Paused];
        match self.transition(id, &waiting, JobStatus::Cancelled, Wish::Cancel)? {
            Some(job) => Ok(Some(job)),
            None => self.transition(id, &[JobStatus::Running], JobStatus::Running, Wish::Cancel),
        }
    }

    /// Pauses a job: at once if it does not run, else its process saves and ends.
    pub fn pause_job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        match self.transition(id, &[JobStatus::Validated, JobStatus::Queued], JobStatus::Paused, Wish::Run)? {
            Some(job) => Ok(Some(job)),
            None => self.wish(id, &[Wish::Run, Wish::Pause], Wish::Pause),
        }
    }

    /// Puts a paused job back in the queue; one that is about to pause goes on.
    pub fn resume_job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        match self.transition(id, &[JobStatus::Paused], JobStatus::Queued, Wish::Run)? {
            Some(job) => Ok(Some(job)),
            None => self.wish(id, &[Wish::Pause], Wish::Run),
        }
    }

    fn wish(&self, id: &str, from: &[Wish], to: Wish) -> Result<Option<Job>, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let names: Vec<String> = from.iter().map(|wish| format!("'{}'", wish.as_str())).collect();
        let sql = format!(
            "UPDATE jobs SET wish = ?2, modified_at = ?3 WHERE id = ?1 AND status = 'running' AND wish IN ({})",
            names.join(", ")
        );
        let changed = transaction.execute(&sql, params![id, to.as_str(), now()])? > 0;
        let job = changed.then(|| by_id(&transaction, id)).transpose()?;
        transaction.commit()?;
        Ok(job)
    }

    /// Gives a slot to the next queued job.
    pub fn claim_job(&self, slot: &str) -> Result<Option<Job>, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = "UPDATE jobs SET status = 'running', wish = 'run', slot = ?1, attempts = attempts + 1, modified_at = ?2,
                started_at = coalesce(started_at, ?2), pid = NULL, pid_started = NULL
             WHERE seq = (SELECT seq FROM jobs WHERE status = 'queued' ORDER BY priority DESC, seq LIMIT 1) RETURNING id";
        let id: Option<String> =
            transaction.query_row(sql, params![slot, now()], |row| row.get(0)).optional()?;
        let job = id.map(|id| by_id(&transaction, &id)).transpose()?;
        transaction.commit()?;
        Ok(job)
    }

    /// Stores which process trains a job.
    pub fn set_process(&self, id: &str, process: Process) -> Result<(), StoreError> {
        let started = sql_number(process.started);
        self.writer().execute(
            "UPDATE jobs SET pid = ?2, pid_started = ?3 WHERE id = ?1",
            params![id, process.pid, started],
        )?;
        Ok(())
    }

    /// Stores the length of a run.
    pub fn set_length(&self, id: &str, steps: u64, epochs: Option<u64>) -> Result<(), StoreError> {
        let sql = "UPDATE jobs SET steps = ?2, epochs = ?3 WHERE id = ?1";
        self.writer().execute(sql, params![id, sql_number(steps), epochs.map(sql_number)])?;
        Ok(())
    }

    /// A running job whose process ended before it was finished: back to the queue, or paused if that was wanted.
    pub fn interrupted_job(&self, id: &str, status: JobStatus) -> Result<Option<Job>, StoreError> {
        self.transition(id, &[JobStatus::Running], status, Wish::Run)
    }

    /// Puts a running job back in the queue without counting the attempt, unless it is to be cancelled.
    pub fn requeue_job(&self, id: &str) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = "UPDATE jobs SET status = 'queued', wish = 'run', attempts = max(attempts - 1, 0), modified_at = ?2
             WHERE id = ?1 AND status = 'running' AND wish <> 'cancel'";
        if transaction.execute(sql, params![id, now()])? > 0 {
            notify(&transaction, &by_id(&transaction, id)?)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Ends a running job without a model.
    pub fn end_job(
        &self,
        id: &str,
        status: JobStatus,
        error: Option<(&str, &str)>,
    ) -> Result<Option<Job>, StoreError> {
        self.transition_because(id, &[JobStatus::Running], (status, Wish::Run), error)
    }

    /// Ends a running job with its model and its file of metrics.
    pub fn succeed_job(
        &self,
        id: &str,
        model: &NewModel,
        result: &str,
        tokens: u64,
    ) -> Result<Option<Job>, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = "UPDATE jobs SET status = 'succeeded', modified_at = ?2, finished_at = ?2, tuned_model = ?3, result_file = ?4,
                trained_tokens = ?5
             WHERE id = ?1 AND status = 'running' AND wish <> 'cancel'";
        let changed = transaction.execute(sql, params![id, now(), model.id, result, sql_number(tokens)])? > 0;
        let mut job = None;
        if changed {
            let done = by_id(&transaction, id)?;
            models::insert(&transaction, done.origin(), model)?;
            notify(&transaction, &done)?;
            job = Some(done);
        }
        transaction.commit()?;
        Ok(job)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Created, NewJob, Same};
    use super::*;
    use crate::vendor::Vendor;

    fn queued(store: &Store) -> Job {
        let new = NewJob {
            project: "p".to_owned(),
            vendor: Vendor::OpenAi,
            status: JobStatus::Queued,
            request: "{}".to_owned(),
            model: "m".to_owned(),
            suffix: None,
            idempotency_key: None,
            priority: 0,
            samples: 1,
            error: None,
        };
        match store.create_job(&new, Same::Never).unwrap() {
            Created::New(job) | Created::Same(job) => *job,
        }
    }

    #[test]
    fn a_job_that_waits_for_space_does_not_use_an_attempt() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let id = queued(&store).id;
        let state = || store.job("p", &id).unwrap().map(|job| (job.status, job.attempts)).unwrap();
        for _ in 0..3 {
            store.claim_job("cpu").unwrap().unwrap();
            assert_eq!(state(), (JobStatus::Running, 1));
            store.requeue_job(&id).unwrap();
            assert_eq!(state(), (JobStatus::Queued, 0));
        }
        store.claim_job("cpu").unwrap().unwrap();
        store.cancel_job(&id).unwrap();
        store.requeue_job(&id).unwrap();
        assert_eq!(state().0, JobStatus::Running, "it is cancelled, not queued again");
    }

    #[test]
    fn a_failed_job_has_its_error_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let id = queued(&store).id;
        store.claim_job("cpu").unwrap().unwrap();
        let ended = store.end_job(&id, JobStatus::Failed, Some(("training_failed", "why"))).unwrap().unwrap();
        assert_eq!(ended.error, Some(("training_failed".to_owned(), "why".to_owned())));
        assert!(ended.finished_at.is_some());
        // It ends once.
        assert!(store.end_job(&id, JobStatus::Cancelled, None).unwrap().is_none());
    }
}
