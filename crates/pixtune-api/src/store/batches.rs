//! Batches: files of chats that are answered one after the other.

use pixtune_core::json::{self, list};
use rusqlite::{OptionalExtension as _, Row, TransactionBehavior, params};

use super::{Store, StoreError, webhooks};
use crate::clock::now;
use crate::ids;
use crate::vendor::Vendor;

/// The state of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStatus {
    /// It waits; its requests are not checked yet.
    Queued,
    /// Its requests are being answered.
    Running,
    /// Its user cancelled it; requests under way end.
    Cancelling,
    /// Every request has an answer or an error.
    Succeeded,
    /// Its requests cannot be read.
    Failed,
    /// It took longer than it may.
    Expired,
    /// Its user cancelled it.
    Cancelled,
}

const STATUSES: [(BatchStatus, &str); 7] = [
    (BatchStatus::Queued, "queued"),
    (BatchStatus::Running, "running"),
    (BatchStatus::Cancelling, "cancelling"),
    (BatchStatus::Succeeded, "succeeded"),
    (BatchStatus::Failed, "failed"),
    (BatchStatus::Expired, "expired"),
    (BatchStatus::Cancelled, "cancelled"),
];

impl BatchStatus {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        STATUSES.into_iter().find(|(status, _)| *status == self).map_or("failed", |(_, name)| name)
    }

    /// Whether no other state follows.
    pub fn is_final(self) -> bool {
        !matches!(self, BatchStatus::Queued | BatchStatus::Running | BatchStatus::Cancelling)
    }
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its place in the order of creation.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub project: String,
    /// The API that created it.
    pub vendor: Vendor,
    /// Its state.
    pub status: BatchStatus,
    /// The model of requests that name none.
    pub model: Option<String>,
    /// The files with its requests.
    pub inputs: Vec<String>,
    /// The user's labels, a JSON object.
    pub metadata: String,
    /// Requests, once they are counted.
    pub total: u64,
    /// Requests with an answer.
    pub succeeded: u64,
    /// Requests with an error.
    pub failed: u64,
    /// When it was created.
    pub created_at: i64,
    /// When its first request was asked.
    pub started_at: Option<i64>,
    /// When it was cancelled.
    pub cancelled_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// When it ends if it has not ended before.
    pub expires_at: i64,
    /// The file with the answers.
    pub output_file: Option<String>,
    /// The file with the errors.
    pub error_file: Option<String>,
    /// Why it failed: the line of the request, if one is at fault, and a message.
    pub error: Option<(Option<u64>, String)>,
}

const COLUMNS: &str = "seq, id, project, vendor, status, model, inputs, metadata, total, succeeded, failed, created_at, started_at,
    cancelled_at, finished_at, expires_at, output_file, error_file, error_line, error_message";

impl Batch {
    fn read(row: &Row<'_>) -> rusqlite::Result<Batch> {
        let (vendor, status, inputs): (String, String, String) = (row.get(3)?, row.get(4)?, row.get(6)?);
        let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let line = row.get::<_, Option<i64>>(18)?.map(i64::unsigned_abs);
        Ok(Batch {
            seq: row.get(0)?,
            id: row.get(1)?,
            project: row.get(2)?,
            vendor: Vendor::parse(&vendor).unwrap_or(Vendor::OpenAi),
            status: STATUSES
                .into_iter()
                .find(|(_, name)| *name == status)
                .map_or(BatchStatus::Failed, |(status, _)| status),
            model: row.get(5)?,
            inputs: texts(&inputs),
            metadata: row.get(7)?,
            total: count(8)?,
            succeeded: count(9)?,
            failed: count(10)?,
            created_at: row.get(11)?,
            started_at: row.get(12)?,
            cancelled_at: row.get(13)?,
            finished_at: row.get(14)?,
            expires_at: row.get(15)?,
            output_file: row.get(16)?,
            error_file: row.get(17)?,
            error: row.get::<_, Option<String>>(19)?.map(|message| (line, message)),
        })
    }
}

/// The texts of a JSON list.
fn texts(list: &str) -> Vec<String> {
    let Ok(parsed) = json::parse(list) else { return Vec::new() };
    let values = parsed.value.as_array().unwrap_or_default();
    values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// A batch to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBatch {
    /// Whose it is.
    pub project: String,
    /// The API that creates it.
    pub vendor: Vendor,
    /// The model of requests that name none.
    pub model: Option<String>,
    /// The files with its requests.
    pub inputs: Vec<String>,
    /// The user's labels, a JSON object.
    pub metadata: String,
    /// Seconds that it may take.
    pub lifetime: i64,
}

/// Which batches, and which page of them, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchQuery {
    /// Of this API.
    pub vendor: Vendor,
    /// Only with this model.
    pub model: Option<String>,
    /// Only in one of these states.
    pub statuses: Vec<BatchStatus>,
    /// Only created at this time or later.
    pub created_after: Option<i64>,
    /// Only behind the batch with this id.
    pub after: Option<String>,
    /// How many to skip.
    pub offset: u64,
    /// How many at most.
    pub limit: u64,
}

fn sql_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Store {
    /// Creates a batch.
    pub fn create_batch(&self, new: &NewBatch) -> Result<Batch, StoreError> {
        let id = match new.vendor {
            Vendor::Mistral => ids::uuid(),
            Vendor::OpenAi => format!("batch_{}", ids::hex(&ids::random::<16>())),
        };
        let inputs = json::text(list(new.inputs.iter()));
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO batches (id, project, vendor, status, model, inputs, metadata, total, succeeded, failed, created_at, expires_at)
             VALUES (?1, ?2, ?3, 'queued', ?4, ?5, ?6, 0, 0, 0, ?7, ?8)",
            params![id, new.project, new.vendor.as_str(), new.model, inputs, new.metadata, now(), now() + new.lifetime],
        )?;
        let sql = format!("SELECT {COLUMNS} FROM batches WHERE id = ?1");
        let batch = transaction.query_row(&sql, [&id], Batch::read)?;
        transaction.commit()?;
        Ok(batch)
    }

    /// The batch with this id.
    pub fn batch(&self, project: &str, id: &str) -> Result<Option<Batch>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM batches WHERE id = ?1 AND project = ?2 AND deleted_at IS NULL");
        Ok(self.reader().prepare_cached(&sql)?.query_row([id, project], Batch::read).optional()?)
    }

    /// A page of batches, and how many there are on all pages.
    pub fn batches(&self, project: &str, query: &BatchQuery) -> Result<(Vec<Batch>, u64), StoreError> {
        let names: Vec<String> =
            query.statuses.iter().map(|status| format!("'{}'", status.as_str())).collect();
        let in_state =
            if names.is_empty() { "1".to_owned() } else { format!("status IN ({})", names.join(", ")) };
        let filter = format!(
            "project = ?1 AND vendor = ?2 AND deleted_at IS NULL AND (?3 IS NULL OR model = ?3) AND (?4 IS NULL OR created_at >= ?4)
             AND {in_state}"
        );
        let reader = self.reader();
        let after: Option<i64> = match &query.after {
            None => None,
            // An id that does not exist has nothing beyond it.
            Some(id) => Some(
                reader
                    .query_row(
                        "SELECT seq FROM batches WHERE id = ?1 AND project = ?2",
                        [id, project],
                        |row| row.get(0),
                    )
                    .optional()?
                    .unwrap_or(0),
            ),
        };
        let vendor = query.vendor.as_str();
        let count = format!("SELECT count(*) FROM batches WHERE {filter}");
        let total: i64 =
            reader.query_row(&count, params![project, vendor, query.model, query.created_after], |row| {
                row.get(0)
            })?;
        let sql = format!(
            "SELECT {COLUMNS} FROM batches WHERE {filter} AND (?5 IS NULL OR seq < ?5) ORDER BY seq DESC LIMIT ?6 OFFSET ?7"
        );
        let (limit, offset) = (sql_number(query.limit), sql_number(query.offset));
        let mut statement = reader.prepare(&sql)?;
        let rows = statement.query_map(
            params![project, vendor, query.model, query.created_after, after, limit, offset],
            Batch::read,
        )?;
        Ok((rows.collect::<Result<_, _>>()?, total.unsigned_abs()))
    }

    /// The batch whose turn it is: one that an earlier server began, else the oldest.
    pub fn next_batch(&self) -> Result<Option<Batch>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM batches WHERE status IN ('queued', 'running', 'cancelling')
             ORDER BY status = 'queued', seq LIMIT 1"
        );
        Ok(self.reader().prepare_cached(&sql)?.query_row([], Batch::read).optional()?)
    }

    /// How many batches of a project have not ended.
    pub fn open_batches(&self, project: &str) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM batches WHERE project = ?1 AND status IN ('queued', 'running', 'cancelling')";
        let count: i64 = self.reader().query_row(sql, [project], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Begins a batch whose requests are counted.
    pub fn start_batch(&self, id: &str, total: u64) -> Result<(), StoreError> {
        self.writer().execute(
            "UPDATE batches SET status = 'running', total = ?2, started_at = ?3 WHERE id = ?1 AND status = 'queued'",
            params![id, sql_number(total), now()],
        )?;
        Ok(())
    }

    /// Stores how far a batch is; its state, which its user may have changed.
    pub fn progress_batch(&self, id: &str, succeeded: u64, failed: u64) -> Result<BatchStatus, StoreError> {
        let sql = "UPDATE batches SET succeeded = ?2, failed = ?3 WHERE id = ?1 RETURNING status";
        let status: String =
            self.writer()
                .query_row(sql, params![id, sql_number(succeeded), sql_number(failed)], |row| row.get(0))?;
        let known = STATUSES.into_iter().find(|(_, name)| *name == status);
        Ok(known.map_or(BatchStatus::Failed, |(status, _)| status))
    }

    /// Cancels a batch that has not ended; `None` if it has.
    pub fn cancel_batch(&self, id: &str) -> Result<Option<Batch>, StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = "UPDATE batches SET status = 'cancelling', cancelled_at = coalesce(cancelled_at, ?2)
             WHERE id = ?1 AND status IN ('queued', 'running', 'cancelling')";
        let changed = transaction.execute(sql, params![id, now()])? > 0;
        let select = format!("SELECT {COLUMNS} FROM batches WHERE id = ?1");
        let batch = changed.then(|| transaction.query_row(&select, [id], Batch::read)).transpose()?;
        transaction.commit()?;
        Ok(batch)
    }

    /// Ends a batch.
    pub fn finish_batch(
        &self,
        id: &str,
        status: BatchStatus,
        files: (Option<&str>, Option<&str>),
        error: Option<&(Option<u64>, String)>,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let ended = transaction.query_row(
            "UPDATE batches SET status = ?2, finished_at = ?3, output_file = ?4, error_file = ?5, error_line = ?6, error_message = ?7
             WHERE id = ?1 AND status IN ('queued', 'running', 'cancelling') RETURNING project",
            params![
                id,
                status.as_str(),
                now(),
                files.0,
                files.1,
                error.and_then(|(line, _)| line.map(sql_number)),
                error.map(|(_, message)| message)
            ],
            |row| row.get::<_, String>(0),
        );
        let kind = match status {
            BatchStatus::Succeeded => "batch.completed",
            BatchStatus::Expired => "batch.expired",
            BatchStatus::Cancelled => "batch.cancelled",
            _ => "batch.failed",
        };
        if let Some(project) = ended.optional()? {
            webhooks::enqueue(&transaction, &project, kind, id)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Forgets a batch that has ended; false if it has not.
    pub fn delete_batch(&self, id: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE batches SET deleted_at = ?2 WHERE id = ?1 AND status NOT IN ('queued', 'running', 'cancelling')";
        Ok(self.writer().execute(sql, params![id, now()])? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_from_state_to_state_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let new = NewBatch {
            project: "p".to_owned(),
            vendor: Vendor::Mistral,
            model: Some("m".to_owned()),
            inputs: vec!["file-a".to_owned(), "file-b".to_owned()],
            metadata: "{}".to_owned(),
            lifetime: 60,
        };
        let batch = store.create_batch(&new).unwrap();
        assert_eq!((batch.status, batch.inputs.len()), (BatchStatus::Queued, 2));
        assert!(store.is_file_used("file-b").unwrap() && !store.is_file_used("file-c").unwrap());
        let later = store.create_batch(&new).unwrap();
        assert_eq!(store.next_batch().unwrap().map(|next| next.id), Some(batch.id.clone()));
        store.start_batch(&batch.id, 7).unwrap();
        assert_eq!(store.progress_batch(&batch.id, 2, 1).unwrap(), BatchStatus::Running);
        assert_eq!(
            store.cancel_batch(&batch.id).unwrap().map(|batch| batch.status),
            Some(BatchStatus::Cancelling)
        );
        assert!(!store.delete_batch(&batch.id).unwrap());
        store.finish_batch(&batch.id, BatchStatus::Cancelled, (Some("file-o"), None), None).unwrap();
        assert_eq!(store.cancel_batch(&batch.id).unwrap(), None);
        let ended = store.batch("p", &batch.id).unwrap().unwrap();
        assert_eq!((ended.total, ended.succeeded, ended.failed), (7, 2, 1));
        assert_eq!(ended.output_file.as_deref(), Some("file-o"));
        let query = BatchQuery {
            vendor: Vendor::Mistral,
            model: Some("m".to_owned()),
            statuses: vec![BatchStatus::Queued],
            created_after: None,
            after: None,
            offset: 0,
            limit: 10,
        };
        assert_eq!(
            store.batches("p", &query).unwrap().0.iter().map(|batch| &batch.id).collect::<Vec<_>>(),
            [&later.id]
        );
        assert_eq!(store.batches("other", &query).unwrap(), (vec![], 0));
        assert!(store.delete_batch(&batch.id).unwrap());
        assert_eq!(store.batch("p", &batch.id).unwrap(), None);
    }
}
