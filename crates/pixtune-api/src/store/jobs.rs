//! Jobs and their states. Every change of a state is one transaction whose condition is the state before it, so that of two
//! changes at the same time one happens.

use rusqlite::{OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::models::{self, NewModel};
use super::{Store, StoreError};
use crate::clock::now;
use crate::ids;
use crate::vendor::Vendor;

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobStatus {
    /// Its files are valid; it waits until it is started.
    Validated,
    /// It waits for a slot.
    Queued,
    /// It was interrupted by its user, and waits until it is resumed.
    Paused,
    /// It is being trained.
    Running,
    /// Its model is ready.
    Succeeded,
    /// Training failed.
    Failed,
    /// Its files cannot be trained on.
    FailedValidation,
    /// Its user cancelled it.
    Cancelled,
}

const STATUSES: [(JobStatus, &str); 8] = [
    (JobStatus::Validated, "validated"),
    (JobStatus::Queued, "queued"),
    (JobStatus::Paused, "paused"),
    (JobStatus::Running, "running"),
    (JobStatus::Succeeded, "succeeded"),
    (JobStatus::Failed, "failed"),
    (JobStatus::FailedValidation, "failed_validation"),
    (JobStatus::Cancelled, "cancelled"),
];

impl JobStatus {
    /// The name in the database and on the dashboard.
    pub fn as_str(self) -> &'static str {
        STATUSES.into_iter().find(|(status, _)| *status == self).map_or("failed", |(_, name)| name)
    }

    /// Every state.
    pub fn all() -> impl Iterator<Item = JobStatus> {
        STATUSES.into_iter().map(|(status, _)| status)
    }

    /// Whether no other state follows.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            JobStatus::Succeeded | JobStatus::Failed | JobStatus::FailedValidation | JobStatus::Cancelled
        )
    }
}

/// What the user wants of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    Run,
    /// Save and wait.
    Pause,
    /// End.
    Cancel,
}

impl Wish {
    fn as_str(self) -> &'static str {
        match self {
            Wish::Run => "run",
            Wish::Pause => "pause",
            Wish::Cancel => "cancel",
        }
    }
}

/// The process that trains a job. The time of its start tells it from a later process with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// The process id, which is that of its group too.
    pub pid: i32,
    /// When it started, in the system's ticks.
    pub started: u64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its place in the order of creation.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub project: String,
    /// The API that created it, in whose shape it is answered.
    pub vendor: Vendor,
    /// Its state.
    pub status: JobStatus,
    /// What the user wants of it while it runs.
    pub wish: Wish,
    /// The body that created it, without secrets.
    pub request: String,
    /// The base model, as this server names it.
    pub model: String,
    /// The user's part of the tuned model's name.
    pub suffix: Option<String>,
    /// Jobs with a higher priority run first.
    pub priority: i64,
    /// When it was created.
    pub created_at: i64,
    /// When its state changed last.
    pub modified_at: i64,
    /// When it began to be trained.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// How often it was started.
    pub attempts: u32,
    /// The process that trains it.
    pub process: Option<Process>,
    /// Where it runs: the name of a GPU, or `cpu`.
    pub slot: Option<String>,
    /// Valid samples in its training files.
    pub samples: u64,
    /// Steps of the run, once they are known.
    pub steps: Option<u64>,
    /// Epochs of the run, once they are known.
    pub epochs: Option<u64>,
    /// Tokens that counted in the loss, once it is trained.
    pub trained_tokens: Option<u64>,
    /// The id of the tuned model.
    pub tuned_model: Option<String>,
    /// The file with its metrics.
    pub result_file: Option<String>,
    /// Why it failed: a name for programs, and a message.
    pub error: Option<(String, String)>,
}

const COLUMNS: &str = "seq, id, project, vendor, status, wish, request, model, suffix, priority, created_at, modified_at, started_at,
    finished_at, attempts, pid, pid_started, slot, samples, steps, epochs, trained_tokens, tuned_model, result_file, error_code, error_message";

impl Job {
    fn read(row: &Row<'_>) -> rusqlite::Result<Job> {
        let (vendor, status, wish): (String, String, String) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let number =
            |column: usize| row.get::<_, Option<i64>>(column).map(|number| number.map(i64::unsigned_abs));
        let process = match (row.get::<_, Option<i32>>(15)?, number(16)?) {
            (Some(pid), Some(started)) => Some(Process { pid, started }),
            _ => None,
        };
        Ok(Job {
            seq: row.get(0)?,
            id: row.get(1)?,
            project: row.get(2)?,
            vendor: Vendor::parse(&vendor).unwrap_or(Vendor::OpenAi),
            status: STATUSES
                .into_iter()
                .find(|(_, name)| *name == status)
                .map_or(JobStatus::Failed, |(status, _)| status),
            wish: [Wish::Pause, Wish::Cancel]
                .into_iter()
                .find(|known| known.as_str() == wish)
                .unwrap_or(Wish::Run),
            request: row.get(6)?,
            model: row.get(7)?,
            suffix: row.get(8)?,
            priority: row.get(9)?,
            created_at: row.get(10)?,
            modified_at: row.get(11)?,
            started_at: row.get(12)?,
            finished_at: row.get(13)?,
            attempts: row.get(14)?,
            process,
            slot: row.get(17)?,
            samples: row.get::<_, i64>(18)?.unsigned_abs(),
            steps: number(19)?,
            epochs: number(20)?,
            trained_tokens: number(21)?,
            tuned_model: row.get(22)?,
            result_file: row.get(23)?,
            error: row.get::<_, Option<String>>(24)?.zip(row.get(25)?),
        })
    }
}

/// A job to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Whose it is.
    pub project: String,
    /// The API that creates it.
    pub vendor: Vendor,
    /// `Validated`, `Queued` or `FailedValidation`.
    pub status: JobStatus,
    /// The body, without secrets.
    pub request: String,
    /// The base model.
    pub model: String,
    /// The user's part of the tuned model's name.
    pub suffix: Option<String>,
    /// Jobs with a higher priority run first.
    pub priority: i64,
    /// Valid samples in its training files.
    pub samples: u64,
    /// Why its files cannot be trained on.
    pub error: Option<(String, String)>,
}

/// Which jobs, and which page of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// Only those of this base model.
    pub model: Option<String>,
    /// Only in these states.
    pub statuses: Option<Vec<JobStatus>>,
    /// Only with this suffix.
    pub suffix: Option<String>,
    /// Only created at or after this time.
    pub created_after: Option<i64>,
    /// Only created before this time.
    pub created_before: Option<i64>,
    /// Only with these members of `metadata` in their request.
    pub metadata: Vec<(String, String)>,
    /// Only jobs created before this one.
    pub after: Option<String>,
    /// How many to pass over.
    pub offset: u64,
    /// How many at most.
    pub limit: u64,
}

/// Which earlier job with the same request counts instead of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// None: every request is a new job.
    Never,
    /// One that has not ended.
    Active,
    /// One of the last ten minutes: a client repeats a request whose answer it did not get.
    Recent,
}

/// Seconds in which a client repeats a request.
const REPEATS_WITHIN: i64 = 600;

/// How a created job came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New(Box<Job>),
    /// The same request created it before, and it has not ended.
    Same(Box<Job>),
}

fn sql_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Conditions of a query, as SQL over the values that are bound to it.
fn filter(project: &str, query: &JobQuery) -> (String, Vec<rusqlite::types::Value>) {
    use rusqlite::types::Value as Sql;
    let mut sql = "project = ?".to_owned();
    let mut values = vec![Sql::Text(project.to_owned())];
    let mut add = |condition: &str, value: Option<Sql>| {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    };
    add("model = ?", query.model.clone().map(Sql::Text));
    add("suffix = ?", query.suffix.clone().map(Sql::Text));
    add("created_at >= ?", query.created_after.map(Sql::Integer));
    add("created_at < ?", query.created_before.map(Sql::Integer));
    if let Some(statuses) = &query.statuses {
        let names: Vec<String> = statuses.iter().map(|status| format!("'{}'", status.as_str())).collect();
        sql.push_str(&format!(" AND status IN ({})", names.join(", ")));
    }
    for (key, value) in &query.metadata {
        sql.push_str(" AND EXISTS (SELECT 1 FROM json_each(request, '$.metadata') AS of WHERE of.key = ? AND of.value = ?)");
        values.extend([Sql::Text(key.clone()), Sql::Text(value.clone())]);
    }
    (sql, values)
}

impl Store {
    /// Creates a job, unless the same request has created one that counts instead.
    pub fn create_job(&self, new: &NewJob, same: Same) -> Result<Created, StoreError> {
        let hash = blake3::hash(new.request.as_bytes());
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = now();
        let condition = match same {
            Same::Never => None,
            Same::Active => Some("status IN ('validated', 'queued', 'paused', 'running')".to_owned()),
            Same::Recent => Some(format!("created_at >= {}", now - REPEATS_WITHIN)),
        };
        if let Some(condition) = condition {
            let sql = format!(
                "SELECT {COLUMNS} FROM jobs WHERE project = ?1 AND request_hash = ?2 AND vendor = ?3 AND {condition}
                 ORDER BY seq DESC LIMIT 1"
            );
            let same = params![new.project, hash.as_bytes(), new.vendor.as_str()];
            if let Some(job) = transaction.query_row(&sql, same, Job::read).optional()? {
                return Ok(Created::Same(Box::new(job)));
            }
        }
        let id = match new.vendor {
            Vendor::Mistral => ids::uuid(),
            Vendor::OpenAi => ids::id("ftjob"),
        };
        let finished = new.status.is_final().then_some(now);
        transaction.execute(
            "INSERT INTO jobs (id, project, vendor, status, wish, request, request_hash, model, suffix, priority, created_at,
                modified_at, finished_at, attempts, samples, error_code, error_message)
             VALUES (?1, ?2, ?3, ?4, 'run', ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11, 0, ?12, ?13, ?14)",
            params![
                id,
                new.project,
                new.vendor.as_str(),
                new.status.as_str(),
                new.request,
                hash.as_bytes(),
                new.model,
                new.suffix,
                new.priority,
                now,
                finished,
                sql_number(new.samples),
                new.error.as_ref().map(|(code, _)| code),
                new.error.as_ref().map(|(_, message)| message)
            ],
        )?;
        let job = by_id(&transaction, &id)?;
        transaction.commit()?;
        Ok(Created::New(Box::new(job)))
    }

    /// The job with this id.
    pub fn job(&self, project: &str, id: &str) -> Result<Option<Job>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1 AND project = ?2");
        Ok(self.reader().prepare_cached(&sql)?.query_row([id, project], Job::read).optional()?)
    }

    /// A page of jobs, the newest first, and how many there are on all pages.
    pub fn jobs(&self, project: &str, query: &JobQuery) -> Result<(Vec<Job>, u64), StoreError> {
        let (mut condition, mut values) = filter(project, query);
        let reader = self.reader();
        let count = format!("SELECT count(*) FROM jobs WHERE {condition}");
        let total: i64 = reader
            .prepare_cached(&count)?
            .query_row(rusqlite::params_from_iter(&values), |row| row.get(0))?;
        if let Some(id) = &query.after {
            condition.push_str(" AND seq < coalesce((SELECT seq FROM jobs WHERE id = ?), 0)");
            values.push(id.clone().into());
        }
        values.extend([sql_number(query.limit).into(), sql_number(query.offset).into()]);
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE {condition} ORDER BY seq DESC LIMIT ? OFFSET ?");
        let jobs = reader
            .prepare_cached(&sql)?
            .query_map(rusqlite::params_from_iter(&values), Job::read)?
            .collect::<Result<_, _>>()?;
        Ok((jobs, total.unsigned_abs()))
    }

    /// Every job in one of these states, in the order in which they are started.
    pub fn jobs_in(&self, statuses: &[JobStatus]) -> Result<Vec<Job>, StoreError> {
        let names: Vec<String> = statuses.iter().map(|status| format!("'{}'", status.as_str())).collect();
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE status IN ({}) ORDER BY priority DESC, seq",
            names.join(", ")
        );
        let reader = self.reader();
        let jobs = reader.prepare_cached(&sql)?.query_map([], Job::read)?.collect::<Result<_, _>>()?;
        Ok(jobs)
    }

    /// How many jobs are in each state.
    pub fn job_counts(&self) -> Result<Vec<(JobStatus, u64)>, StoreError> {
        let reader = self.reader();
        let mut statement = reader.prepare_cached("SELECT count(*) FROM jobs WHERE status = ?1")?;
        let mut count = |status: JobStatus| {
            let count: i64 = statement.query_row([status.as_str()], |row| row.get(0))?;
            Ok((status, count.unsigned_abs()))
        };
        JobStatus::all().map(&mut count).collect()
    }

    /// Whether a job that has not ended uses a file.
    pub fn is_file_used(&self, file: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE status IN ('validated', 'queued', 'paused', 'running') AND instr(request, ?1) > 0)";
        Ok(self.reader().query_row(sql, [format!("\"{file}\"")], |row| row.get(0))?)
    }

    /// Changes the state of a job from one of `from`; `None` if it is in another one.
    fn transition(
        &self,
        id: &str,
        from: &[JobStatus],
        to: JobStatus,
        wish: Wish,
    ) -> Result<Option<Job>, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let names: Vec<String> = from.iter().map(|status| format!("'{}'", status.as_str())).collect();
        let sql = format!(
            "UPDATE jobs SET status = ?2, wish = ?3, modified_at = ?4, finished_at = CASE WHEN ?5 THEN ?4 ELSE finished_at END
             WHERE id = ?1 AND status IN ({})",
            names.join(", ")
        );
        let changed =
            transaction.execute(&sql, params![id, to.as_str(), wish.as_str(), now(), to.is_final()])? > 0;
        let job = changed.then(|| by_id(&transaction, id)).transpose()?;
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

    /// Ends a running job without a model.
    pub fn end_job(
        &self,
        id: &str,
        status: JobStatus,
        error: Option<(&str, &str)>,
    ) -> Result<Option<Job>, StoreError> {
        let ended = self.transition(id, &[JobStatus::Running], status, Wish::Run)?;
        if let (Some(_), Some((code, message))) = (&ended, error) {
            let sql = "UPDATE jobs SET error_code = ?2, error_message = ?3 WHERE id = ?1";
            self.writer().execute(sql, params![id, code, message])?;
        }
        Ok(ended)
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
            models::insert(&transaction, &done, model)?;
            job = Some(done);
        }
        transaction.commit()?;
        Ok(job)
    }
}

fn by_id(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<Job> {
    transaction.query_row(&format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"), [id], Job::read)
}

#[cfg(test)]
impl Job {
    /// A queued job with so many samples.
    pub fn example(samples: u64) -> Job {
        Job {
            seq: 1,
            id: "job".to_owned(),
            project: "default".to_owned(),
            vendor: Vendor::OpenAi,
            status: JobStatus::Queued,
            wish: Wish::Run,
            request: "{}".to_owned(),
            model: "m".to_owned(),
            suffix: None,
            priority: 0,
            created_at: 0,
            modified_at: 0,
            started_at: None,
            finished_at: None,
            attempts: 0,
            process: None,
            slot: None,
            samples,
            steps: None,
            epochs: None,
            trained_tokens: None,
            tuned_model: None,
            result_file: None,
            error: None,
        }
    }
}
