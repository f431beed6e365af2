//! Jobs and their states. Every change of a state is one transaction whose condition is the state before it, so that of two
//! changes at the same time one happens.

mod changes;
mod query;

use rusqlite::{OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

pub use query::JobQuery;

use super::models::Origin;
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
    /// Where its models come from.
    pub fn origin(&self) -> Origin<'_> {
        Origin { project: &self.project, base: &self.model, job: &self.id }
    }

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
    /// The client's name of the request.
    pub idempotency_key: Option<String>,
    /// Jobs with a higher priority run first.
    pub priority: i64,
    /// Valid samples in its training files.
    pub samples: u64,
    /// Why its files cannot be trained on.
    pub error: Option<(String, String)>,
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

impl Store {
    /// Creates a job, unless the same request has created one that counts instead.
    pub fn create_job(&self, new: &NewJob, same: Same) -> Result<Created, StoreError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(new.request.as_bytes());
        // Requests with other names are other requests.
        if let Some(key) = &new.idempotency_key {
            hasher.update(b"\n").update(key.as_bytes());
        }
        let hash = hasher.finalize();
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
        changes::notify(&transaction, &job)?;
        transaction.commit()?;
        Ok(Created::New(Box::new(job)))
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
